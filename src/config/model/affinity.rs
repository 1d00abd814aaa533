//! What of a call decides where it goes: keys, hashes and sessions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    balance::HashScheme,
    rules::hash::{BoundedLoad, FadeIn, Maglev, RingSize},
};

/// Where the key of a call is, for `hash` and `sticky` of a `balance` section: in a header, or in the metadata.
///
/// If both are named, the header comes first. A header is named in any case; of `X-Forwarded-For`, the key is the
/// first address, which a client can write itself unless a proxy in front replaces it. A call of which the key is
/// missing or empty goes to any endpoint. If neither is named: the header `X-Session-ID` or the metadata `session_id`, and with the strategy
/// `ip-hash` the header `X-Forwarded-For` or the metadata `client_ip`.
///
/// # Example
/// ```
/// use tower_upstream::config::{BalanceSection, KeySource};
/// let balance: BalanceSection = serde_json::from_str(
///     r#"{"strategy": "consistent-hash", "hash": {"key": {"header": "X-Tenant"}}}"#,
/// )?;
/// assert_eq!(balance.hash.key, KeySource::default().with_header("X-Tenant"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct KeySource {
    /// Name of a header. Default: none.
    pub header: String,
    /// Name of a pair of the metadata. Default: none.
    pub metadata: String,
}

crate::written::names_keys!(KeySource);

impl KeySource {
    setters! {
        with_header: header = impl Into<String>;
        with_metadata: metadata = impl Into<String>;
    }

    /// The same, with these names where none is written.
    pub(crate) fn or(&self, header: &str, metadata: &str) -> Self {
        match self.is_named() {
            true => self.clone(),
            false => Self { header: header.to_owned(), metadata: metadata.to_owned() },
        }
    }

    pub(super) fn is_named(&self) -> bool {
        !self.header.is_empty() || !self.metadata.is_empty()
    }
}

/// Name of a [`HashScheme`] in a file.
///
/// ```
/// use tower_upstream::config::SchemeName;
/// let name: SchemeName = serde_json::from_str("\"rendezvous\"")?;
/// assert_eq!(name, SchemeName::Rendezvous);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SchemeName {
    /// `maglev`: [`HashScheme::Maglev`].
    Maglev,
    /// `ring`: [`HashScheme::Ring`].
    Ring,
    /// `libketama`: [`HashScheme::Libketama`].
    #[serde(alias = "ketama")]
    Libketama,
    /// `libmemcached`: [`HashScheme::Libmemcached`].
    Libmemcached,
    /// `nginx`: [`HashScheme::Nginx`].
    Nginx,
    /// `skipper`: [`HashScheme::Skipper`].
    Skipper,
    /// `rendezvous`: [`HashScheme::Rendezvous`].
    Rendezvous,
    /// `modulo`: [`HashScheme::Modulo`].
    Modulo,
}

/// `hash` of a `balance` section: how `consistent-hash` and `ip-hash` choose.
///
/// # Example
/// ```
/// use tower_upstream::config::{HashSection, SchemeName};
/// let hash: HashSection = serde_json::from_str(r#"{"scheme": "skipper", "points": 100, "load_factor": 1.25}"#)?;
/// assert_eq!(hash.scheme, Some(SchemeName::Skipper));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct HashSection {
    /// Where the key of a call is.
    pub key: KeySource,
    /// How keys are placed. Default: `maglev`, and `rendezvous` for `ip-hash`.
    pub scheme: Option<SchemeName>,
    /// Number of places of `maglev`, a prime number. Default: 65,537.
    pub size: usize,
    /// Number of points of each endpoint for `skipper`; 0 is 10,000 divided by the number of endpoints, as Skipper has
    /// since March 2026. Default: 100.
    pub points: u32,
    /// How much of its share an endpoint may have in flight, from 1; 0 is without a bound. Default: 1.5.
    pub load_factor: f64,
    /// How long it takes until an endpoint that joins has all of its keys; 0 is at once. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub fade_in: Duration,
}

crate::written::names_keys!(HashSection);

impl Default for HashSection {
    fn default() -> Self {
        Self {
            key: KeySource::default(),
            scheme: None,
            size: Maglev::DEFAULT_SIZE,
            points: 100,
            load_factor: 1.5,
            fade_in: FadeIn::default().window,
        }
    }
}

