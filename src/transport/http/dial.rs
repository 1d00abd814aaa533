//! Connects, within a time that counts finding the host too.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{net::TcpStream, time::Timeout};
use tower_service::Service;

use crate::error::BoxError;

/// As the Go client does.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(super) struct Dial {
    inner: HttpConnector,
    timeout: Duration,
}

impl Dial {
    pub(super) fn new(timeout: Duration) -> Self {
        let mut inner = HttpConnector::new();
        inner.set_nodelay(true);
        inner.set_keepalive(Some(KEEP_ALIVE));
        // Shares the time among the addresses of a host, so that a dead one leaves some to others.
        inner.set_connect_timeout(Some(timeout));
        Self { inner, timeout }
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Dialing;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Dialing {
        Dialing {
            // Boxed since hyper asks for a future that can be moved; one box for each connection.
            inner: Box::pin(tokio::time::timeout(self.timeout, self.inner.call(uri))),
        }
    }
}

pub(super) struct Dialing {
    inner: Pin<Box<Timeout<<HttpConnector as Service<Uri>>::Future>>>,
}

impl Future for Dialing {
    type Output = Result<TokioIo<TcpStream>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx).map(|result| match result {
            Ok(connected) => connected.map_err(Into::into),
            Err(_) => Err(TookTooLong.into()),
        })
    }
}

/// Connecting took longer than the `connect_timeout`.
#[derive(Debug)]
pub(super) struct TookTooLong;

impl fmt::Display for TookTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no connection in time")
    }
}

impl std::error::Error for TookTooLong {}
