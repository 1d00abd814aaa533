//! The environment variables of Consul's own tools.

use super::config::ConsulConfig;
use crate::error::{Error, Kind};

impl ConsulConfig {
    /// Creates a config of the environment variables that Consul's own tools read.
    ///
    /// `CONSUL_HTTP_ADDR`, `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE`, `CONSUL_HTTP_SSL`, `CONSUL_CACERT`,
    /// `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY`, `CONSUL_NAMESPACE` and `CONSUL_PARTITION`. One that is empty
    /// counts as not set.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if `CONSUL_HTTP_SSL` is no boolean, and for `CONSUL_HTTP_AUTH`,
    /// `CONSUL_HTTP_SSL_VERIFY=false` and, over TLS, a `CONSUL_TLS_SERVER_NAME` other than the host of
    /// `CONSUL_HTTP_ADDR` and a `CONSUL_CAPATH` without `CONSUL_CACERT`, which this client does not do.
    ///
    /// ```
    /// use tower_upstream::discover::ConsulConfig;
    /// let config = ConsulConfig::from_env()?.with_datacenter("dc1");
    /// # let _ = config;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn from_env() -> Result<Self, Error> {
        Self::of_variables(|name| std::env::var(name).ok())
    }

    fn of_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        // As Go reads a boolean.
        let flag = |name: &str| match get(name).as_deref() {
            None => Ok(None),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some(_) => Err(mistake(format!("`{name}` must be `true` or `false`"))),
        };
        if get("CONSUL_HTTP_AUTH").is_some() {
            return Err(mistake("`CONSUL_HTTP_AUTH` is set, but there is only a token".to_owned()));
        }
        if flag("CONSUL_HTTP_SSL_VERIFY")? == Some(false) {
            let text = "`CONSUL_HTTP_SSL_VERIFY` is false, but certificates are always verified";
            return Err(mistake(text.to_owned()));
        }
        let default = Self::default();
        let path = |name: &str| get(name).map(Into::into);
        let config = Self {
            address: get("CONSUL_HTTP_ADDR").unwrap_or(default.address),
            token: get("CONSUL_HTTP_TOKEN").map(Into::into).unwrap_or(default.token),
            token_file: path("CONSUL_HTTP_TOKEN_FILE"),
            tls_enabled: flag("CONSUL_HTTP_SSL")?.unwrap_or(default.tls_enabled),
            tls_ca_file: path("CONSUL_CACERT"),
            tls_cert: path("CONSUL_CLIENT_CERT"),
            tls_key: path("CONSUL_CLIENT_KEY"),
            namespace: get("CONSUL_NAMESPACE"),
            partition: get("CONSUL_PARTITION"),
            ..default
        };
        let has_folder = config.tls_ca_file.is_none() && get("CONSUL_CAPATH").is_some();
        // An address that cannot be read is told where it is read.
        let is_other = |name: &String| {
            config.place().is_ok_and(|address| !address.host().eq_ignore_ascii_case(name))
        };
        let other_name = get("CONSUL_TLS_SERVER_NAME").filter(is_other);
        let unknown = match config.uses_tls() {
            true if has_folder => {
                "`CONSUL_CAPATH` is set, but authorities are read of one file, `CONSUL_CACERT`"
            }
            true if other_name.is_some() => {
                "`CONSUL_TLS_SERVER_NAME` differs, but the certificate must be of the host in `CONSUL_HTTP_ADDR`"
            }
            _ => return Ok(config),
        };
        Err(mistake(unknown.to_owned()))
    }
}

fn mistake(text: String) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<ConsulConfig, Error> {
        ConsulConfig::of_variables(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn every_variable_has_its_effect() {
        let all = of(&[
            ("CONSUL_HTTP_ADDR", "unix:///run/consul.sock"),
            ("CONSUL_HTTP_TOKEN", "s3cret"),
            ("CONSUL_HTTP_TOKEN_FILE", "/token"),
            ("CONSUL_HTTP_SSL", "true"),
            ("CONSUL_HTTP_SSL_VERIFY", "1"),
            ("CONSUL_CACERT", "/ca.pem"),
            ("CONSUL_CLIENT_CERT", "/c.pem"),
            ("CONSUL_CLIENT_KEY", "/k.pem"),
            ("CONSUL_NAMESPACE", "team"),
            ("CONSUL_PARTITION", "p"),
        ]);
        let expected = ConsulConfig::default()
            .with_address("unix:///run/consul.sock")
            .with_token("s3cret")
            .with_token_file("/token")
            .with_tls(true)
            .with_tls_ca_file("/ca.pem")
            .with_tls_certificate("/c.pem", "/k.pem")
            .with_namespace("team")
            .with_partition("p");
        assert_eq!(all.unwrap(), expected);
        assert_eq!(of(&[("CONSUL_HTTP_TOKEN", "")]).unwrap(), ConsulConfig::default());
    }

    #[test]
    fn what_has_no_effect_here_is_a_mistake() {
        for (name, value) in [
            ("CONSUL_HTTP_SSL", "yes"),
            ("CONSUL_HTTP_AUTH", "user:s3cret"),
            ("CONSUL_HTTP_SSL_VERIFY", "false"),
        ] {
            let error = of(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("s3cret"), "{error}");
        }
        let address = |scheme: &str| format!("{scheme}://10.0.0.1:8501");
        for (name, told) in
            [("CONSUL_CAPATH", "CONSUL_CACERT"), ("CONSUL_TLS_SERVER_NAME", "CONSUL_HTTP_ADDR")]
        {
            let with = |scheme: &str, other: (&str, &str)| {
                of(&[("CONSUL_HTTP_ADDR", &address(scheme)), (name, "x"), other])
            };
            let error = with("https", ("", "")).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(told), "{error}");
            assert!(with("http", ("", "")).is_ok(), "without TLS it means nothing");
            let has_file = with("https", ("CONSUL_CACERT", "/ca.pem")).is_ok();
            assert_eq!(has_file, name == "CONSUL_CAPATH", "a file comes before a folder");
        }
    }

    #[test]
    fn the_name_of_the_certificate_may_be_the_host_and_no_other() {
        for (address, name, is_host) in [
            ("https://consul.example:8501", "consul.example", true),
            ("https://Consul.example:8501", "consul.EXAMPLE", true),
            ("consul.example:8501", "consul.example", true),
            ("http://consul.example:8501", "consul.example", true),
            ("https://[fd00::1]:8501", "FD00::1", true),
            ("https://consul.example:8501", "example", false),
            ("https://10.0.0.1:8501", "server.dc1.consul", false),
            ("unix:///run/consul.sock", "server.dc1.consul", false),
        ] {
            let found = of(&[
                ("CONSUL_HTTP_ADDR", address),
                ("CONSUL_HTTP_SSL", "true"),
                ("CONSUL_TLS_SERVER_NAME", name),
            ]);
            assert_eq!(found.is_ok(), is_host, "{address} {name}");
        }
    }
}
