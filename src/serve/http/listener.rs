//! Where an HTTP server listens.

use std::io;

use tokio::net::TcpListener;

use super::config::HttpServerConfig;
#[cfg(unix)]
use crate::serve::{
    BridgeConfig,
    socket::{BindAddress, Listener as SocketListener},
};
use crate::{
    dial::Socket,
    endpoint::{HTTP_UNIX, unix_url},
    error::{Error, Kind},
};

pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(SocketListener),
}

impl Listener {
    /// Listens at `host:port`, or at a `unix:` path.
    pub(super) async fn bind(address: &str, config: &HttpServerConfig) -> Result<Self, Error> {
        #[cfg(unix)]
        if let Some(path) = address.strip_prefix("unix:") {
            // One, three and no slashes more are the same path, as in an address.
            let path = path.strip_prefix("//").unwrap_or(path);
            let users = BridgeConfig::default()
                .with_allowed_uids(config.allowed_uids.iter().copied())
                .with_allow_any_user(config.allow_any_user);
            return SocketListener::bind(&BindAddress::Unix(path.to_owned()), &users)
                .await
                .map(Self::Unix);
        }
        let bound = TcpListener::bind(address).await;
        bound.map(Self::Tcp).map_err(|error| {
            Error::not_sent(Kind::InvalidConfig)
                .message(format!("cannot listen on `{address}`"))
                .caused_by(error)
        })
    }

    /// The next connection, or `None` for one that must not be.
    pub(super) async fn accept(&self) -> io::Result<Option<Socket>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // It fails for one that has closed already, of which its task will hear.
                let _ = stream.set_nodelay(true);
                Ok(Some(Socket::Tcp(stream)))
            }
            #[cfg(unix)]
            Self::Unix(listener) => listener.accept().await,
        }
    }

    /// The address for an [`HttpTransport`](crate::transport::HttpTransport).
    pub(super) fn address(&self, is_secure: bool) -> String {
        let scheme = if is_secure { "https" } else { "http" };
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("{scheme}://{address}"),
                Err(_) => format!("{scheme}://"),
            },
            #[cfg(unix)]
            Self::Unix(listener) => {
                let address = listener.address();
                unix_url(HTTP_UNIX, address.strip_prefix("unix:").unwrap_or(&address))
            }
        }
    }
}
