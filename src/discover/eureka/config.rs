use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::super::{tls_files::TlsFiles, watch::WatchConfig};
use crate::{
    auth::Secret,
    dial::Dialer,
    error::{Error, Kind},
};

/// What a watch reads from Eureka.
///
/// ```
/// use tower_upstream::discover::{EurekaConfig, EurekaFetch};
/// let config = EurekaConfig::default().with_fetch(EurekaFetch::Application);
/// assert_ne!(config.fetch, EurekaFetch::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EurekaFetch {
    /// The whole registry once, then its changes, for all services together. The default.
    #[default]
    Delta,
    /// The instances of one application or one virtual address, whole each time. For a program that calls few of
    /// the services of a large registry.
    Application,
}

/// Settings of an [`Eureka`](super::Eureka).
///
/// In a file, durations are text such as `"1m30s"`, or nanoseconds. The names are those of the Go library.
///
/// # Example
/// ```
/// use tower_upstream::discover::EurekaConfig;
///
/// let config: EurekaConfig = serde_json::from_str(
///     r#"{"urls": ["http://10.0.0.1:8761/eureka"], "registry_fetch_interval": "10s"}"#,
/// )?;
/// assert!(config.validate().is_ok());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct EurekaConfig {
    /// Base URLs of the servers, up to the part before `/apps`: `http://HOST:8761/eureka` for Spring Cloud,
    /// `http://HOST:8080/eureka/v2` for Netflix. At most 16.
    ///
    /// One is used at a time, beginning with the first; another takes its place once it fails. Default:
    /// `http://127.0.0.1:8761/eureka`.
    pub urls: Vec<String>,
    /// Whether to begin with a random one of `urls`, so that many clients spread over the servers. Default:
    /// `false`.
    pub shuffle: bool,
    /// Time from one read of the registry to the next, from 1 s to a day. A server of Netflix keeps its own answers
    /// for 30 s. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub registry_fetch_interval: Duration,
    /// Time after which to look whether the server has the announced instances as they were announced, from 1 s to
    /// a day. One that it has lost or has in an older form is announced again. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub instance_info_replication_interval: Duration,
    /// Time between two heartbeats of the announced instances, in whole seconds from 1 s to a day. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub lease_renewal_interval: Duration,
    /// Time after the last heartbeat for which the server keeps an instance, in whole seconds, longer than
    /// `lease_renewal_interval` and at most a day. Default: 90 s.
    #[serde(with = "crate::duration::serde")]
    pub lease_duration: Duration,
    /// Longest time for the answer to a request. A server that takes longer is left for another. From 100 ms to
    /// 5 min. Default: 5 s.
    #[serde(with = "crate::duration::serde")]
    pub request_timeout: Duration,
    /// What to read. Default: the whole registry, and then its changes.
    pub fetch: EurekaFetch,
    /// Whether to use the secure port of an instance that has both. One without another port is reached by it in
    /// any case. Default: `false`.
    pub prefer_secure_port: bool,
    /// Whether to use the host name of an instance instead of its IP address. Default: `false`.
    pub prefer_host_name: bool,
    /// User for HTTP authentication. Default: empty, which is none.
    pub username: String,
    /// Password of `username`. Default: empty.
    pub password: Secret,
    /// Whether user and password may be sent where they can be read on the way: without TLS, to another host.
    /// Default: `false`.
    pub allow_plaintext: bool,
    /// PEM file with the certificates of the authorities that are trusted, instead of those of the system.
    /// Default: none.
    pub tls_ca_file: Option<PathBuf>,
    /// PEM file with the certificate that this client shows. Needs `tls_key`. Default: none.
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the private key of `tls_cert`. Default: none.
    pub tls_key: Option<PathBuf>,
    /// Longest answer that is read, also after it was decompressed, from 64 KiB. An instance takes about 1.5 KiB.
    /// Default: 16 MiB.
    pub max_response_bytes: usize,
    /// Which answers to doubt. Default: that of [`WatchConfig`], with an `empty_grace` and a `removal_grace` of
    /// 90 s: a server that was started anew knows no instance until its next heartbeat.
    pub watch: WatchConfig,
}

crate::written::names_keys!(EurekaConfig);

const MIN_RESPONSE: usize = 64 << 10;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const LEASE: Duration = Duration::from_secs(90);
const MIN_TIMEOUT: Duration = Duration::from_millis(100);
const MAX_TIMEOUT: Duration = Duration::from_secs(300);
const MAX_URLS: usize = 16;

