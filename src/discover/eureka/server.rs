//! One of the servers.

use super::config::EurekaConfig;
use crate::{
    auth::{Credentials, leads_privately},
    dial::HttpClient,
    endpoint::Address,
    error::{Error, Kind},
};

#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: Box<str>,
    pub(super) client: HttpClient,
}

impl Server {
    /// The servers that a config names, each of which is one that can be used.
    pub(super) fn all(config: &EurekaConfig) -> Result<Vec<Self>, Error> {
        config.validate()?;
        config.urls.iter().map(|url| Self::new(url, config)).collect()
    }

    fn new(url: &str, config: &EurekaConfig) -> Result<Self, Error> {
        let address: Address = url.parse().map_err(|error: Error| {
            let of_user = "; a user is told by `username` and `password`";
            let hint = if url.contains('@') { of_user } else { "" };
            let text = format!("Eureka: {}{hint}", error.what());
            error.message(text)
        })?;
        let mistake = |what: &str| {
            let text = format!("Eureka's URL `{address}` {what}");
            Error::not_sent(Kind::InvalidConfig).message(text)
        };
        match address.scheme().map(str::to_ascii_lowercase).as_deref() {
            None | Some("http") => {}
            Some("https") if cfg!(feature = "tls") => {}
            Some("https") => return Err(mistake("needs the feature `tls` of this crate")),
            Some(_) => return Err(mistake("is neither `http` nor `https`")),
        }
        let is_open = !config.username.is_empty() && !config.allow_plaintext;
        if is_open && !leads_privately(&address) {
            return Err(Credentials::exposed(&format!("`{address}`")));
        }
        Ok(Self {
            client: HttpClient::new(&address, config.dialer()),
            url: address.as_str().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str, config: EurekaConfig) -> Result<Box<str>, String> {
        let servers = Server::all(&config.with_urls([url]));
        servers.map(|mut of| of.remove(0).url).map_err(|error| error.to_string())
    }

    #[test]
    fn a_server_is_one_of_http() {
        for url in ["http://10.0.0.1:8761/eureka/", "10.0.0.1:8761", "http://[::1]:1/eureka/v2"] {
            assert_eq!(server(url, EurekaConfig::default()).as_deref(), Ok(url));
        }
        for (url, problem) in [
            ("ftp://a:1", "neither"),
            ("unix:/run/a", "neither"),
            ("http://user:s3cret@a:1/eureka", "a user name"),
            ("http://user:s3cret@a:1/eureka", "told by `username` and `password`"),
            ("eureka", "neither a scheme nor a port"),
        ] {
            let error = server(url, EurekaConfig::default()).unwrap_err();
            assert!(error.contains(problem) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_password_is_not_sent_where_it_can_be_read() {
        let with_user = || EurekaConfig::default().with_user("tax", "s3cret");
        let error = server("http://10.0.0.1:1", with_user()).unwrap_err();
        assert!(error.contains("allow_plaintext") && !error.contains("s3cret"), "{error}");
        assert!(server("http://127.0.0.1:1", with_user()).is_ok());
        assert!(server("http://10.0.0.1:1", with_user().with_allow_plaintext(true)).is_ok());
    }
}
