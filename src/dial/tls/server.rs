use std::{fmt, io, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_blocking,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use super::{config::ServerTlsConfig, files::load_server, reload::Reload};
use crate::error::BoxError;

/// TLS of a listener.
pub(crate) struct ServerTls {
    config: ServerTlsConfig,
    loaded: Reload<ServerTlsConfig, ServerConfig>,
}

impl ServerTls {
    pub(crate) fn new(config: ServerTlsConfig) -> Self {
        Self { config, loaded: Reload::default() }
    }

    /// What the files hold now, or held when they could be used last.
    pub(crate) async fn load(self: &Arc<Self>) -> Result<Arc<ServerConfig>, BoxError> {
        let tls = self.clone();
        spawn_blocking(move || {
            let config = &tls.config;
            let files = [&config.cert_file, &config.key_file, &config.client_ca_file];
            tls.loaded.get(config, files, || load_server(config))
        })
        .await?
    }

    /// Agrees with a client on TLS. Returns whether it showed a certificate, which then was verified.
    pub(crate) async fn accept<T>(self: &Arc<Self>, io: T) -> io::Result<(TlsStream<T>, bool)>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let server = self.load().await.map_err(io::Error::other)?;
        let stream = TlsAcceptor::from(server).accept(io).await?;
        let certified = stream.get_ref().1.peer_certificates().is_some_and(|of| !of.is_empty());
        Ok((stream, certified))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("config", &self.config).finish_non_exhaustive()
    }
}
