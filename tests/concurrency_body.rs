//! Places that last until the end of a response body.
#![cfg(all(feature = "http", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use support::{ms, secs, settle};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, ConcurrencyLimitLayer, Endpoint, Error, LeastRequest, connect_fn, discover,
    error::Kind,
    http::{AtBodyEnd, HeldBody},
    limit::{AtResponse, Permit, Refuse, Wait},
};

/// How many streams are open, and how many were at most.
#[derive(Clone, Default)]
struct Open(Arc<(AtomicUsize, AtomicUsize)>);

impl Open {
    fn most(&self) -> usize {
        self.0.1.load(SeqCst)
    }

    fn stream(&self, frames: Vec<Result<Frame<Bytes>, Infallible>>) -> Stream {
        let now = self.0.0.fetch_add(1, SeqCst) + 1;
        self.0.1.fetch_max(now, SeqCst);
        Stream { open: self.clone(), frames, ends: true }
    }
}

/// A body of these frames, the last of them first; then it ends, or goes on for ever.
struct Stream {
    open: Open,
    frames: Vec<Result<Frame<Bytes>, Infallible>>,
    ends: bool,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.frames.pop(), self.ends) {
            (None, false) => Poll::Pending,
            (frame, _) => Poll::Ready(frame),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.0.0.fetch_sub(1, SeqCst);
    }
}

type Asked = Request<()>;

fn ask() -> Asked {
    Request::new(())
}

fn data() -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(Bytes::from_static(b"data")))
}

fn streams(
    open: Open,
) -> impl Service<Asked, Response = Response<Stream>, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ Sync
+ 'static {
    service_fn(move |_: Asked| {
        let open = open.clone();
        async move { Ok(Response::new(open.stream(vec![data()]))) }
    })
}

fn four() -> ConcurrencyLimitLayer<Refuse, AtBodyEnd> {
    ConcurrencyLimitLayer::new(4).until_body_end()
}

#[tokio::test(start_paused = true)]
async fn of_forty_streams_four_are_open_and_the_rest_is_refused() {
    let (open, layer) = (Open::default(), four());
    let service = layer.layer(streams(open.clone()));
    let calls = (0..40).map(|_| service.clone().oneshot(ask()));
    let (opened, refused): (Vec<_>, Vec<_>) =
        join_all(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!((opened.len(), refused.len(), open.most()), (4, 36, 4));
    for refused in refused {
        let error = refused.err().unwrap();
        assert!(error.is_refused() && error.kind() == Kind::Overloaded);
    }
    assert_eq!(layer.handle().in_flight(), 4);
    drop(opened);
    assert_eq!(layer.handle().in_flight(), 0);
    // At the head, as it is without: all of them.
    let heads = ConcurrencyLimitLayer::new(4).layer(streams(open.clone()));
    let mut kept = Vec::new();
    for _ in 0..40 {
        kept.push(heads.clone().oneshot(ask()).await.unwrap());
    }
    assert_eq!(open.most(), 40);
}

#[tokio::test(start_paused = true)]
async fn of_forty_streams_four_are_open_and_the_rest_waits() {
    let both =
        [four().wait(secs(60)), ConcurrencyLimitLayer::new(4).wait(secs(60)).until_body_end()];
    for layer in both {
        let open = Open::default();
        let service = layer.layer(streams(open.clone()));
        let calls = (0..40).map(|_| {
            let call = service.clone().oneshot(ask());
            async {
                let response = call.await?;
                sleep(ms(100)).await;
                let body = response.into_body().collect().await.unwrap();
                Ok::<_, Error>(body.to_bytes())
            }
        });
        let start = tokio::time::Instant::now();
        let bodies = join_all(calls).await;
        assert!(bodies.iter().all(|body| body.as_ref().unwrap() == "data"));
        assert_eq!(open.most(), 4);
        assert!(start.elapsed() >= secs(1), "{:?}", start.elapsed());
        assert_eq!(layer.handle().in_flight(), 0);
    }
}

/// A full endpoint is not ready, and the call goes to the other, or waits.
#[tokio::test(start_paused = true)]
async fn below_a_balancer_each_endpoint_has_four_streams_open() {
    let (layer, open) = (four(), [Open::default(), Open::default()]);
    let of = open.clone();
    let balance = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), LeastRequest::new()))
        .layer(layer.clone())
        .service(connect_fn(move |endpoint: &Endpoint| {
            streams(of[usize::from(endpoint.key() == "b:1")].clone())
        }));
    let mut kept = Vec::new();
    for _ in 0..8 {
        kept.push(balance.clone().oneshot(ask()).await.unwrap());
    }
    let most = || open.clone().map(|open| open.most());
    let in_flight = ["a:1", "b:1"].map(|key| layer.handle_for(key).unwrap().in_flight());
    assert_eq!((most(), in_flight), ([4, 4], [4, 4]));
    // One more waits for the first that ends.
    let one_ends = async {
        sleep(ms(200)).await;
        kept.pop();
    };
    let (more, ()) = tokio::join!(balance.clone().oneshot(ask()), one_ends);
    more.unwrap();
    assert_eq!(most(), [4, 4]);
}

