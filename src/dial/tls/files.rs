//! What the files of a [`TlsConfig`] hold.

use std::{
    fs,
    hash::{DefaultHasher, Hasher},
    path::Path,
    sync::Arc,
};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::config::TlsConfig;
use crate::error::BoxError;

/// Tells whether the files hold what they held. By what is in them: times of files are too coarse.
#[derive(PartialEq, Eq)]
pub(super) struct Prints([Option<u64>; 3]);

impl Prints {
    pub(super) fn of(config: &TlsConfig) -> Self {
        Self([&config.ca_file, &config.cert_file, &config.key_file].map(|path| {
            let mut hasher = DefaultHasher::new();
            hasher.write(&fs::read(path.as_ref()?).ok()?);
            Some(hasher.finish())
        }))
    }
}

pub(super) fn load(config: &TlsConfig) -> Result<ClientConfig, BoxError> {
    let mut roots = RootCertStore::empty();
    match &config.ca_file {
        Some(path) => {
            for certificate in certificates(path, "ca_file")? {
                roots.add(certificate).map_err(|error| unusable(path, "ca_file", &error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("no certificate authority is trusted: the system has none, or `tls.ca_file` \
                    holds none"
            .into());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut client = match (&config.cert_file, &config.key_file) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate, "cert_file")?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unusable(key, "key_file", &error))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| unusable(certificate, "cert_file", &error))?
        }
        (None, None) => builder.with_no_client_auth(),
        (Some(_), None) => return Err("`tls.cert_file` needs `tls.key_file` beside it".into()),
        (None, Some(_)) => return Err("`tls.key_file` needs `tls.cert_file` beside it".into()),
    };
    client.alpn_protocols = match config.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(client)
}

fn certificates(path: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(path, key, &error))
}

/// Names the file, and never what is in it.
fn unusable(path: &Path, key: &str, error: &dyn std::error::Error) -> BoxError {
    format!("cannot use `tls.{key}` ({}): {error}", path.display()).into()
}
