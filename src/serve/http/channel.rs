//! One connection.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use ::http::{Request, Response};
use bytes::Bytes;
use futures_util::future::{Either, poll_fn, select};
use http_body::Body;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulConnection},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::yield_now,
    time::{Sleep, sleep_until, timeout},
};
use tower_service::Service;

use super::{
    body::RequestBody,
    config::HttpServerConfig,
    entry::Entry,
    pace::{End, Limits, Pace},
    paced::Paced,
};
use crate::{error::BoxError, time};

pub(super) type Protocol = auto::Builder<TokioExecutor>;

/// For how long a connection of HTTP/2 is quiet before it is probed, and how long the answer may take.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);
/// Most requests at once on one connection of HTTP/2, all of which may be given up at once.
const MAX_STREAMS: u32 = 200;
/// How long a runtime may take to find what has come.
const LOOK: Duration = Duration::from_millis(10);

/// How every connection is spoken to.
pub(super) fn protocol(config: &HttpServerConfig) -> Protocol {
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    protocol
        .http1()
        .timer(TokioTimer::new())
        // `Pace` tells a head that is slow from a connection without one.
        .header_read_timeout(None)
        .max_headers(config.max_headers)
        .max_buf_size(config.max_header_bytes)
        // Sends answers without copying them, so that `Parted` knows how far they are sent.
        .writev(true)
        // As Go writes them.
        .title_case_headers(true);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_STREAMS as usize)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    protocol
}

/// What is known of a connection before its first request.
pub(super) struct Terms {
    pub(super) limits: Limits,
    pub(super) max_headers: usize,
    pub(super) certified: bool,
}

/// Serves a connection until it ends, is too slow, idle for too long, or the server stops.
pub(super) async fn serve<T, S, R>(
    io: T,
    protocol: &Protocol,
    service: S,
    terms: Terms,
    mut stop: watch::Receiver<bool>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: Body + From<Bytes> + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    let pace = Arc::new(Pace::new(terms.limits, stop.clone()));
    let Terms { certified, max_headers, .. } = terms;
    let entry = Entry { inner: service, pace: pace.clone(), certified, max_headers };
    let io = TokioIo::new(Paced { inner: io, pace: pace.clone() });
    let mut connection = pin!(protocol.serve_connection(io, TowerToHyperService::new(entry)));
    let mut timer = pin!(sleep_until(time::now()));
    {
        let over = poll_fn(|cx| poll_over(connection.as_mut(), timer.as_mut(), &pace, cx));
        if let Either::Left(_) = select(over, pin!(stop.wait_for(|stop| *stop))).await {
            return;
        }
    }
    // What has come by now is answered, so the runtime must have looked for it.
    yield_now().await;
    let looked = poll_fn(|cx| {
        let is_over = poll_over(connection.as_mut(), timer.as_mut(), &pace, cx).is_ready();
        // Nothing was heard yet of one that has only now been accepted.
        if pace.is_unused() && !is_over { Poll::Pending } else { Poll::Ready(is_over) }
    });
    if timeout(LOOK, looked).await != Ok(false) {
        return;
    }
    connection.as_mut().graceful_shutdown();
    poll_fn(|cx| poll_over(connection.as_mut(), timer.as_mut(), &pace, cx)).await;
}

/// Ready once the connection has ended, or shall be dropped.
fn poll_over<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    mut timer: Pin<&mut Sleep>,
    pace: &Pace,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        if connection.as_mut().poll(cx).is_ready() {
            // Whatever ended it, the other end sees that.
            return Poll::Ready(());
        }
        let Some((at, end)) = pace.due(cx.waker()) else {
            return Poll::Pending;
        };
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        ready!(timer.as_mut().poll(cx));
        match end {
            End::TooSlow => pace.give_up(),
            End::Idle => {
                pace.end();
                connection.as_mut().graceful_shutdown();
            }
            End::Now => return Poll::Ready(()),
        }
    }
}
