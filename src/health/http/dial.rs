//! The connection of a check, over TCP, TLS or a Unix socket.

use hyper::rt::{Read, Write};
#[cfg(unix)]
use hyper_util::rt::TokioIo;

use super::target::Way;
#[cfg(unix)]
use crate::dial::{Socket, Users};
use crate::{
    dial::{ConnectError, TcpConnector},
    error::{BoxError, root},
    health::probe::limit,
};
#[cfg(feature = "tls")]
use {
    crate::{
        dial::{Tls, TlsConfig},
        wire::without_zone,
    },
    std::sync::Arc,
};

/// How connections are made.
#[derive(Debug, Clone, Default)]
pub(super) struct Dial {
    #[cfg(feature = "tls")]
    pub(super) config: TlsConfig,
    /// What was read of its files, for all checks.
    #[cfg(feature = "tls")]
    tls: Arc<Tls>,
}

/// Boxed, since the ways differ: once for each check.
type BoxStream = Box<dyn Stream>;

pub(super) trait Stream: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Stream for T {}

impl Dial {
    /// The time of the check bounds it.
    pub(super) async fn connect(&self, way: &Way) -> Result<BoxStream, BoxError> {
        match way {
            Way::Tcp { host, port, is_secure } => {
                let connect = TcpConnector::without_timeout(limit());
                let stream = connect.connect(host, *port).await.map_err(reason)?;
                if !is_secure {
                    return Ok(Box::new(stream));
                }
                #[cfg(feature = "tls")]
                {
                    // A check is one request of HTTP/1.1.
                    let config = self.config.clone().with_http2(false);
                    let secured = self.tls.secure(&config, &without_zone(host), stream).await;
                    Ok(Box::new(secured.map_err(reason)?.0))
                }
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
