use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::super::{tls_files::TlsFiles, watch::WatchConfig};
#[cfg(feature = "tls")]
use crate::dial::TlsConfig;
use crate::{
    auth::Secret,
    error::{Error, Kind},
};

/// Settings of an [`Etcd`](super::Etcd).
///
/// In a file, durations are text such as `"1m30s"`, or nanoseconds. The names are those of the Go library.
///
/// # Example
/// ```
/// use tower_upstream::discover::EtcdConfig;
///
/// let config: EtcdConfig = serde_json::from_str(
///     r#"{"endpoints": ["10.0.0.1:2379", "10.0.0.2:2379"], "dial_timeout": "2s"}"#,
/// )?;
/// assert!(config.validate().is_ok());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct EtcdConfig {
    /// Members of the cluster, as `host:port`, `http://host:port` or `https://host:port`.
    ///
    /// One is used at a time, beginning with a random one; another takes its place once it fails.
    /// Default: `127.0.0.1:2379`.
    pub endpoints: Vec<String>,
    /// Longest time to connect to a member. Default: 5 s.
    #[serde(with = "crate::duration::serde")]
    pub dial_timeout: Duration,
    /// Longest time for the answer to a request. A member that takes longer is left for another.
    /// Default: 5 s.
    #[serde(with = "crate::duration::serde")]
    pub request_timeout: Duration,
    /// What the keys of all instances begin with: the key is `PREFIX/SERVICE/ID`. Default: `/services`.
    pub key_prefix: String,
    /// User for authentication. Default: empty, which is none.
    pub username: String,
    /// Password of `username`. Default: empty.
    pub password: Secret,
    /// Whether user and password may be sent where they can be read on the way: without TLS, to another
    /// host. Default: `false`.
    pub allow_plaintext: bool,
    /// Whether the address of an instance may be a Unix socket: `unix:/path`, `http+unix://` or `grpc+unix://`.
    ///
    /// If not, whatever may write to etcd cannot lead calls to the sockets of this host. An address that is a program
    /// (`exec:/path`) is never used. Default: `false`.
    pub allow_unix_sockets: bool,
    /// Whether to use TLS for `endpoints` without a scheme. Needs the feature `tls`. Default: `false`.
    pub tls_enabled: bool,
    /// PEM file with the certificates of the authorities that are trusted, instead of those of the system.
    /// Default: none.
    pub tls_ca_file: Option<PathBuf>,
    /// PEM file with the certificate that this client shows. Needs `tls_key`. Default: none.
    #[serde(alias = "tls_cert_file")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the private key of `tls_cert`. Default: none.
    #[serde(alias = "tls_key_file")]
    pub tls_key: Option<PathBuf>,
    /// Time to live of the lease that all instances of an [`EtcdRegistrar`](super::EtcdRegistrar) have, in whole
    /// seconds from 5 s to a day. It is renewed after a third of that. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub lease_ttl: Duration,
    /// Which answers to doubt. A deletion that is watched takes effect at once, whatever is set here: only
    /// what has left while the watch was interrupted is doubted, since leases may have ended by the same cause.
    ///
    /// etcd says every 10 minutes, unless it is set up otherwise, that nothing has changed: with a `max_stale` of less
    /// than twice that, a quiet service is read anew after half of it.
    /// Default: that of [`WatchConfig`], with an `empty_grace` of 0 and a `removal_grace` of 15 s, within which
    /// an instance whose lease has ended is written again.
    pub watch: WatchConfig,
}

crate::written::names_keys!(EtcdConfig);

const TIMEOUT: Duration = Duration::from_secs(5);
const MIN_TIMEOUT: Duration = Duration::from_millis(100);
const MAX_TIMEOUT: Duration = Duration::from_secs(300);
const MIN_TTL: Duration = Duration::from_secs(5);
const MAX_TTL: Duration = Duration::from_secs(86_400);

impl Default for EtcdConfig {
    fn default() -> Self {
        Self {
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            dial_timeout: TIMEOUT,
            request_timeout: TIMEOUT,
            key_prefix: "/services".to_owned(),
            username: String::new(),
            password: Secret::default(),
            allow_plaintext: false,
            allow_unix_sockets: false,
            tls_enabled: false,
            tls_ca_file: None,
            tls_cert: None,
            tls_key: None,
            lease_ttl: Duration::from_secs(30),
            watch: WatchConfig::default()
                .with_empty_grace(Duration::ZERO)
                .with_removal_grace(Duration::from_secs(15)),
        }
    }
}

