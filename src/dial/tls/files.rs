//! What the files of a config hold.

use std::{path::Path, sync::Arc};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::config::{ServerTlsConfig, TlsConfig};
use crate::error::BoxError;

pub(super) fn load(config: &TlsConfig) -> Result<ClientConfig, BoxError> {
    let roots = match &config.ca_file {
        Some(path) => authorities(path, "ca_file")?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
    };
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
            let (chain, private) = (certificates(certificate, "cert_file")?, private_key(key)?);
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| unusable(certificate, "cert_file", &error))?
        }
        (None, None) => builder.with_no_client_auth(),
        (Some(_), None) => return Err("`tls.cert_file` needs `tls.key_file` beside it".into()),
        (None, Some(_)) => return Err("`tls.key_file` needs `tls.cert_file` beside it".into()),
    };
    client.alpn_protocols = protocols(config.http2);
    Ok(client)
}

pub(super) fn load_server(config: &ServerTlsConfig) -> Result<ServerConfig, BoxError> {
    let (Some(certificate), Some(key)) = (&config.cert_file, &config.key_file) else {
        return Err("`tls` needs a `cert_file` and a `key_file`".into());
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match &config.client_ca_file {
        Some(path) => {
            let roots = Arc::new(authorities(path, "client_ca_file")?);
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|error| unusable(path, "client_ca_file", &error))?,
            )
        }
        None => builder.with_no_client_auth(),
    };
    let (chain, private) = (certificates(certificate, "cert_file")?, private_key(key)?);
    let mut server = builder
        .with_single_cert(chain, private)
        .map_err(|error| unusable(certificate, "cert_file", &error))?;
    server.alpn_protocols = protocols(config.http2);
    Ok(server)
}

fn protocols(http2: bool) -> Vec<Vec<u8>> {
    match http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    }
}

fn authorities(path: &Path, key: &str) -> Result<RootCertStore, BoxError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, key)? {
        roots.add(certificate).map_err(|error| unusable(path, key, &error))?;
    }
    Ok(roots)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, BoxError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unusable(path, "key_file", &error))
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
