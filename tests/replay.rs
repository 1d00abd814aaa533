//! What a body that can be sent again promises.
#![cfg(all(feature = "http", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use proptest::prelude::*;
use tower::{ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Endpoint, FailoverLayer,
    balance::RoundRobin,
    connect_fn, discover,
    http::{Idempotent, ReplayBody, ReplayBodyLayer},
    replay::Replay,
};

/// What a source does when it is polled.
#[derive(Debug, Clone)]
enum Step {
    Data(Bytes),
    Pending,
    Trailers,
    Error,
    Panic,
}

/// A body by script, which counts how often it is read.
struct Script {
    steps: VecDeque<Step>,
    read: Arc<AtomicUsize>,
    known: bool,
}

impl Script {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), read: Arc::default(), known: false }
    }

    fn chunks(chunks: &[&'static str]) -> Self {
        Self::new(chunks.iter().map(|chunk| data(chunk)))
    }

    /// Tells how long it is.
    fn known(mut self) -> Self {
        self.known = true;
        self
    }

    fn left(&self) -> u64 {
        let bytes = self.steps.iter().map(|step| match step {
            Step::Data(data) => data.len() as u64,
            _ => 0,
        });
        bytes.sum()
    }
}

fn data(text: &'static str) -> Step {
    Step::Data(Bytes::from_static(text.as_bytes()))
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())])
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.read.fetch_add(1, SeqCst);
        let Some(step) = self.steps.pop_front() else { return Poll::Ready(None) };
        Poll::Ready(Some(match step {
            Step::Data(data) => Ok(Frame::data(data)),
            Step::Trailers => Ok(Frame::trailers(trailers())),
            Step::Error => Err("torn".into()),
            Step::Panic => panic!("the body of a user panics"),
            Step::Pending => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.known && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.known { SizeHint::with_exact(self.left()) } else { SizeHint::default() }
    }
}

/// Reads up to `frames` frames.
async fn read(body: &mut ReplayBody, frames: usize) -> Result<(Vec<u8>, bool), String> {
    let (mut bytes, mut trailed) = (Vec::new(), false);
    for _ in 0..frames {
        match body.frame().await {
            None => break,
            Some(Err(error)) => return Err(error.to_string()),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => {
                    assert_eq!(frame.into_trailers().ok(), Some(trailers()));
                    trailed = true;
                }
            },
        }
    }
    Ok((bytes, trailed))
}

async fn read_all(mut body: ReplayBody) -> Result<(Vec<u8>, bool), String> {
    read(&mut body, usize::MAX).await
}

fn now<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #[test]
    fn wherever_the_first_attempts_stop_the_next_one_sends_the_whole(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..8),
        pending in prop::collection::vec(any::<bool>(), 8),
        stops in prop::collection::vec(0_usize..12, 0..4),
        trailed in any::<bool>(),
        known in any::<bool>(),
        keeps in any::<bool>(),
    ) {
        let whole = chunks.concat();
        let mut steps = Vec::new();
        for (chunk, pending) in chunks.into_iter().zip(pending) {
            steps.extend(pending.then_some(Step::Pending));
            steps.push(Step::Data(chunk.into()));
        }
        steps.extend(trailed.then_some(Step::Trailers));
        let mut script = Script::new(steps);
        script.known = known && !trailed;
        now(async {
            let spare = ReplayBody::new(script);
            let mut abandoned = Vec::new();
            for stop in stops {
                let mut attempt = spare.replay().unwrap();
                if known && !trailed {
                    assert_eq!(attempt.size_hint().exact(), Some(whole.len() as u64));
                }
                let (bytes, _) = read(&mut attempt, stop).await.unwrap();
                assert!(whole.starts_with(&bytes));
                if known && !trailed {
                    let left = whole.len() - bytes.len();
                    assert_eq!(attempt.size_hint().exact(), Some(left as u64));
                }
                // Some are dropped, and some hang on.
                abandoned.extend(keeps.then_some(attempt));
            }
            let mut last = spare.replay().unwrap();
            assert_eq!(read(&mut last, usize::MAX).await.unwrap(), (whole.clone(), trailed));
            assert!(last.is_end_stream());
            assert_eq!(last.size_hint().exact(), Some(0));
            // All is kept by now, so any number can read it.
            let (one, two) = (spare.replay().unwrap(), spare);
            assert_eq!(one.size_hint().exact(), Some(whole.len() as u64));
            assert_eq!(read_all(one).await.unwrap(), (whole.clone(), trailed));
            assert_eq!(read_all(two).await.unwrap(), (whole, trailed));
        });
    }
}

#[tokio::test]
async fn chunks_are_shared_not_copied() {
    let chunk = Bytes::from(vec![7; 1_000]);
    let body = ReplayBody::new(Script::new([Step::Data(chunk.clone())]));
    for mut body in [body.replay().unwrap(), body] {
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data.as_ptr(), chunk.as_ptr());
    }
}