impl EtcdConfig {
    /// Sets [`endpoints`](Self::endpoints).
    #[must_use]
    pub fn with_endpoints(
        mut self,
        endpoints: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.endpoints = endpoints.into_iter().map(Into::into).collect();
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
        with_dial_timeout: dial_timeout = Duration;
        with_request_timeout: request_timeout = Duration;
        with_key_prefix: key_prefix = impl Into<String>;
        with_allow_plaintext: allow_plaintext = bool;
        with_allow_unix_sockets: allow_unix_sockets = bool;
        with_tls: tls_enabled = bool;
        with_lease_ttl: lease_ttl = Duration;
        with_watch: watch = impl Into<WatchConfig>;
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        for (name, timeout) in
            [("dial_timeout", self.dial_timeout), ("request_timeout", self.request_timeout)]
        {
            if !(MIN_TIMEOUT..=MAX_TIMEOUT).contains(&timeout) {
                mistakes.push(format!("`{name}` is {timeout:?}, but must be from 100 ms to 5 min"));
            }
        }
        if self.endpoints.is_empty() {
            mistakes.push("`endpoints` is empty".to_owned());
        }
        if self.key_prefix.len() > 512 {
            mistakes.push("`key_prefix` is longer than 512 bytes".to_owned());
        }
        if self.username.is_empty() && !self.password.is_empty() {
            mistakes.push("`password` needs a `username`".to_owned());
        }
        mistakes.extend(self.tls_files().mistake());
        let ttl = self.lease_ttl;
        if !(MIN_TTL..=MAX_TTL).contains(&ttl) || ttl.subsec_nanos() > 0 {
            let bounds = "must be whole seconds, from 5 s to a day";
            mistakes.push(format!("`lease_ttl` is {ttl:?}, but {bounds}"));
        }
        if let Err(error) = self.watch.validate() {
            mistakes.push(error.what().to_owned());
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let text = format!("etcd: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(text))
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls(&self) -> TlsConfig {
        self.tls_files().config().with_http2(true)
    }

    fn tls_files(&self) -> TlsFiles<'_> {
        TlsFiles { ca: &self.tls_ca_file, cert: &self.tls_cert, key: &self.tls_key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_named_at_once() {
        assert!(EtcdConfig::default().validate().is_ok());
        let mut wrong = EtcdConfig::default()
            .with_endpoints([""; 0])
            .with_dial_timeout(Duration::ZERO)
            .with_request_timeout(Duration::MAX)
            .with_key_prefix("x".repeat(600))
            .with_user("", "s3cret")
            .with_watch(WatchConfig::default().with_max_removed(2.0));
        wrong.tls_cert = Some("a.pem".into());
        wrong.lease_ttl = Duration::from_millis(7_500);
        let text = wrong.validate().unwrap_err().to_string();
        for name in [
            "endpoints",
            "dial_timeout",
            "request_timeout",
            "key_prefix",
            "password",
            "tls_cert",
            "max_removed",
            "lease_ttl",
        ] {
            assert!(text.contains(&format!("`{name}`")), "{name}: {text}");
        }
        assert!(!text.contains("s3cret") && !format!("{wrong:?}").contains("s3cret"));
    }

    #[test]
    fn the_names_of_go_are_read() {
        let read: EtcdConfig = serde_json::from_str(
            r#"{"endpoints":["a:1"],"dial_timeout":2000000000,"key_prefix":"/x","username":"u",
                "password":"p","tls_enabled":true,"tls_ca_file":"ca","tls_cert":"c","tls_key_file":"k","lease_ttl":"10s"}"#,
        )
        .unwrap();
        let expected = EtcdConfig::default()
            .with_endpoints(["a:1"])
            .with_dial_timeout(Duration::from_secs(2))
            .with_key_prefix("/x")
            .with_user("u", "p")
            .with_tls(true)
            .with_tls_ca_file("ca")
            .with_tls_certificate("c", "k")
            .with_lease_ttl(Duration::from_secs(10));
        assert_eq!(read, expected);
        assert!(!serde_json::to_string(&read).unwrap().contains("\"p\""));
        let wrong = serde_json::from_str::<EtcdConfig>(r#"{"dial_timeout":"x"}"#).unwrap_err();
        assert!(wrong.to_string().contains("`dial_timeout`"), "{wrong}");
    }
}
