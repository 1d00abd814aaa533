use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::ServerName;

/// TLS of a transport, for endpoints with an `https` address.
///
/// Versions 1.2 and 1.3, with the certificate of the endpoint always verified: against
/// [`server_name`](Self::server_name), or without one against the host of the address. That name is sent along
/// (SNI) unless it is an IP address. The files are PEM. They are read again for the next
/// connection after one of them has changed; while what is there then cannot be used, as when only one
/// of two files is written yet, what was read before stays in use.
///
/// # Example
/// ```
/// use tower_upstream::{dial::TlsConfig, transport::HttpConfig};
///
/// let tls = TlsConfig::default()
///     .with_ca_file("/etc/plugins/ca.pem")
///     .with_client_certificate("/etc/plugins/client.pem", "/etc/plugins/client.key");
/// let config = HttpConfig::default().with_tls(tls);
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct TlsConfig {
    /// Certificates of the authorities that are trusted, instead of those of the system. Default: none.
    pub ca_file: Option<PathBuf>,
    /// Certificate, and those between it and its authority, that this client shows if it is asked. Needs
    /// `key_file`. Default: none.
    pub cert_file: Option<PathBuf>,
    /// Private key of `cert_file`. Default: none.
    pub key_file: Option<PathBuf>,
    /// Name that the certificates of the endpoints are for, if it is another than the host of their addresses.
    ///
    /// For endpoints that discovery finds by their IP addresses. A host name or an IP address. What a request
    /// says of its host stays as it is. Default: none.
    pub server_name: Option<String>,
    /// Whether to offer HTTP/2, which an endpoint may choose.
    ///
    /// One connection of HTTP/2 carries all calls to a member. It is probed after 20 s without traffic,
    /// and closed if the answer takes 10 s. If the endpoint says that it goes away, calls that it has
    /// begun end as they would, and the next ones make a new connection. Default: `true`.
    pub http2: bool,
}

crate::written::names_keys!(TlsConfig);

impl Default for TlsConfig {
    fn default() -> Self {
        Self { ca_file: None, cert_file: None, key_file: None, server_name: None, http2: true }
    }
}

impl TlsConfig {
    /// Sets [`ca_file`](Self::ca_file).
    #[must_use]
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Sets [`cert_file`](Self::cert_file) and [`key_file`](Self::key_file).
    #[must_use]
    pub fn with_client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.cert_file = Some(certificate.into());
        self.key_file = Some(key.into());
        self
    }

    /// Sets [`server_name`](Self::server_name).
    ///
    /// ```
    /// use tower_upstream::{dial::TlsConfig, transport::HttpConfig};
    ///
    /// // Pods, whose addresses are those of the network, and whose certificates are for the service.
    /// let tls = TlsConfig::default().with_server_name("tax.shop.svc.cluster.local");
    /// assert!(HttpConfig::default().with_tls(tls).validate().is_ok());
    /// ```
    #[must_use]
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Sets [`http2`](Self::http2).
    #[must_use]
    pub fn with_http2(mut self, http2: bool) -> Self {
        self.http2 = http2;
        self
    }

    /// What is wrong with it, whatever the files hold.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => return Some("`tls.cert_file` needs a `tls.key_file`"),
            (None, Some(_)) => return Some("`tls.key_file` needs a `tls.cert_file`"),
            _ => {}
        }
        let is_name = |name: &String| ServerName::try_from(unbracketed(name)).is_ok();
        (!self.server_name.as_ref().is_none_or(is_name)).then_some(
            "`tls.server_name` must be a host name without a port, such as `tax.example.com`, or an IP address",
        )
    }

    /// The name in the certificate of an endpoint at `host`.
    pub(super) fn name<'a>(&'a self, host: &'a str) -> &'a str {
        unbracketed(self.server_name.as_deref().unwrap_or(host))
    }
}

/// As an IPv6 address is outside a URL.
fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').map_or(host, |host| host.trim_end_matches(']'))
}

/// TLS of a server that listens.
///
/// Versions 1.2 and 1.3. The files are PEM. They are read again for the next connection after one of them
/// has changed; while what is there then cannot be used, as when only one of two files is written yet, what
/// was read before stays in use.
///
/// # Example
/// ```
/// use tower_upstream::{dial::ServerTlsConfig, serve::HttpServerConfig};
///
/// let tls = ServerTlsConfig::new("/etc/tax/server.pem", "/etc/tax/server.key")
///     .with_client_ca_file("/etc/tax/clients.pem");
/// let config = HttpServerConfig::default().with_tls(tls);
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct ServerTlsConfig {
    /// Certificate, and those between it and its authority.
    pub cert_file: Option<PathBuf>,
    /// Private key of `cert_file`.
    pub key_file: Option<PathBuf>,
    /// Certificates of the authorities whose clients may connect.
    ///
    /// If it is set, a client without a certificate that one of them issued is refused before a byte of
    /// HTTP is read. Default: none, which asks for no certificate.
    pub client_ca_file: Option<PathBuf>,
    /// Whether a client may choose HTTP/2. Default: `true`.
    pub http2: bool,
}

crate::written::names_keys!(ServerTlsConfig);

impl Default for ServerTlsConfig {
    fn default() -> Self {
        Self { cert_file: None, key_file: None, client_ca_file: None, http2: true }
    }
}

impl ServerTlsConfig {
    /// Creates settings with a certificate and its key.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { cert_file: Some(certificate.into()), key_file: Some(key.into()), ..Self::default() }
    }

    /// Sets [`client_ca_file`](Self::client_ca_file).
    #[must_use]
    pub fn with_client_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_ca_file = Some(path.into());
        self
    }

    /// Sets [`http2`](Self::http2).
    #[must_use]
    pub fn with_http2(mut self, http2: bool) -> Self {
        self.http2 = http2;
        self
    }

    /// What is wrong with it, whatever the files hold.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        let has_both = self.cert_file.is_some() && self.key_file.is_some();
        (!has_both).then_some("`tls` needs a `cert_file` and a `key_file`")
    }
}
