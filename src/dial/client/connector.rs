//! Connections of a client, all to one place.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::time::timeout;
use tower_service::Service;

use super::super::{
    dialer::{BoxStream, Dialer},
    error::ConnectError,
    way::Way,
};

/// Longest time to make a connection, with TLS.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub(super) struct Connector {
    pub(super) way: Arc<Way>,
    pub(super) dialer: Dialer,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Dialed, ConnectError>> + Send>>;

impl Service<Uri> for Connector {
    type Response = Dialed;
    type Error = ConnectError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Connecting {
        let Self { way, dialer } = self.clone();
        Box::pin(async move {
            match timeout(LIMIT, dialer.connect(&way, false, LIMIT)).await {
                Ok(Ok(stream)) => Ok(Dialed(stream)),
                Ok(Err(error)) => Err(ConnectError::failed(error)),
                Err(_) => Err(ConnectError::too_late(LIMIT)),
            }
        })
    }
}

pub(super) struct Dialed(BoxStream);

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Dialed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
