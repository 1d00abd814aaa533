//! Where the API server is, and what to show there: of the settings, of the cluster that this runs in, or of a
//! kubeconfig.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    acts_as::ActsAs,
    cluster,
    config::KubernetesConfig,
    found::Found,
    kubeconfig,
    mistake::mistake,
    program::{ClusterInfo, Program},
    token::TokenSource,
};
use crate::{
    auth::leads_privately,
    dial::{GivenTls, TlsConfig},
    endpoint::Address,
    error::{Code, Error},
};

#[derive(Debug)]
pub(super) struct Access {
    pub(super) address: Address,
    pub(super) tls: TlsConfig,
    /// What there is beside the files of `tls`.
    pub(super) given: GivenTls,
    pub(super) token: TokenSource,
    pub(super) acts_as: ActsAs,
    pub(super) namespace: String,
}

impl Access {
    /// As the settings say. Reads files.
    pub(super) fn of(config: &KubernetesConfig) -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let found = match (&config.address, &config.kubeconfig_path) {
            (Some(address), _) => Found { address: address.clone(), ..Found::default() },
            (None, Some(path)) => kubeconfig::read(std::slice::from_ref(path), config)?,
            (None, None) => match config.in_cluster {
                Some(true) => cluster::find(&variable)?,
                None if cluster::is_here(&variable) => cluster::find(&variable)?,
                _ => kubeconfig::read(&kubeconfig::usual(&variable)?, config)?,
            },
        };
        Self::new(found, config)
    }

    /// What is found, and what the settings say instead.
    fn new(found: Found, config: &KubernetesConfig) -> Result<Self, Error> {
        let Found { address, namespace, token, ca_file, cert_file, key_file, .. } = found;
        let Found { server_name, mut given, acts_as, exec, exec_config, .. } = found;
        let server = address.clone();
        let text = if address.contains("://") { address } else { format!("https://{address}") };
        let address: Address = text.parse()?;
        let scheme = address.scheme().map(str::to_ascii_lowercase);
        if !matches!(scheme.as_deref(), Some("http" | "https" | "http+unix")) {
            return Err(mistake(format!("`{address}` is no URL of HTTP")));
        }
        let mut tls =
            TlsConfig { ca_file, cert_file, key_file, server_name, ..TlsConfig::default() };
        let own = config.tls_files().config();
        if own.ca_file.is_some() {
            (tls.ca_file, given.ca) = (own.ca_file, None);
        }
        if own.cert_file.is_some() {
            (tls.cert_file, given.cert) = (own.cert_file, None);
            (tls.key_file, given.key) = (own.key_file, None);
        }
        given.trusts_all |= config.allow_insecure_tls && config.address.is_some();
        let token = match (&config.token_file, exec) {
            (Some(path), _) => TokenSource::File(path.clone(), None),
            (None, _) if !config.token.is_empty() => TokenSource::Text(config.token.clone()),
            (None, Some(exec)) => {
                let cluster = || {
                    Ok(ClusterInfo {
                        server: &server,
                        server_name: tls.server_name.as_deref(),
                        ca: ca(&tls, &given)?,
                        trusts_all: given.trusts_all,
                        config: exec_config,
                    })
                };
                TokenSource::Program(Arc::new(Program::new(exec, &config.allow_exec, cluster)?))
            }
            (None, None) => token,
        };
        let is_open = token != TokenSource::None && !config.allow_plaintext;
        if is_open && !leads_privately(&address) {
            return Err(mistake(format!(
                "`{address}` would be sent the token in plain text: use `https`, or set \
                 `allow_plaintext` if it may be read on the way"
            ))
            .coded(Some(Code::AUTH_1105)));
        }
        let namespace = config.namespace.clone().or(namespace);
        Ok(Self {
            address,
            tls,
            given,
            token,
            acts_as,
            namespace: namespace.unwrap_or_else(|| "default".to_owned()),
        })
    }
}

/// The authority that the server comes from, in base64, as a kubeconfig has it.
fn ca(tls: &TlsConfig, given: &GivenTls) -> Result<Option<String>, Error> {
    let pem = match (&given.ca, &tls.ca_file) {
        (Some(pem), _) => pem.clone(),
        (None, None) => return Ok(None),
        (None, Some(path)) => std::fs::read(path).map_err(|error| {
            let path = path.display();
            mistake(format!("the certificate of the authority ({path}) cannot be read"))
                .caused_by(error)
        })?,
    };
    Ok(Some(BASE64_STANDARD.encode(pem)))
}
