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
pub(in crate::health) struct Dial {
    #[cfg(feature = "tls")]
    pub(in crate::health) config: TlsConfig,
    /// What was read of its files, for all checks.
    #[cfg(feature = "tls")]
    tls: Arc<Tls>,
}

/// Boxed, since the ways differ: once for each check.
type BoxStream = Box<dyn Stream>;

pub(in crate::health) trait Stream: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Stream for T {}

impl Dial {
    /// For one request of HTTP/1.1, or of HTTP/2. The time of the check bounds it.
    pub(in crate::health) async fn connect(
        &self,
        way: &Way,
        http2: bool,
    ) -> Result<BoxStream, BoxError> {
        match way {
            Way::Tcp { host, port, is_secure } => {
                let connect = TcpConnector::without_timeout(limit());
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