impl HashSection {
    setters! {
        with_key: key = impl Into<KeySource>;
        with_scheme: scheme = impl Into<Option<SchemeName>>;
        with_size: size = usize;
        with_points: points = u32;
        with_load_factor: load_factor = f64;
        with_fade_in: fade_in = Duration;
    }

    pub(super) fn mistakes(&self, mistakes: &mut Vec<String>) {
        if !(self.load_factor == 0.0 || (1.0..=100.0).contains(&self.load_factor)) {
            let factor = self.load_factor;
            mistakes
                .push(format!("`hash.load_factor` is {factor}, but must be 0, or from 1 to 100"));
        }
        if Maglev::check_size(self.size).is_err() {
            let size = self.size;
            mistakes.push(format!(
                "`hash.size` is {size}, but must be a prime number up to {}",
                Maglev::MAX_SIZE
            ));
        }
        if self.points > 10_000 {
            let points = self.points;
            mistakes.push(format!("`hash.points` is {points}, but must be at most 10,000"));
        }
    }

    /// With `default` where no scheme is written.
    pub(crate) fn scheme_or(&self, default: SchemeName) -> HashScheme {
        match self.scheme.unwrap_or(default) {
            SchemeName::Maglev => HashScheme::Maglev { size: self.size },
            SchemeName::Ring => HashScheme::Ring(RingSize::default()),
            SchemeName::Libketama => HashScheme::Libketama,
            SchemeName::Libmemcached => HashScheme::Libmemcached,
            SchemeName::Nginx => HashScheme::Nginx,
            SchemeName::Skipper => HashScheme::Skipper { points: self.points },
            SchemeName::Rendezvous => HashScheme::Rendezvous,
            SchemeName::Modulo => HashScheme::Modulo,
        }
    }

    pub(crate) fn bounded_load(&self) -> Option<BoundedLoad> {
        (self.load_factor >= 1.0).then(|| BoundedLoad::new(self.load_factor))
    }

    pub(crate) fn curve(&self) -> FadeIn {
        FadeIn { window: self.fade_in, ..FadeIn::default() }
    }
}

/// `sticky` of a `balance` section: whether calls of a session stay at one endpoint.
///
/// See [`session`](crate::session). It is enabled once a `key` is named. A plugin whose config changes keeps its
/// sessions, unless its `key` or `max_sessions` changes, or it is disabled meanwhile. A cookie is a matter of HTTP
/// servers, which have `http::SessionCookieLayer`.
///
/// # Example
/// ```
/// use tower_upstream::config::BalanceSection;
/// let balance: BalanceSection =
///     serde_json::from_str(r#"{"sticky": {"key": {"header": "X-User"}, "session_timeout": "10m"}}"#)?;
/// assert_eq!(balance.sticky.key.header, "X-User");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct StickySection {
    /// Whether calls of a session stay at one endpoint. Default: whether a `key` is named.
    pub enabled: Option<bool>,
    /// Where the key of a session is.
    pub key: KeySource,
    /// After which time without a call a session ends. Default: 30 minutes.
    #[serde(with = "crate::duration::serde")]
    pub session_timeout: Duration,
    /// Number of sessions that are remembered. Default: 100,000.
    pub max_sessions: usize,
    /// How long an endpoint that drains keeps its sessions. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub drain_timeout: Duration,
}

crate::written::names_keys!(StickySection);

impl Default for StickySection {
    fn default() -> Self {
        Self {
            enabled: None,
            key: KeySource::default(),
            session_timeout: Duration::from_secs(1_800),
            max_sessions: 100_000,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl StickySection {
    setters! {
        with_enabled: enabled = impl Into<Option<bool>>;
        with_key: key = impl Into<KeySource>;
        with_session_timeout: session_timeout = Duration;
        with_max_sessions: max_sessions = usize;
        with_drain_timeout: drain_timeout = Duration;
    }

    pub(super) fn mistakes(&self, mistakes: &mut Vec<String>) {
        if self.session_timeout.is_zero() {
            mistakes.push("`sticky.session_timeout` is 0s, but must be longer".to_owned());
        }
        if !(1..=10_000_000).contains(&self.max_sessions) {
            let sessions = self.max_sessions;
            mistakes.push(format!(
                "`sticky.max_sessions` is {sessions}, but must be from 1 to 10,000,000"
            ));
        }
    }
}