#[tokio::test]
async fn over_the_cap_it_streams_through_and_is_sent_once() {
    let mut body = ReplayBody::with_cap(Script::chunks(&["abc", "def", "ghi"]), 5);
    let request = Request::put("/").body(body.replay().unwrap()).unwrap();
    assert_eq!(read(&mut body, 1).await.unwrap().0, b"abc");
    assert!(request.is_whole());
    assert_eq!(read(&mut body, 1).await.unwrap().0, b"def");
    assert!(!request.is_whole() && body.replay().is_none());
    // The copy that was made before takes nothing away, not even if it tries.
    let mut copy = request;
    copy.begin_attempt(2);
    let error = read_all(copy.into_body()).await.unwrap_err();
    assert!(error.contains("too long"), "{error}");
    assert_eq!(read_all(body).await.unwrap().0, b"ghi");
}

#[tokio::test]
async fn as_many_chunks_are_kept_as_the_docs_say_however_short_they_are() {
    for (chunks, kept) in [(ReplayBody::MAX_CHUNKS, true), (ReplayBody::MAX_CHUNKS + 1, false)] {
        let body = ReplayBody::new(Script::chunks(&vec!["x"; chunks]));
        let copy = body.replay().unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), chunks);
        assert_eq!(copy.replay().is_some(), kept, "{chunks}");
        assert_eq!(copy.collect().await.is_ok(), kept, "{chunks}");
    }
}

#[tokio::test]
async fn exactly_the_cap_is_kept() {
    let mut body = ReplayBody::with_cap(Script::chunks(&["abc", "de"]), 5);
    let copy = body.replay().unwrap();
    read(&mut body, usize::MAX).await.unwrap();
    assert_eq!(read_all(copy).await.unwrap().0, b"abcde");
}

#[tokio::test]
async fn what_is_known_to_be_too_long_is_never_kept() {
    let body = ReplayBody::with_cap(Script::chunks(&["abc", "def"]).known(), 5);
    assert!(body.replay().is_none());
    let mut body = body;
    assert_eq!(body.size_hint().exact(), Some(6));
    read(&mut body, 1).await.unwrap();
    assert_eq!(body.size_hint().exact(), Some(3));
    assert_eq!(read_all(body).await.unwrap().0, b"def");
    let body = ReplayBody::with_cap(Script::chunks(&["abc", "de"]).known(), 5);
    assert!(body.replay().is_some());
}

#[tokio::test]
async fn nothing_is_kept_for_nobody() {
    let mut body = ReplayBody::new(Script::chunks(&["abc", "def"]));
    drop(body.replay());
    read(&mut body, 1).await.unwrap();
    assert!(format!("{body:?}").contains("kept: 0"), "{body:?}");
    assert!(body.replay().is_none());
    assert_eq!(read_all(body).await.unwrap().0, b"def");
}

#[tokio::test]
async fn crumbs_are_bounded_too() {
    let steps = (0..10_000).map(|_| data("x"));
    let mut body = ReplayBody::new(Script::new(steps));
    let copy = body.replay().unwrap();
    assert_eq!(read(&mut body, usize::MAX).await.unwrap().0.len(), 10_000);
    assert!(copy.replay().is_none());
}

#[tokio::test]
async fn an_error_is_passed_on_and_no_copy_is_sent_after_it() {
    let mut body = ReplayBody::new(Script::new([data("abc"), Step::Error]));
    let copy = Request::put("/").body(body.replay().unwrap()).unwrap();
    assert_eq!(read(&mut body, 2).await.unwrap_err(), "torn");
    assert!(!copy.is_whole() && body.replay().is_none());
    assert_eq!(read_all(copy.into_body()).await.unwrap_err(), "torn");
}

#[tokio::test]
async fn a_body_that_panics_leaves_an_error() {
    let body = ReplayBody::new(Script::new([data("abc"), Step::Panic]));
    let copy = body.replay().unwrap();
    assert!(tokio::spawn(read_all(body)).await.unwrap_err().is_panic());
    assert!(read_all(copy).await.unwrap_err().contains("panicked"));
}

/// Panics when it is asked how much is left after its first chunk.
struct Unsure(bool);

impl Body for Unsure {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0 = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"abc")))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.0 { panic!("the hint of a user panics") } else { SizeHint::default() }
    }
}

