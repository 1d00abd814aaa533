//! One connection to a plugin.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, Uri, header::HOST, response::Parts, uri};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
    rt::{Executor, Read, Write},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tower_service::Service;

#[cfg(feature = "tls")]
use super::alert::Alerted;
use super::{config::HttpConfig, outgoing::Outgoing, silence::Silence};
#[cfg(unix)]
use crate::dial::Users;
use crate::{
    dial::{ConnectError, Connection, ReadsOn, Socket, TcpConnector, Tls},
    http::{ConnectionSlot, Moment},
    pool::{self, Pooled},
    wire::{kept_for, without_zone},
};

/// Boxed because hyper's cannot be named.
pub(super) type BoxResponse =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, Unanswered>> + Send + Sync>>;
/// With the request, if none of it was sent.
pub(super) type Unanswered = TrySendError<Request<Outgoing>>;

/// Words of an endpoint that ended the handshake of TLS after this side thought that it was over.
pub(super) type Alert = Arc<OnceLock<String>>;

pub(super) type Connections = pool::Pool<HttpConnection, ConnectError>;
pub(super) type Waiting = pool::Waiting<HttpConnection, ConnectError>;
pub(super) type Dialing = pool::Dialing<HttpConnection, ConnectError>;
pub(super) type Lease = pool::Lease<HttpConnection, ConnectError>;

/// For how long a connection of HTTP/2 is quiet before it is probed, and how long the answer may take.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);
/// The same for one of gRPC with calls on it: from callers that probe more often, or without a call, servers
/// of Go and of gRPC's C core go away.
const GRPC_PING: Duration = Duration::from_secs(310);

pub(super) struct HttpConnection {
    sender: Sender,
    scheme: Option<uri::Scheme>,
    /// Of HTTP/2, where it stands for `host`.
    authority: Option<uri::Authority>,
    host: HeaderValue,
    slot: ConnectionSlot,
    /// What is sent over it cannot be read on the way.
    private: bool,
    /// Of TLS: why the endpoint ended the handshake, once it did.
    alert: Option<Alert>,
    /// Of HTTP/1: how long the endpoint keeps it without a call, as it says.
    kept_for: Option<Duration>,
}

enum Sender {
    Http1(http1::SendRequest<Outgoing>),
    Http2(http2::SendRequest<Outgoing>, Silence),
}

impl HttpConnection {
    /// Connects to the host of `url`, or to `socket`. `place` is held until the socket is closed, by a task.
    pub(super) async fn make(
        url: Uri,
        socket: Option<&str>,
        config: &HttpConfig,
        tls: &Arc<Tls>,
        place: impl Send + 'static,
    ) -> Result<Self, ConnectError> {
        let host = host_of(&url)?;
        let authority = host.as_bytes().try_into().ok();
        if let Some(path) = socket {
            let (io, slot) = (unix(path, config).await?, ConnectionSlot::of_connection());
            let (sender, scheme) = match config.speaks.is_grpc() {
                true => (http2(io, config, place).await?, Some(uri::Scheme::HTTP)),
                false => (http1(io, config, place).await?, None),
            };
            let (private, alert, kept_for) = (true, None, None);
            return Ok(Self { sender, scheme, authority, host, slot, private, alert, kept_for });
        }
        let mut connector = TcpConnector::without_timeout(config.connect_timeout)
            .without_addresses()
            .enforce_http(false);
        let io = connector.call(url.clone()).await?;
        let slot = io.slot().clone();
        let is_secure = url.scheme() == Some(&uri::Scheme::HTTPS);
        let private = is_secure || io.is_local();
        let (sender, alert) = if is_secure {
            slot.hold(place);
            secure(io, &url, config, tls).await?
        } else if config.speaks.is_grpc() {
            slot.hold(place);
            (http2(io, config, ()).await?, None)
        } else {
            (http1(io, config, place).await?, None)
        };
        let scheme = url.into_parts().scheme;
        Ok(Self { sender, scheme, authority, host, slot, private, alert, kept_for: None })
    }

    /// Sends `request`, which has the whole URL, or its path.
    pub(super) fn send(&mut self, mut request: Request<Outgoing>) -> BoxResponse {
        let mut url = uri::Parts::default();
        url.path_and_query = request.uri().path_and_query().cloned();
        if let Sender::Http2(_, silence) = &self.sender {
            silence.begin();
            url.scheme.clone_from(&self.scheme);
            url.authority.clone_from(&self.authority);
        } else {
            request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
        }
        *request.uri_mut() = Uri::from_parts(url).unwrap_or_default();
        match &mut self.sender {
            Sender::Http1(sender) => Box::pin(sender.try_send_request(request)),
            Sender::Http2(sender, _) => Box::pin(sender.try_send_request(request)),
        }
    }

    /// Whether it may take the next request at once.
    pub(super) fn is_ready(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender, _) => sender.is_ready(),
        }
    }

    /// Waits until it may take the next request. False if it never will.
    pub(super) async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender, _) => sender.ready().await.is_ok(),
        }
    }

    /// Whether what is sent over it cannot be read on the way.
    pub(super) fn is_private(&self) -> bool {
        self.private
    }

    /// Why the endpoint did not accept this side, so that it read nothing.
    pub(super) fn was_shut_out(&self) -> Option<&str> {
        self.alert.as_ref()?.get().map(String::as_str)
    }

    /// A whole answer came, with this head.
    pub(super) fn answered(&mut self, head: &Parts) {
        match &self.sender {
            Sender::Http1(_) => self.kept_for = kept_for(&head.headers),
            Sender::Http2(_, silence) => silence.end(),
        }
    }

    /// Whether it carries other calls as well, and no answer came to any for a while: it may be dead, or
    /// be stuck in half of an answer, and the calls to come would find that out one by one.
    pub(super) fn is_silent(&self) -> bool {
        matches!(&self.sender, Sender::Http2(_, silence) if silence.is_long())
    }

    /// Whether it was there before the call that began at `moment`.
    pub(super) fn is_older_than(&self, moment: Moment) -> bool {
        self.slot.is_older_than(moment)
    }
}