#[tokio::test(start_paused = true)]
async fn below_a_balancer_streams_wait_for_the_endpoint_that_was_chosen() {
    let (open, layer) = (Open::default(), four().wait(secs(60)));
    let of = open.clone();
    let balance = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .layer(layer.clone())
        .service(connect_fn(move |_: &Endpoint| streams(of.clone())));
    let mut kept = join_all((0..4).map(|_| balance.clone().oneshot(ask()))).await;
    let waits = tokio::spawn(balance.clone().oneshot(ask()));
    settle().await;
    assert!(!waits.is_finished());
    kept.pop();
    waits.await.unwrap().unwrap();
    assert_eq!(open.most(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_given_back_at_the_last_frame_at_an_error_or_at_the_drop() {
    let layer = four();
    let in_flight = || layer.handle().in_flight();
    // Read to the last frame: a body that knows its end gives it back with that.
    let full = layer.layer(service_fn(async |_: Asked| {
        Ok::<_, Infallible>(Response::new(http_body_util::Full::<Bytes>::from("all of it")))
    }));
    let mut body = full.clone().oneshot(ask()).await.unwrap().into_body();
    assert_eq!(in_flight(), 1);
    body.frame().await.unwrap().unwrap();
    assert_eq!(in_flight(), 0);
    // Trailers are the last, though the body does not know.
    let open = Open::default();
    let of = open.clone();
    let trailers = layer.layer(service_fn(move |_: Asked| {
        let trailers = Ok(Frame::trailers(HeaderMap::new()));
        let mut stream = of.stream(vec![trailers, data()]);
        stream.ends = false;
        async move { Ok::<_, Infallible>(Response::new(stream)) }
    }));
    let mut body = trailers.clone().oneshot(ask()).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(in_flight(), 1);
    body.frame().await.unwrap().unwrap();
    assert_eq!(in_flight(), 0);
    // It breaks.
    let broken = layer.layer(service_fn(async |_: Asked| {
        let frames = futures::stream::iter([Ok(Frame::data(Bytes::new())), Err("broken")]);
        Ok::<_, Infallible>(Response::new(http_body_util::StreamBody::new(frames)))
    }));
    let mut body = broken.clone().oneshot(ask()).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(in_flight(), 1);
    body.frame().await.unwrap().unwrap_err();
    assert_eq!(in_flight(), 0);
    // It is dropped, read or not.
    let response = trailers.oneshot(ask()).await.unwrap();
    assert_eq!(in_flight(), 1);
    drop(response);
    assert_eq!(in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_body_or_that_fails_or_is_dropped_keeps_no_place() {
    let layer = four();
    let empty = layer.layer(service_fn(async |_: Asked| {
        Ok::<_, Infallible>(Response::new(http_body_util::Empty::<Bytes>::new()))
    }));
    let kept = empty.oneshot(ask()).await.unwrap();
    assert_eq!(layer.handle().in_flight(), 0);
    drop(kept);
    let fails = layer.layer(service_fn(async |_: Asked| Err::<Response<String>, _>("broken")));
    fails.oneshot(ask()).await.unwrap_err();
    assert_eq!(layer.handle().in_flight(), 0);
    let never = layer.layer(service_fn(async |_: Asked| {
        std::future::pending::<Result<Response<String>, Infallible>>().await
    }));
    let mut call = tokio_test::task::spawn(never.oneshot(ask()));
    assert!(call.poll().is_pending());
    assert_eq!(layer.handle().in_flight(), 1);
    drop(call);
    assert_eq!(layer.handle().in_flight(), 0);
}

/// Only for their types.
#[allow(dead_code)]
fn both_modes_and_both_ends_have_names(
    _: ConcurrencyLimitLayer<Wait, AtBodyEnd>,
    _: ConcurrencyLimitLayer<Refuse, AtResponse>,
    body: HeldBody<String, Permit>,
) -> impl std::fmt::Debug {
    body
}
