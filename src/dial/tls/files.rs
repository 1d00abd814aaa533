//! What the files of a config hold.

use std::{path::Path, sync::Arc};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::{
    config::{ServerTlsConfig, TlsConfig},
    given::GivenTls,
    unverified::Unverified,
};
use crate::error::BoxError;

pub(super) fn load(config: &TlsConfig, given: &GivenTls) -> Result<ClientConfig, BoxError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match given.trusts_all {
        true => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        }
        false => builder.with_root_certificates(roots(config, given)?),
    };
    let chain = match (&given.cert, &config.cert_file) {
        (Some(pem), _) => {
            let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
            Some(chain.map_err(|error| format!("cannot use the client certificate: {error}"))?)
        }
        (None, Some(path)) => Some(certificates(path, "cert_file")?),
        (None, None) => None,
    };
    let private = match (&given.key, &config.key_file) {
        (Some(pem), _) => {
            let private = PrivateKeyDer::from_pem_slice(pem);
            Some(private.map_err(|error| format!("cannot use the client key: {error}"))?)
        }
        (None, Some(path)) => Some(private_key(path)?),
        (None, None) => None,
    };
    let mut client = match (chain, private) {
        (Some(chain), Some(private)) => {
            builder.with_client_auth_cert(chain, private).map_err(|error| {
                match &config.cert_file {
                    Some(path) => unusable(path, "cert_file", &error),
                    None => format!("cannot use the client certificate: {error}").into(),
                }
            })?
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

/// What the certificate of the server must come from.
fn roots(config: &TlsConfig, given: &GivenTls) -> Result<RootCertStore, BoxError> {
    let mut roots = RootCertStore::empty();
    match (&given.ca, &config.ca_file) {
        (Some(pem), _) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let unusable = |error: &dyn std::error::Error| {
                    format!("cannot use the certificate of the authority: {error}")
                };
                let certificate = certificate.map_err(|error| unusable(&error))?;
                roots.add(certificate).map_err(|error| unusable(&error))?;
            }
        }
        (None, Some(path)) => roots = authorities(path, "ca_file")?,
        (None, None) => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("no certificate authority is trusted: the system has none, or `tls.ca_file` \
                    holds none"
            .into());
    }
    Ok(roots)
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
