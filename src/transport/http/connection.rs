//! One connection to a plugin.

use std::pin::Pin;

use http::{HeaderValue, Request, Response, Uri, header::HOST, uri};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use tower_service::Service;

use super::{config::HttpConfig, outgoing::Outgoing};
use crate::{
    dial::{ConnectError, TcpConnector},
    http::{ConnectionSlot, Moment},
    pool::{self, Pooled},
    wire::without_zone,
};

/// Boxed because hyper's cannot be named.
pub(super) type BoxResponse =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, Unanswered>> + Send + Sync>>;
/// With the request, if none of it was sent.
pub(super) type Unanswered = TrySendError<Request<Outgoing>>;

pub(super) type Connections = pool::Pool<HttpConnection, ConnectError>;
pub(super) type Waiting = pool::Waiting<HttpConnection, ConnectError>;
pub(super) type Dialing = pool::Dialing<HttpConnection, ConnectError>;
pub(super) type Lease = pool::Lease<HttpConnection, ConnectError>;

pub(super) struct HttpConnection {
    sender: http1::SendRequest<Outgoing>,
    host: HeaderValue,
    slot: ConnectionSlot,
}

impl HttpConnection {
    /// Connects to the host of `url`. `place` is held until the socket is closed, by a task.
    pub(super) async fn make(
        url: Uri,
        config: &HttpConfig,
        place: impl Send + 'static,
    ) -> Result<Self, ConnectError> {
        let host = host_of(&url)?;
        let mut connector =
            TcpConnector::new().connect_timeout(config.connect_timeout).without_addresses();
        let io = connector.call(url).await?;
        let slot = io.slot().clone();
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(config.max_header_bytes)
            // Go writes `X-Request-Id`, and some servers compare bytes.
            .title_case_headers(true)
            .handshake(io)
            .await
            .map_err(ConnectError::failed)?;
        tokio::spawn(async move {
            // What it ends with, the calls hear as well.
            let _ = driver.await;
            drop(place);
        });
        Ok(Self { sender, host, slot })
    }

    /// Sends `request`, which has the whole URL, or its path.
    pub(super) fn send(&mut self, mut request: Request<Outgoing>) -> BoxResponse {
        let mut origin_form = uri::Parts::default();
        origin_form.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from_parts(origin_form).unwrap_or_default();
        request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
        Box::pin(self.sender.try_send_request(request))
    }

    /// Whether it may take the next request at once.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until it may take the next request. False if it never will.
    pub(super) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Whether it was there before the call that began at `moment`.
    pub(super) fn is_older_than(&self, moment: Moment) -> bool {
        self.slot.is_older_than(moment)
    }
}

impl Pooled for HttpConnection {
    fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
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
