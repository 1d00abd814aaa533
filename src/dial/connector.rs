use std::{
    fmt,
    future::pending,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{error::Elapsed, timeout},
};
use tower_service::Service;

use super::{ConnectError, Connection, resolver::Resolver};
use crate::error::BoxError;

/// Longest time to make a connection, unless [`TcpConnector::connect_timeout`] says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time after which an idle connection is probed first. As in Go.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Time after which it is probed again, twice, before it counts as dead.
const KEEP_ALIVE_AGAIN: Duration = Duration::from_secs(10);
/// Time that the preferred family of addresses has before the other is tried as well. hyper-util's
/// default, and within what RFC 8305 §5 advises.
const HEAD_START: Duration = Duration::from_millis(300);

/// Connects over TCP, for [`HttpTransport`](crate::transport::HttpTransport), health checks, and clients
/// of hyper-util.
///
/// Nagle's algorithm is off, and TCP keep-alive probes a connection after 30 s without traffic. If a
/// host has addresses of both families, an address of the second family is tried as well after 300 ms
/// ("happy eyeballs", RFC 8305). An IPv6 address may have a zone, as in `http://[fe80::1%25eth0]:80`
/// (RFC 6874), if the operating system can resolve one.
///
/// Each [`Connection`] has a [`ConnectionSlot`](crate::http::ConnectionSlot).
///
/// # Errors
/// [`ConnectError`], which tells whether the time was over.
///
/// # Cancel safety
/// Dropping the future stops connecting and closes the sockets that were opened.
///
/// # Example
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower_upstream::{Endpoint, connect_fn, dial::TcpConnector};
///
/// let client: Client<_, Full<Bytes>> =
///     Client::builder(TokioExecutor::new()).build(TcpConnector::new());
/// let connector = connect_fn(move |_: &Endpoint| client.clone());
/// # let _ = connector;
/// ```
#[derive(Debug, Clone)]
pub struct TcpConnector {
    inner: HttpConnector<Resolver>,
    /// `None` if the caller has a limit of its own.
    timeout: Option<Duration>,
    runtime: Option<Handle>,
    tells_addresses: bool,
}

impl TcpConnector {
    /// Creates a connector that takes at most 5 s for a connection.
    pub fn new() -> Self {
        Self::unlimited().connect_timeout(CONNECT_TIMEOUT)
    }

    /// Creates a connector for a caller that stops after `limit`, of which each address gets a share.
    pub(crate) fn without_timeout(limit: Duration) -> Self {
        let mut connector = Self::unlimited();
        share(&mut connector.inner, limit);
        connector
    }

    fn unlimited() -> Self {
        let mut inner = HttpConnector::new_with_resolver(Resolver::new());
        inner.set_nodelay(true);
        inner.set_keepalive(Some(KEEP_ALIVE));
        inner.set_keepalive_interval(Some(KEEP_ALIVE_AGAIN));
        inner.set_keepalive_retries(Some(2));
        Self { inner, timeout: None, runtime: None, tells_addresses: true }
    }

    /// Leaves hyper-util's `HttpInfo` out of responses that are not handed on.
    pub(crate) fn without_addresses(mut self) -> Self {
        self.tells_addresses = false;
        self
    }

    /// Sets the longest time for resolving the name and trying all addresses together.
    ///
    /// Each address of a family gets an equal share, so that one that does not answer leaves time for
    /// the next. The second family is tried after 300 ms or half of `limit`, whichever is shorter. Zero
    /// is the default. Default: 5 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::dial::TcpConnector;
    /// let connector = TcpConnector::new().connect_timeout(Duration::from_secs(1));
    /// # let _ = connector;
    /// ```
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        let limit = if limit.is_zero() { CONNECT_TIMEOUT } else { limit };
        self.timeout = Some(limit);
        share(&mut self.inner, limit);
        self
    }

    /// Makes the sockets on `runtime`, whichever runtime the caller is on.
    ///
    /// A socket works only while the runtime that it was made on runs. Give the client an executor
    /// that spawns on the same runtime. Once `runtime` has been shut down, sockets are made on the
    /// caller's. Default: the caller's runtime.
    ///
    /// ```
    /// # use tower_upstream::dial::TcpConnector;
    /// # #[tokio::main] async fn main() {
    /// let connector = TcpConnector::new().with_runtime(tokio::runtime::Handle::current());
    /// # let _ = connector;
    /// # }
    /// ```
    #[must_use]
    pub fn with_runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Sets whether to refuse URLs of any scheme but `http`.
    ///
    /// Pass `false` below a connector that adds TLS, such as that of hyper-rustls, which asks for
    /// `https`. Default: `true`.
    ///
    /// ```
    /// use tower_upstream::dial::TcpConnector;
    /// let below_tls = TcpConnector::new().enforce_http(false);
    /// # let _ = below_tls;
    /// ```
    #[must_use]
    pub fn enforce_http(mut self, enforce: bool) -> Self {
        self.inner.enforce_http(enforce);
        self
    }

    /// Connects to a host, which may be an IPv6 address without brackets.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<Connection, ConnectError> {
        let url = if host.contains(':') {
            format!("http://[{host}]:{port}")
        } else {
            format!("http://{host}:{port}")
        };
        self.clone().call(url.parse::<Uri>().map_err(ConnectError::failed)?).await
    }
}

