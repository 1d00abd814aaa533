//! Sockets that carry messages: Unix and TCP.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
    vec,
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, lookup_host},
};
#[cfg(unix)]
use tokio::{net::UnixStream, time::sleep};
use tower_service::Service;

#[cfg(unix)]
use super::socket_path;
#[cfg(unix)]
use super::users::Users;
use super::{ConnectError, connector::share};
use crate::error::{BoxError, Error, Kind};

/// How long to wait before one connects again to a socket with a full queue, at first and at most.
#[cfg(unix)]
const FIRST_PAUSE: Duration = Duration::from_millis(1);
#[cfg(unix)]
const LAST_PAUSE: Duration = Duration::from_millis(50);

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Connects to the socket at `path`, if it belongs to one of `users`. Has no time limit of its own.
    #[cfg(unix)]
    pub(crate) async fn connect_unix(path: &str, users: &Users) -> Result<Self, Error> {
        socket_path::check_file(path)?;
        let mut pause = FIRST_PAUSE;
        let stream = loop {
            match UnixStream::connect(path).await {
                Ok(stream) => break stream,
                // Its queue of connections that wait to be let in is full. Over TCP the kernel would wait.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                Err(error) => {
                    let message = match error.kind() {
                        io::ErrorKind::NotFound => format!("socket path does not exist: `{path}`"),
                        _ => format!("cannot connect to `{path}`"),
                    };
                    let refused = Error::not_sent(Kind::Connection).message(message);
                    return Err(refused.caused_by(error));
                }
            }
        };
        users.check(&stream)?;
        Ok(Self::Unix(stream))
    }

    /// Connects to a host, which must be this one unless `allow_remote`. Each of its addresses gets a share
    /// of `limit`, which the caller sees to.
    pub(crate) async fn connect_tcp(
        host: &str,
        port: u16,
        allow_remote: bool,
        limit: Duration,
    ) -> Result<Self, Error> {
        let failed = |error: BoxError| {
            Error::not_sent(Kind::Connection)
                .message(format!("cannot connect to `{host}:{port}`"))
                .caused_by(error)
        };
        let found = lookup_host((host, port)).await.map_err(|error| failed(error.into()))?;
        let addresses: Vec<_> = found.collect();
        let is_remote = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
        if let Some(remote) = addresses.iter().find(is_remote).filter(|_| !allow_remote) {
            return Err(Error::not_sent(Kind::InvalidConfig).message(format!(
                "`{host}` is not this host ({}), and what is sent there can be read on the way; \
                 set `allow_remote` if it may be",
                remote.ip()
            )));
        }
        match connect_any(addresses, limit).await {
            Ok(stream) => Ok(Self::Tcp(stream)),
            Err(error) if error.is_timeout() => Err(Self::too_late(limit)),
            Err(error) => Err(failed(error.into())),
        }
    }

    #[cold]
    pub(crate) fn too_late(limit: Duration) -> Error {
        Error::not_sent(Kind::Timeout)
            .message(format!("cannot connect within {limit:?} (`connect_timeout`)"))
    }

    /// Whether nothing is to be read but white space, and the other end did not close the socket, as far
    /// as is known. Reads the white space.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut bytes = [0; 64];
        // A bound; more than a line end is not to be expected.
        for _ in 0..4 {
            match self.try_read(&mut bytes) {
                Ok(0) => return false,
                Ok(count) if bytes[..count].trim_ascii().is_empty() => {}
                Ok(_) => return false,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        false
    }

    /// An error too if the runtime of the socket has ended.
    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        let (ready, read) = match self {
            Self::Tcp(stream) => (stream.poll_read_ready(&mut cx), stream.try_read(bytes)),
            #[cfg(unix)]
            Self::Unix(stream) => (stream.poll_read_ready(&mut cx), stream.try_read(bytes)),
        };
        if let Poll::Ready(ready) = ready {
            ready?;
        }
        read
    }

    /// Completes if the other end, which has nothing more to say, has closed the socket altogether.
    pub(crate) async fn closed(&self) {
        let both = async {
            let read = self.ready(Interest::READABLE).await?;
            let write = self.ready(Interest::WRITABLE).await?;
            io::Result::Ok(read.is_read_closed() && write.is_write_closed())
        };
        if !matches!(both.await, Ok(true)) {
            std::future::pending::<()>().await;
        }
    }

    async fn ready(&self, interest: Interest) -> io::Result<tokio::io::Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            #[cfg(unix)]
            Self::Unix(stream) => stream.ready(interest).await,
        }
    }
}

/// Connects to the first of `addresses` that answers.
async fn connect_any(
    addresses: Vec<SocketAddr>,
    limit: Duration,
) -> Result<TcpStream, ConnectError> {
    let mut connector = HttpConnector::new_with_resolver(Resolved(addresses));
    share(&mut connector, limit);
    // Small messages, each of which is waited for.
    connector.set_nodelay(true);
    // The host is what was resolved; without a port, that of the addresses holds.
    let connected = connector.call(Uri::from_static("http://resolved")).await;
    connected.map(TokioIo::into_inner).map_err(ConnectError::failed)
}

/// Addresses that were found before.
#[derive(Clone)]
struct Resolved(Vec<SocketAddr>);

impl Service<Name> for Resolved {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
}

macro_rules! each {
    ($socket:ident, $stream:ident => $call:expr) => {
        match $socket.get_mut() {
            Socket::Tcp($stream) => $call,
            #[cfg(unix)]
            Socket::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{dial::connector::tests::unanswering, time};

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_leaves_the_next_its_share() {
        let (first, _listener, _waiting) = unanswering().await;
        let second = SocketAddr::from(([127, 0, 0, 2], first.port()));
        let Ok(_answering) = TcpListener::bind(second).await else { return };
        let (start, limit) = (time::now(), Duration::from_secs(2));
        let stream = connect_any(vec![first, second], limit).await.unwrap();
        assert_eq!((stream.peer_addr().unwrap(), stream.nodelay().unwrap()), (second, true));
        let took = time::now() - start;
        assert!(took >= limit / 2 && took < limit * 3 / 4, "{took:?}");
        assert!(connect_any(vec![first], limit).await.unwrap_err().is_timeout());
        assert!(!connect_any(Vec::new(), limit).await.unwrap_err().is_timeout());
    }
}