#[tokio::test]
async fn a_body_that_panics_later_leaves_an_error_too() {
    let body = ReplayBody::new(Unsure(false));
    let copy = body.replay().unwrap();
    assert!(tokio::spawn(read_all(body)).await.unwrap_err().is_panic());
    assert!(read_all(copy).await.unwrap_err().contains("panicked"));
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// A body whose data comes when it is sent.
struct Slow(Arc<Mutex<(VecDeque<Bytes>, Option<Waker>)>>);

impl Body for Slow {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut slow = self.0.lock().unwrap();
        match slow.0.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => {
                slow.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[tokio::test]
async fn who_comes_last_takes_over_and_who_waited_is_told() {
    let sender = Arc::<Mutex<(VecDeque<Bytes>, Option<Waker>)>>::default();
    let mut first = ReplayBody::new(Slow(sender.clone()));
    let mut second = Request::put("/").body(first.replay().unwrap()).unwrap();
    let (told, woken) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
    let poll = |body: &mut ReplayBody, flag: &Arc<Flag>| {
        let waker = Waker::from(flag.clone());
        pin!(body).poll_frame(&mut Context::from_waker(&waker))
    };
    assert!(poll(&mut first, &told).is_pending());
    assert!(!told.0.load(SeqCst));
    // As soon as another attempt is decided, before it is sent.
    second.begin_attempt(2);
    assert!(told.0.load(SeqCst));
    let Poll::Ready(Some(Err(error))) = poll(&mut first, &told) else { panic!("reads on") };
    assert!(error.to_string().contains("later attempt"), "{error}");
    let mut second = second.into_body();
    assert!(poll(&mut second, &woken).is_pending());
    sender.lock().unwrap().0.push_back(Bytes::from_static(b"abc"));
    sender.lock().unwrap().1.take().unwrap().wake();
    assert!(woken.0.load(SeqCst), "the waker is not that of who reads");
    assert!(matches!(poll(&mut second, &woken), Poll::Ready(Some(Ok(_)))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_over_while_another_reads_gets_the_whole() {
    let steps: Vec<Step> = (0..50).flat_map(|_| [data("abc"), Step::Pending]).collect();
    for _ in 0..300 {
        let first = ReplayBody::new(Script::new(steps.clone()));
        let mut second = Request::put("/").body(first.replay().unwrap()).unwrap();
        let reading = tokio::spawn(read_all(first));
        tokio::task::yield_now().await;
        second.begin_attempt(2);
        let whole = tokio::spawn(read_all(second.into_body())).await.unwrap().unwrap();
        assert_eq!(whole.0.len(), 150);
        // The other one had all of it, or was told.
        match reading.await.unwrap() {
            Ok((bytes, _)) => assert_eq!(bytes.len(), 150),
            Err(error) => assert!(error.contains("later attempt"), "{error}"),
        }
    }
}

#[tokio::test]
async fn an_empty_body_is_over_at_once() {
    let body = ReplayBody::new(Empty::<Bytes>::new());
    assert!(body.is_end_stream() && body.replay().unwrap().is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert_eq!(read_all(body).await.unwrap(), (Vec::new(), false));
}

// With the layers that send again.

type Sent = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Endpoints that read `reads` bytes and fail, but for the last, which reads all.
async fn failing_over(script: Script, layer: ReplayBodyLayer, reads: usize) -> (Sent, bool) {
    let sent = Sent::default();
    let seen = sent.clone();
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(
            discover::fixed(["a:1", "b:1", "c:1"]).unwrap(),
            RoundRobin::starting_at(0),
        ))
        .service(connect_fn(move |endpoint: &Endpoint| {
            let (seen, key) = (seen.clone(), endpoint.key().to_owned());
            tower::service_fn(move |request: Request<ReplayBody>| {
                let (seen, key) = (seen.clone(), key.clone());
                async move {
                    let mut body = request.into_body();
                    let frames = if key == "c:1" { usize::MAX } else { reads };
                    let bytes = read(&mut body, frames).await?.0;
                    seen.lock().unwrap().push((key.clone(), bytes));
                    if key == "c:1" { Ok(Response::new(())) } else { Err(BoxError::from("broken")) }
                }
            })
        }));
    let request = Request::put("http://x/").body(script).unwrap();
    let good = service.oneshot(request).await.is_ok();
    (sent, good)
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_to_another_endpoint_whole() {
    for reads in 0..4 {
        let script = Script::chunks(&["abc", "def", "ghi"]);
        let (sent, good) = failing_over(script, ReplayBodyLayer::new(), reads).await;
        let sent = sent.lock().unwrap();
        assert!(good && sent.len() == 3, "{sent:?}");
        assert_eq!(sent[2].1, b"abcdefghi");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_over_the_cap_goes_elsewhere_only_while_it_is_whole() {
    let layer = ReplayBodyLayer::new().with_cap(5);
    for (reads, attempts) in [(0, 3), (1, 3), (2, 1)] {
        let script = Script::chunks(&["abc", "def", "ghi"]);
        let (sent, good) = failing_over(script, layer, reads).await;
        assert_eq!((sent.lock().unwrap().len(), good), (attempts, attempts == 3), "{reads}");
    }
    let (sent, good) = failing_over(Script::chunks(&["abc"]), layer.with_cap(0), 1).await;
    assert_eq!((sent.lock().unwrap().len(), good), (1, false));
}

#[tokio::test]
async fn a_post_is_sent_again_if_it_says_so() {
    let post = |body| Request::post("/").body(body).unwrap();
    let body = ReplayBody::new(Full::new(Bytes::from_static(b"abc")));
    let mut request = post(body);
    assert!(!request.is_idempotent());
    request.extensions_mut().insert(Idempotent);
    let copy = request.replay().unwrap();
    assert!(copy.is_idempotent());
    assert_eq!(read_all(copy.into_body()).await.unwrap().0, b"abc");
}
