//! A connection over TCP, TLS or a Unix socket, for what this crate asks itself.

use std::time::Duration;

use hyper::rt::{Read, Write};
#[cfg(unix)]
use hyper_util::rt::TokioIo;

use super::{connector::TcpConnector, error::ConnectError, way::Way};
#[cfg(unix)]
use super::{socket::Socket, users::Users};
use crate::error::{BoxError, root};
#[cfg(feature = "tls")]
use {
    super::tls::{Tls, TlsConfig},
    crate::wire::without_zone,
    std::sync::Arc,
};

/// How connections are made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dialer {
    #[cfg(feature = "tls")]
    pub(crate) config: TlsConfig,
    /// What was read of its files, for all connections.
    #[cfg(feature = "tls")]
    tls: Arc<Tls>,
}

/// Boxed, since the ways differ: once for each connection.
pub(crate) type BoxStream = Box<dyn Stream>;

pub(crate) trait Stream: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Stream for T {}

impl Dialer {
    #[cfg(feature = "tls")]
    pub(crate) fn with_tls(config: TlsConfig) -> Self {
        Self { config, tls: Arc::default() }
    }

    /// The same, with what there is beside files.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn with_given_tls(config: TlsConfig, given: super::tls::GivenTls) -> Self {
        Self { config, tls: Arc::new(Tls::with(given)) }
    }

    /// For HTTP/1.1, or HTTP/2. The caller bounds it: by `limit`, of which each address gets a share.
    pub(crate) async fn connect(
        &self,
        way: &Way,
        http2: bool,
        limit: Duration,
    ) -> Result<BoxStream, BoxError> {
        match way {
            Way::Tcp { host, port, is_secure } => {
                let connect = TcpConnector::without_timeout(limit);
                let stream = connect.connect(host, *port).await.map_err(reason)?;
                if !is_secure {
                    return Ok(Box::new(stream));
                }
                #[cfg(feature = "tls")]
                {
                    let config = self.config.clone().with_http2(http2);
                    let secured = self.tls.secure(&config, &without_zone(host), stream).await;
                    let (secured, is_http2) = secured.map_err(reason)?;
                    if http2 && !is_http2 {
                        return Err("it does not choose HTTP/2".into());
                    }
                    Ok(Box::new(secured))
                }
                #[cfg(not(feature = "tls"))]
                let _ = http2;
                #[cfg(not(feature = "tls"))]
                Err("`https` needs the feature `tls`".into())
            }
            #[cfg(unix)]
            Way::Socket(path) => {
                let users = Users { uids: Vec::new(), any: true };
                let socket = Socket::connect_unix(path, &users).await;
                Ok(Box::new(TokioIo::new(socket.map_err(|error| root(&error).to_string())?)))
            }
            #[cfg(not(unix))]
            Way::Socket(_) => Err("there are no Unix sockets here".into()),
        }
    }
}

fn reason(error: ConnectError) -> BoxError {
    root(&error).to_string().into()
}
