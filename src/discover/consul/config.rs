use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    super::{encode::encode, tls_files::TlsFiles, watch::WatchConfig},
    query::{ConsulQuery, Scope},
};
use crate::{
    auth::{Secret, leads_privately},
    dial::Dialer,
    endpoint::Address,
    error::{Code, Error, Kind},
};

/// Settings of a [`Consul`](super::Consul).
///
/// # Example
/// ```
/// use tower_upstream::discover::{Consul, ConsulConfig};
///
/// let config = ConsulConfig::default()
///     .with_address("https://consul.internal:8501")
///     .with_token_file("/run/secrets/consul-token");
/// # #[cfg(feature = "tls")]
/// let consul = Consul::new(config)?;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct ConsulConfig {
    /// Address of an agent or a server: `host:port`, a URL with the scheme `http` or `https`, or the socket of
    /// an agent as `unix:/path`. Default: `127.0.0.1:8500`.
    pub address: String,
    /// Token of the access rules (ACL), sent as `X-Consul-Token`. Default: none.
    pub token: Secret,
    /// File with the token. It is read again for each request, so a token may be replaced. Default: none.
    pub token_file: Option<PathBuf>,
    /// Whether the token may be sent in plain text to another host. Default: `false`.
    pub allow_plaintext: bool,
    /// Datacenter. Default: that of the agent.
    pub datacenter: Option<String>,
    /// Namespace, of Consul Enterprise. Default: that of the token.
    pub namespace: Option<String>,
    /// Admin partition, of Consul Enterprise. Default: that of the token.
    pub partition: Option<String>,
    /// Whether to use TLS. An `https` address does so in any case. Needs the feature `tls`. Default: `false`.
    pub tls_enabled: bool,
    /// PEM file with the certificates of the authorities that are trusted, instead of those of the system.
    /// Default: none.
    pub tls_ca_file: Option<PathBuf>,
    /// PEM file with the certificate that this client shows. Needs `tls_key`. Default: none.
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the private key of `tls_cert`. Default: none.
    pub tls_key: Option<PathBuf>,
    /// Longest answer that is read, from 64 KiB. An instance takes about 1 KiB. Default: 16 MiB.
    pub max_response_bytes: usize,
    /// How to read services that are asked for without a query of their own.
    pub query: ConsulQuery,
    /// Which answers to doubt. A [`max_stale`](WatchConfig::max_stale) is at least 5 s here, since the first query of
    /// a watch may wait for a second; with one of less than twice [`wait`](ConsulQuery::wait), a quiet service is asked
    /// for more often than that.
    pub watch: WatchConfig,
}

crate::written::names_keys!(ConsulConfig);

const MIN_RESPONSE: usize = 64 << 10;
const MIN_STALE: Duration = Duration::from_secs(5);

impl Default for ConsulConfig {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:8500".to_owned(),
            token: Secret::default(),
            token_file: None,
            allow_plaintext: false,
            datacenter: None,
            namespace: None,
            partition: None,
            tls_enabled: false,
            tls_ca_file: None,
            tls_cert: None,
            tls_key: None,
            max_response_bytes: 16 << 20,
            query: ConsulQuery::default(),
            watch: WatchConfig::default(),
        }
    }
}

impl ConsulConfig {
    setters! {
        with_address: address = impl Into<String>;
        with_token: token = impl Into<Secret>;
        with_token_file: token_file = some PathBuf;
        with_allow_plaintext: allow_plaintext = bool;
        with_datacenter: datacenter = some String;
        with_namespace: namespace = some String;
        with_partition: partition = some String;
        with_tls: tls_enabled = bool;
        with_tls_ca_file: tls_ca_file = some PathBuf;
        with_tls_certificate: (tls_cert = some PathBuf, tls_key = some PathBuf);
        with_max_response_bytes: max_response_bytes = usize;
        with_query: query = impl Into<ConsulQuery>;
        with_watch: watch = impl Into<WatchConfig>;
    }