/// Shares `limit` among the addresses of each family, and lets the second family begin within it.
pub(super) fn share<R>(inner: &mut HttpConnector<R>, limit: Duration) {
    inner.set_connect_timeout(Some(limit));
    inner.set_happy_eyeballs_timeout(Some(HEAD_START.min(limit / 2)));
}

impl Default for TcpConnector {
    fn default() -> Self {
        Self::new()
    }
}

impl Service<Uri> for TcpConnector {
    type Response = Connection;
    type Error = ConnectError;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(cx).map_err(ConnectError::failed)
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        Connecting(match self.runtime.clone() {
            None => State::Here { connect: self.connecting(uri) },
            Some(runtime) => {
                let task = runtime.spawn(self.connecting(uri.clone()));
                State::There { task, instead: self.connecting(uri) }
            }
        })
    }
}

/// Boxed because hyper needs a future that can be moved; one box for each connection.
type BoxConnect = Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

impl TcpConnector {
    /// Does nothing until it is polled.
    fn connecting(&mut self, uri: Uri) -> BoxConnect {
        let (connect, limit) = (self.inner.call(uri), self.timeout);
        let tells_addresses = self.tells_addresses;
        Box::pin(async move {
            let connected = match limit {
                Some(limit) => timeout(limit, connect)
                    .await
                    .map_err(|_: Elapsed| ConnectError::too_late(limit))?,
                None => connect.await,
            };
            match connected {
                Ok(io) => Ok(Connection::new(io, tells_addresses)),
                Err(error) => Err(ConnectError::failed(error)),
            }
        })
    }
}

/// Future of a connection that a [`TcpConnector`] makes.
///
/// # Cancel safety
/// Dropping it stops connecting.
#[must_use = "futures do nothing unless polled"]
pub struct Connecting(State);

enum State {
    Here { connect: BoxConnect },
    There { task: JoinHandle<Result<Connection, ConnectError>>, instead: BoxConnect },
}

impl Future for Connecting {
    type Output = Result<Connection, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            self.0 = match &mut self.0 {
                State::Here { connect } => return connect.as_mut().poll(cx),
                State::There { task, instead } => match ready!(Pin::new(task).poll(cx)) {
                    Ok(connected) => return Poll::Ready(connected),
                    // Its runtime has ended.
                    Err(error) if error.is_cancelled() && Handle::try_current().is_ok() => {
                        State::Here { connect: mem::replace(instead, Box::pin(pending())) }
                    }
                    Err(error) => {
                        return Poll::Ready(Err(ConnectError::failed(BoxError::from(error))));
                    }
                },
            };
        }
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if let State::There { task, .. } = &self.0 {
            task.abort();
        }
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::SocketAddr;

    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use tower::ServiceExt;

    use super::*;
    use crate::time;

    /// A listener that accepts no more connections, and those that wait.
    pub(in crate::dial) async fn unanswering() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(10), TcpStream::connect(address)).await
        {
            waiting.push(stream.unwrap());
        }
        (address, listener, waiting)
    }

    /// How long it takes to connect to a host with the addresses `hosts`, of which the first does not
    /// answer; `None` if there is no such address here.
    async fn connected(hosts: [&str; 2], limit: Duration) -> Option<Duration> {
        let (first, _listener, _waiting) = unanswering().await;
        let second: SocketAddr = format!("{}:{}", hosts[1], first.port()).parse().unwrap();
        assert_eq!(hosts[0], first.ip().to_string());
        let _answering = TcpListener::bind(second).await.ok()?;
        let mut connector = HttpConnector::new_with_resolver(tower::service_fn(move |_| {
            std::future::ready(Ok::<_, std::io::Error>([first, second].into_iter()))
        }));
        share(&mut connector, limit);
        let start = time::now();
        let url = format!("http://two.test:{}", first.port()).parse::<Uri>().unwrap();
        timeout(limit, connector.oneshot(url)).await.expect("in time").unwrap();
        Some(time::now() - start)
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_family_is_tried_after_a_head_start_that_leaves_it_time() {
        let families = ["127.0.0.1", "[::1]"];
        for (limit, head_start) in [(5_000, 300), (600, 300), (100, 50)] {
            let limit = Duration::from_millis(limit);
            if let Some(took) = connected(families, limit).await {
                let head_start = Duration::from_millis(head_start);
                assert!(took >= head_start && took < head_start * 5 / 4, "{limit:?}: {took:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_leaves_the_next_of_its_family_its_share() {
        let limit = Duration::from_secs(2);
        let took = connected(["127.0.0.1", "127.0.0.2"], limit).await;
        assert!(took.is_none_or(|took| took >= limit / 2 && took < limit * 3 / 4), "{took:?}");
    }
}
