//! A member of the cluster.

use super::config::EtcdConfig;
use crate::{
    auth::leads_privately,
    dial::Way,
    endpoint::Address,
    error::{Code, Error, Kind},
    wire::without_zone,
};

/// Where a member listens.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) way: Way,
    /// As URL without a path.
    pub(super) url: String,
}

const PORT: u16 = 2379;

impl Server {
    /// The members that a config names, each of which is one that can be used.
    pub(super) fn all(config: &EtcdConfig) -> Result<Vec<Self>, Error> {
        config.validate()?;
        config.endpoints.iter().map(|endpoint| Self::new(endpoint, config)).collect()
    }

    fn new(endpoint: &str, config: &EtcdConfig) -> Result<Self, Error> {
        let mistake = |what: &str| {
            Error::not_sent(Kind::InvalidConfig)
                .message(format!("etcd endpoint `{endpoint}` {what}"))
        };
        let scheme = if config.tls_enabled { "https" } else { "http" };
        let text = match endpoint.contains("://") {
            true => endpoint.to_owned(),
            false => format!("{scheme}://{endpoint}"),
        };
        let address: Address = text.parse()?;
        let is_secure = match address.scheme().map(str::to_ascii_lowercase).as_deref() {
            Some("https") => true,
            Some("http") if config.tls_enabled => {
                return Err(mistake("is without TLS, but `tls_enabled` is set"));
            }
            Some("http") => false,
            _ => return Err(mistake("is neither `http` nor `https`")),
        };
        if !matches!(address.path(), "" | "/") || address.host().is_empty() {
            return Err(mistake("must be a host and a port"));
        }
        if is_secure && !cfg!(feature = "tls") {
            return Err(mistake("needs the feature `tls`"));
        }
        let is_open = !config.username.is_empty() && !config.allow_plaintext;
        if is_open && !leads_privately(&address) {
            let error = mistake(
                "would be sent the password in plain text: use `https`, or set `allow_plaintext` if \
                 it may be read on the way",
            );
            return Err(error.coded(Some(Code::AUTH_1105)));
        }
        let port = address.port().unwrap_or(PORT);
        let host = address.host();
        let scheme = if is_secure { "https" } else { "http" };
        let of_url = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let way = Way::tcp(host, Some(port), is_secure);
        Ok(Self { url: format!("{scheme}://{}:{port}", without_zone(&of_url)), way })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(endpoint: &str, config: EtcdConfig) -> Result<String, String> {
        let servers = Server::all(&config.with_endpoints([endpoint]));
        servers.map(|of| of[0].url.clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for (endpoint, expected) in [
            ("10.0.0.1:2379", "http://10.0.0.1:2379"),
            ("http://etcd.test:1", "http://etcd.test:1"),
            ("http://[::1]:1/", "http://[::1]:1"),
            ("http://etcd.test", "http://etcd.test:2379"),
        ] {
            assert_eq!(url(endpoint, EtcdConfig::default()).as_deref(), Ok(expected));
        }
        for (endpoint, problem) in [
            ("http://a:1/x", "host and a port"),
            ("unix:///run/a", "neither"),
            ("ftp://a:1", "neither"),
        ] {
            let error = url(endpoint, EtcdConfig::default()).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_password_is_not_sent_where_it_can_be_read() {
        let with_user = || EtcdConfig::default().with_user("root", "s3cret");
        let error = url("10.0.0.1:1", with_user()).unwrap_err();
        assert!(error.contains("allow_plaintext") && !error.contains("s3cret"), "{error}");
        assert!(url("127.0.0.1:1", with_user()).is_ok());
        assert!(url("10.0.0.1:1", with_user().with_allow_plaintext(true)).is_ok());
        assert!(url("10.0.0.1:1", EtcdConfig::default()).is_ok());
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_is_used_for_endpoints_without_a_scheme_if_it_is_enabled() {
        let config = || EtcdConfig::default().with_tls(true);
        assert_eq!(url("a.test:1", config()).as_deref(), Ok("https://a.test:1"));
        assert!(url("http://a.test:1", config()).unwrap_err().contains("`tls_enabled`"));
        assert!(url("https://a.test:1", EtcdConfig::default()).is_ok());
    }
}