impl Default for EurekaConfig {
    fn default() -> Self {
        let often = Duration::from_secs(30);
        Self {
            urls: vec!["http://127.0.0.1:8761/eureka".to_owned()],
            shuffle: false,
            registry_fetch_interval: often,
            instance_info_replication_interval: often,
            lease_renewal_interval: often,
            lease_duration: LEASE,
            request_timeout: Duration::from_secs(5),
            fetch: EurekaFetch::Delta,
            prefer_secure_port: false,
            prefer_host_name: false,
            username: String::new(),
            password: Secret::default(),
            allow_plaintext: false,
            tls_ca_file: None,
            tls_cert: None,
            tls_key: None,
            max_response_bytes: 16 << 20,
            watch: WatchConfig::default().with_empty_grace(LEASE).with_removal_grace(LEASE),
        }
    }
}

impl EurekaConfig {
    /// Sets [`urls`](Self::urls).
    #[must_use]
    pub fn with_urls(mut self, urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.urls = urls.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`lease_renewal_interval`](Self::lease_renewal_interval) and
    /// [`lease_duration`](Self::lease_duration).
    #[must_use]
    pub fn with_lease(mut self, renewal_interval: Duration, duration: Duration) -> Self {
        (self.lease_renewal_interval, self.lease_duration) = (renewal_interval, duration);
        self
    }

    /// Sets [`username`](Self::username) and [`password`](Self::password).
    #[must_use]
    pub fn with_user(mut self, name: impl Into<String>, password: impl Into<Secret>) -> Self {
        (self.username, self.password) = (name.into(), password.into());
        self
    }

    setters! {
        with_tls_ca_file: tls_ca_file = some PathBuf;
        with_tls_certificate: (tls_cert = some PathBuf, tls_key = some PathBuf);
        with_shuffle: shuffle = bool;
        with_registry_fetch_interval: registry_fetch_interval = Duration;
        with_instance_info_replication_interval: instance_info_replication_interval = Duration;
        with_request_timeout: request_timeout = Duration;
        with_fetch: fetch = EurekaFetch;
        with_prefer_secure_port: prefer_secure_port = bool;
        with_prefer_host_name: prefer_host_name = bool;
        with_allow_plaintext: allow_plaintext = bool;
        with_max_response_bytes: max_response_bytes = usize;
        with_watch: watch = impl Into<WatchConfig>;
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        if self.urls.is_empty() || self.urls.len() > MAX_URLS {
            let count = self.urls.len();
            mistakes.push(format!("`urls` has {count} servers, but must have 1 to {MAX_URLS}"));
        }
        for (name, time) in [
            ("registry_fetch_interval", self.registry_fetch_interval),
            ("instance_info_replication_interval", self.instance_info_replication_interval),
            ("lease_renewal_interval", self.lease_renewal_interval),
        ] {
            if !(SECOND..=DAY).contains(&time) {
                mistakes.push(format!("`{name}` is {time:?}, but must be from 1 s to a day"));
            }
        }
        let (renewal, lease) = (self.lease_renewal_interval, self.lease_duration);
        if renewal.subsec_nanos() > 0 || lease.subsec_nanos() > 0 {
            mistakes
                .push("a `lease_duration` must be of whole seconds, and its renewal".to_owned());
        }
        if lease <= renewal || lease > DAY {
            let bounds = "must be longer than `lease_renewal_interval`, and at most a day";
            mistakes.push(format!("`lease_duration` is {lease:?}, but {bounds}"));
        }
        let timeout = self.request_timeout;
        if !(MIN_TIMEOUT..=MAX_TIMEOUT).contains(&timeout) {
            let bounds = "must be from 100 ms to 5 min";
            mistakes.push(format!("`request_timeout` is {timeout:?}, but {bounds}"));
        }
        if self.username.is_empty() && !self.password.is_empty() {
            mistakes.push("`password` needs a `username`".to_owned());
        }
        mistakes.extend(self.tls_files().mistake());
        if self.max_response_bytes < MIN_RESPONSE {
            let bytes = self.max_response_bytes;
            mistakes.push(format!("`max_response_bytes` is {bytes}, but must be at least 65536"));
        }
        mistakes.extend(self.watch.validate().err().map(|error| error.what().to_owned()));
        if mistakes.is_empty() {
            return Ok(());
        }
        let text = format!("Eureka: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(text))
    }

    /// How to connect to its servers.
    pub(super) fn dialer(&self) -> Dialer {
        self.tls_files().dialer()
    }

    fn tls_files(&self) -> TlsFiles<'_> {
        TlsFiles { ca: &self.tls_ca_file, cert: &self.tls_cert, key: &self.tls_key }
    }
}
