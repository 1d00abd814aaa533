use std::{fmt, sync::Arc};

use hyper_util::rt::TokioIo;
use tokio::task::spawn_blocking;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{config::TlsConfig, files::load, given::GivenTls, reload::Reload};
use crate::{
    dial::{connection::Connection, error::ConnectError},
    error::BoxError,
};

/// A connection with TLS over it.
type Secured = TokioIo<TlsStream<TokioIo<Connection>>>;

/// What was read of the files of one transport, for all its members: with it, sessions are resumed.
#[derive(Default)]
pub(crate) struct Tls {
    loaded: Reload<TlsConfig, ClientConfig>,
    given: GivenTls,
}

impl Tls {
    #[cfg(feature = "kubernetes")]
    pub(crate) fn with(given: GivenTls) -> Self {
        Self { loaded: Reload::default(), given }
    }

    /// Agrees with `host` on TLS over `connection`. Returns whether they agreed on HTTP/2 too.
    pub(crate) async fn secure(
        self: &Arc<Self>,
        config: &TlsConfig,
        host: &str,
        connection: Connection,
    ) -> Result<(Secured, bool), ConnectError> {
        let name = config.name(host).to_owned();
        let (tls, config) = (self.clone(), config.clone());
        let client = spawn_blocking(move || tls.client(&config)).await;
        let client = client.map_err(ConnectError::failed)?.map_err(ConnectError::of_config)?;
        let name = ServerName::try_from(name).map_err(ConnectError::failed)?;
        let secured = TlsConnector::from(client).connect(name, TokioIo::new(connection)).await;
        let secured = secured.map_err(ConnectError::failed)?;
        let is_http2 = secured.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((TokioIo::new(secured), is_http2))
    }

    fn client(&self, config: &TlsConfig) -> Result<Arc<ClientConfig>, BoxError> {
        let files = [&config.ca_file, &config.cert_file, &config.key_file];
        self.loaded.get(config, files, || load(config, &self.given))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
