use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{self, Connected},
    rt::TokioIo,
};
use tokio::net::TcpStream;

use super::reads_on::ReadsOn;
use crate::http::ConnectionSlot;

/// TCP connection of a [`TcpConnector`](super::TcpConnector).
///
/// Implements hyper's `Read` and `Write`, and hyper-util's `Connection`. Responses that come over it
/// have its [`ConnectionSlot`] and hyper-util's `HttpInfo` in their extensions. When it drops, the socket
/// closes, and then the guards in the slot drop.
///
/// If the other end closes before it has read all of a request, its answer is still read.
///
/// # Example
/// ```no_run
/// use tower::ServiceExt;
/// use tower_upstream::dial::TcpConnector;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = TcpConnector::new().oneshot("http://10.0.0.1:8080".parse()?).await?;
/// let (sender, driver) =
///     hyper::client::conn::http1::handshake::<_, http_body_util::Empty<bytes::Bytes>>(connection)
///         .await?;
/// # let _ = (sender, driver);
/// # Ok(())
/// # }
/// ```
pub struct Connection {
    io: ReadsOn<TokioIo<TcpStream>>,
    tells_addresses: bool,
    // After the socket, so that it drops after it.
    slot: Owned,
}

/// The clone of a slot that closes it on drop.
struct Owned(ConnectionSlot);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Connection {
    pub(super) fn new(io: TokioIo<TcpStream>, tells_addresses: bool) -> Self {
        Self { io: ReadsOn::new(io), tells_addresses, slot: Owned(ConnectionSlot::of_connection()) }
    }

    /// Whether the other end is this host.
    pub(crate) fn is_local(&self) -> bool {
        let peer = self.io.inner().inner().peer_addr();
        peer.is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
    }

    /// Returns the slot of guards that drop with this connection.
    ///
    /// ```
    /// # fn example(connection: &tower_upstream::dial::Connection, guard: std::sync::Arc<()>) {
    /// connection.slot().hold(guard);
    /// # }
    /// ```
    pub fn slot(&self) -> &ConnectionSlot {
        &self.slot.0
    }
}

impl connect::Connection for Connection {
    fn connected(&self) -> Connected {
        // Each extra costs an allocation for each response.
        let connected =
            if self.tells_addresses { self.io.inner().connected() } else { Connected::new() };
        connected.extra(self.slot().clone())
    }
}

impl Read for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = self.io.inner().inner();
        f.debug_struct("Connection")
            .field("local_addr", &stream.local_addr().ok())
            .field("peer_addr", &stream.peer_addr().ok())
            .field("slot", self.slot())
            .finish()
    }
}
