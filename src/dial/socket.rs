//! Sockets that carry messages: Unix and TCP.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, lookup_host},
};
#[cfg(unix)]
use tokio::{net::UnixStream, time::sleep};

#[cfg(unix)]
use super::socket_path;
#[cfg(unix)]
use super::users::Users;
use crate::error::{Error, Kind};

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

    /// Connects to a host, which must be this one unless `allow_remote`.
    pub(crate) async fn connect_tcp(
        host: &str,
        port: u16,
        allow_remote: bool,
    ) -> Result<Self, Error> {
        let failed = |error: io::Error| {
            Error::not_sent(Kind::Connection)
                .message(format!("cannot connect to `{host}:{port}`"))
                .caused_by(error)
        };
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in lookup_host((host, port)).await.map_err(failed)? {
            if !allow_remote && !address.ip().to_canonical().is_loopback() {
                return Err(Error::not_sent(Kind::InvalidConfig).message(format!(
                    "`{host}` is not this host ({}), and what is sent there can be read on the way; \
                     set `allow_remote` if it may be",
                    address.ip()
                )));
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Small messages, each of which is waited for.
                    stream.set_nodelay(true).map_err(failed)?;
                    return Ok(Self::Tcp(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
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

    /// Completes when the other end has closed the socket altogether. Never does for one that only has
    /// nothing more to say, nor once there is something to read.
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

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