impl Pooled for HttpConnection {
    fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender, _) => !sender.is_closed(),
        }
    }

    fn kept_for(&self) -> Option<Duration> {
        self.kept_for
    }

    fn is_busy(&self) -> bool {
        matches!(&self.sender, Sender::Http2(_, silence) if silence.is_shared())
    }

    fn share(&self) -> Option<Self> {
        let Sender::Http2(sender, silence) = &self.sender else { return None };
        let sender = Sender::Http2(sender.clone(), silence.clone());
        let (scheme, authority) = (self.scheme.clone(), self.authority.clone());
        let host = self.host.clone();
        let (slot, private, alert) = (self.slot.clone(), self.private, self.alert.clone());
        Some(Self { sender, scheme, authority, host, slot, private, alert, kept_for: None })
    }
}

async fn http1<T>(
    io: T,
    config: &HttpConfig,
    place: impl Send + 'static,
) -> Result<Sender, ConnectError>
where
    T: Read + Write + Send + Unpin + 'static,
{
    let (sender, driver) = http1::Builder::new()
        .max_buf_size(config.max_header_bytes)
        // Go writes `X-Request-Id`, and some servers compare bytes.
        .title_case_headers(true)
        .handshake(io)
        .await
        .map_err(ConnectError::failed)?;
    // What it ends with, the calls hear as well. An `async` block would hold the driver twice.
    tokio::spawn(driver.map(|_| drop(place)));
    Ok(Sender::Http1(sender))
}

#[cfg(unix)]
async fn unix(path: &str, config: &HttpConfig) -> Result<ReadsOn<TokioIo<Socket>>, ConnectError> {
    let users = Users { uids: config.allowed_uids.clone(), any: config.allow_any_user };
    let socket = Socket::connect_unix(path, &users).await;
    socket.map(|io| ReadsOn::new(TokioIo::new(io))).map_err(ConnectError::failed)
}

#[cfg(not(unix))]
async fn unix(_: &str, _: &HttpConfig) -> Result<ReadsOn<TokioIo<Socket>>, ConnectError> {
    Err(ConnectError::failed("there are no Unix sockets here"))
}

async fn http2<T>(
    io: T,
    config: &HttpConfig,
    place: impl Send + 'static,
) -> Result<Sender, ConnectError>
where
    T: Read + Write + Send + Unpin + 'static,
{
    let max_header = u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX);
    let is_grpc = config.speaks.is_grpc();
    let (sender, driver) = http2::Builder::new(Boxing)
        .timer(TokioTimer::new())
        .keep_alive_interval(if is_grpc { GRPC_PING } else { PING })
        .keep_alive_timeout(PONG)
        .keep_alive_while_idle(!is_grpc)
        .max_header_list_size(max_header)
        .handshake(io)
        .await
        .map_err(ConnectError::failed)?;
    tokio::spawn(driver.map(|_| drop(place)));
    Ok(Sender::Http2(sender, Silence::default()))
}

/// Spawns the tasks of a connection of HTTP/2 in boxes: hyper's have the size of the largest, one for each
/// request, and the runtime moves what it spawns several times.
#[derive(Clone, Copy)]
struct Boxing;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Boxing {
    fn execute(&self, task: F) {
        tokio::spawn(Box::pin(task));
    }
}

#[cfg(feature = "tls")]
async fn secure(
    io: Connection,
    url: &Uri,
    config: &HttpConfig,
    tls: &Arc<Tls>,
) -> Result<(Sender, Option<Alert>), ConnectError> {
    let host = without_zone(url.host().unwrap_or_default());
    let (io, is_http2) = tls.secure(&config.tls, &host, io).await?;
    let (io, alert) = Alerted::new(io);
    let sender = match is_http2 {
        true => http2(io, config, ()).await?,
        false if config.speaks.is_grpc() => {
            return Err(ConnectError::failed("it does not choose HTTP/2, which gRPC needs"));
        }
        false => http1(io, config, ()).await?,
    };
    Ok((sender, Some(alert)))
}

#[cfg(not(feature = "tls"))]
async fn secure(
    _: Connection,
    _: &Uri,
    _: &HttpConfig,
    _: &Arc<Tls>,
) -> Result<(Sender, Option<Alert>), ConnectError> {
    Err(ConnectError::failed("`https` needs the feature `tls`"))
}

/// What `Host` says: without the port if it is that of the scheme, and without a zone.
fn host_of(url: &Uri) -> Result<HeaderValue, ConnectError> {
    let host = without_zone(url.host().unwrap_or_default());
    let usual = if url.scheme() == Some(&uri::Scheme::HTTPS) { 443 } else { 80 };
    let host = match url.port_u16().filter(|&port| port != usual) {
        Some(port) => format!("{host}:{port}"),
        None => host.into_owned(),
    };
    host.try_into().map_err(|error: http::header::InvalidHeaderValue| ConnectError::failed(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_that_of_the_url() {
        for (url, host) in [
            ("http://a.test/x", "a.test"),
            ("http://a.test:80/x", "a.test"),
            ("http://a.test:443/x", "a.test:443"),
            ("https://a.test:443", "a.test"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("http://[fe80::1%25eth0]:81/", "[fe80::1]:81"),
        ] {
            assert_eq!(host_of(&url.parse().unwrap()).unwrap(), host, "{url}");
        }
    }
}