    /// Returns an error if it cannot be used.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        match self.address.parse::<Address>() {
            Err(error) => mistakes.push(format!("`address`: {}", error.what())),
            Ok(address)
                if !matches!(
                    address.scheme(),
                    None | Some("http" | "https" | "http+unix" | "unix")
                ) =>
            {
                mistakes.push(format!(
                    "`address` is `{address}`, but must be `host:port`, a URL of HTTP, or a Unix socket"
                ));
            }
            Ok(address)
                if address.scheme() != Some("unix") && !matches!(address.path(), "" | "/") =>
            {
                mistakes.push(format!("`address` is `{address}`, but must not have a path"));
            }
            Ok(_) => {}
        }
        if self.uses_tls() && !cfg!(feature = "tls") {
            mistakes.push("TLS needs the feature `tls` of this crate".to_owned());
        }
        if !self.token.is_empty() && self.token_file.is_some() {
            mistakes
                .push("`token` and `token_file` are both there, but only one may be".to_owned());
        }
        if http::HeaderValue::from_str(self.token.expose()).is_err() {
            mistakes.push("`token` has characters that no token has".to_owned());
        }
        mistakes.extend(self.tls_files().mistake());
        if self.max_response_bytes < MIN_RESPONSE {
            let bytes = self.max_response_bytes;
            mistakes.push(format!("`max_response_bytes` is {bytes}, but must be at least 65536"));
        }
        if let Some(value) = self.watch.max_stale.filter(|stale| *stale < MIN_STALE) {
            mistakes.push(format!("`max_stale` is {value:?}, but must be at least 5 s"));
        }
        let parts = [self.query.validate(), self.watch.validate()];
        mistakes.extend(parts.into_iter().filter_map(|of| Some(of.err()?.what().to_owned())));
        let is_exposed = self.exposes_token();
        if is_exposed {
            let text = "the token would be sent in plain text: use `https`, or set `allow_plaintext` if \
                        it may be read on the way";
            mistakes.push(text.to_owned());
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let text = format!("Consul: {}", mistakes.join("; "));
        let code = is_exposed.then_some(Code::AUTH_1105);
        Err(Error::not_sent(Kind::InvalidConfig).coded(code).message(text))
    }

    fn exposes_token(&self) -> bool {
        let has_token = !self.token.is_empty() || self.token_file.is_some();
        let leads_privately = self.place().is_ok_and(|place| leads_privately(&place));
        has_token && !self.allow_plaintext && !leads_privately
    }

    pub(super) fn uses_tls(&self) -> bool {
        self.tls_enabled || self.address.starts_with("https://")
    }

    /// The address with its scheme.
    pub(super) fn place(&self) -> Result<Address, Error> {
        let address: Address = self.address.parse()?;
        match address.scheme() {
            Some("unix") => format!("http+unix://{}", encode(address.path())).parse(),
            // TLS that is asked for is not forgotten because of a scheme.
            None | Some("http") if self.tls_enabled => {
                format!("https://{}", address.authority()).parse()
            }
            _ => Ok(address),
        }
    }

    /// How to connect to it.
    pub(super) fn dialer(&self) -> Dialer {
        self.tls_files().dialer()
    }

    fn tls_files(&self) -> TlsFiles<'_> {
        TlsFiles { ca: &self.tls_ca_file, cert: &self.tls_cert, key: &self.tls_key }
    }

    pub(super) fn scope(&self) -> Scope {
        Scope {
            datacenter: self.datacenter.clone(),
            namespace: self.namespace.clone(),
            partition: self.partition.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_may_not_be_too_old_before_the_first_query_is_made() {
        for (secs, is_right) in [(4, false), (5, true)] {
            let watch = WatchConfig::default().with_max_stale(Duration::from_secs(secs));
            assert_eq!(ConsulConfig::default().with_watch(watch).validate().is_ok(), is_right);
        }
    }
}
