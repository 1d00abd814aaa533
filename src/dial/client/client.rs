use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{HOST, USER_AGENT},
    request::Builder,
};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use super::{
    super::{dialer::Dialer, way::Way},
    connector::Connector,
};
use crate::{
    endpoint::Address,
    error::{Error, Kind},
    wire::{Cut, Gather},
};

pub(crate) const AGENT: &str = concat!("tower-upstream/", env!("CARGO_PKG_VERSION"));

/// What is read of an answer's head, at most.
const MAX_HEAD: usize = 64 << 10;
/// How long a connection is kept that is not used.
const IDLE: Duration = Duration::from_secs(30);
/// How many of those.
const MAX_IDLE: usize = 4;

/// How long a request may take, with its answer, and how much that may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) timeout: Duration,
    pub(crate) max_body: usize,
}

/// Asks one server. Follows no redirects. Clones share their connections, which are kept for the next request.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
    /// `http://host:port/path`, without a slash at its end. Where a connection leads to is up to the connector.
    base: Arc<str>,
    host: Option<HeaderValue>,
}

impl HttpClient {
    /// For the server at `address`: `http`, `https` or `http+unix`. Does nothing yet.
    pub(crate) fn new(address: &Address, dialer: Dialer) -> Self {
        let (way, host) = Way::to(address);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .http1_max_buf_size(MAX_HEAD)
            .build(Connector { way: Arc::new(way), dialer });
        let base = format!("http://{host}{}", address.path().trim_end_matches('/'));
        Self { client, base: base.into(), host: HeaderValue::try_from(host).ok() }
    }

    /// Begins a request for `path`, with its query, below the path of the address.
    pub(crate) fn request(&self, method: Method, path: &str) -> Builder {
        let builder = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(USER_AGENT, HeaderValue::from_static(AGENT));
        match &self.host {
            Some(host) => builder.header(HOST, host.clone()),
            None => builder,
        }
    }

    /// Asks, and waits for the head of the answer: the caller bounds that, and the body.
    ///
    /// Dropping the future, or the body before its end, closes the connection.
    pub(crate) async fn open(&self, request: Request<Bytes>) -> Result<Response<Incoming>, Error> {
        let answered = self.client.request(request.map(Full::new)).await;
        answered.map_err(|error| Error::from_service(error).confirm_unsent())
    }

    /// Asks, and takes the whole answer, of any status.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response<Bytes>, Error> {
        let Limits { timeout: limit, max_body } = limits;
        let answered = async {
            let (head, body) = self.open(request).await?.into_parts();
            Ok(Response::from_parts(head, whole(body, max_body).await?))
        };
        timeout(limit, answered).await.unwrap_or_else(|_| {
            let text = format!("there was no whole answer within {limit:?}");
            Err(Error::failed(Kind::Timeout).message(text))
        })
    }
}

/// Reads a body that may have `max` bytes.
async fn whole(body: Incoming, max: usize) -> Result<Bytes, Error> {
    let mut body = pin!(Gather::new(body, max));
    poll_fn(|cx| body.as_mut().poll_gather(cx)).await.map_err(|cut| match cut {
        Cut::TooLong => {
            let text = format!("the answer is longer than {max} bytes");
            Error::failed(Kind::Transport).message(text)
        }
        Cut::Broken(error) => Error::from_service(error),
    })
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
