//! Request bodies that can be read again from the start.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::kept::{MAX_CHUNKS, Part, Source, State};
use crate::{error::BoxError, sync::lock};

/// Request body that streams, and can still be sent more than once.
///
/// Chunks that pass are kept while there is a copy that may need them, up to a cap. A copy returns them
/// again from the start, and continues with the rest where the other one stopped. Chunks are shared, not
/// copied. Trailers are returned again as well.
///
/// Only one copy at a time reads the rest of the stream: the one that began last. The others get an error
/// at that point, so that an attempt that was given up stops sending.
///
/// Made by a [`ReplayBodyLayer`](super::ReplayBodyLayer). Copies are made by
/// [`Replay`](crate::replay::Replay) of `http::Request<ReplayBody>`, or by [`replay`](Self::replay).
///
/// # Bounds
/// At most 64 KiB are kept, unless [`with_cap`](Self::with_cap) sets another cap, in at most 4,096
/// chunks ([`MAX_CHUNKS`](Self::MAX_CHUNKS)): a stream of tiny chunks may reach that first. Once more
/// has passed, the body streams through and is sent once. A body that is known to be longer than
/// the cap is never kept.
///
/// # Cancel safety
/// A copy that drops halfway loses nothing: the next one continues from there.
///
/// # Example
/// ```
/// use http_body_util::{BodyExt, Full};
/// use tower_upstream::http::ReplayBody;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let body = ReplayBody::new(Full::<bytes::Bytes>::from("hello"));
/// let copy = body.replay().unwrap();
/// assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
/// assert_eq!(copy.collect().await.unwrap().to_bytes(), "hello");
/// # }
/// ```
pub struct ReplayBody {
    state: Arc<Mutex<State>>,
    /// The turn when this was made.
    made: u64,
    /// The turn of this, or 0 while it has none.
    turn: u64,
    /// How many of the kept chunks, and how many bytes of them, this has returned.
    chunks: usize,
    bytes: u64,
    gave_trailers: bool,
}

impl ReplayBody {
    /// Most bytes that are kept unless a cap is set: 64 KiB.
    pub const DEFAULT_CAP: usize = 64 << 10;

    /// Most chunks that are kept, whatever their length: each costs some memory beside its bytes.
    pub const MAX_CHUNKS: usize = MAX_CHUNKS;

    /// Wraps `body`, and keeps up to [`DEFAULT_CAP`](Self::DEFAULT_CAP) bytes of it.
    pub fn new<B>(body: B) -> Self
    where
        B: Body<Error: Into<BoxError>> + Send + 'static,
    {
        Self::with_cap(body, Self::DEFAULT_CAP)
    }

    /// Wraps `body`, and keeps up to `cap` bytes of it.
    pub fn with_cap<B>(body: B, cap: usize) -> Self
    where
        B: Body<Error: Into<BoxError>> + Send + 'static,
    {
        let state = State::new(Box::pin(Plain { body }), cap);
        Self::of(Arc::new(Mutex::new(state)), 0)
    }

    fn of(state: Arc<Mutex<State>>, made: u64) -> Self {
        Self { state, made, turn: 0, chunks: 0, bytes: 0, gave_trailers: false }
    }

    /// Returns a copy that begins at the start.
    ///
    /// `None` if something has passed that was not kept, if the body is known to be longer than the cap,
    /// or if it failed.
    pub fn replay(&self) -> Option<Self> {
        let state = lock(&self.state);
        state.may_fit().then(|| Self::of(self.state.clone(), state.turn()))
    }

    /// Returns whether all of it can be read from the start, as far as is known.
    pub(super) fn is_whole(&self) -> bool {
        lock(&self.state).may_fit()
    }

    /// Returns whether the source owes what it announced: it was asked for more, and has none yet.
    pub(super) fn waits_for_caller(&self) -> bool {
        lock(&self.state).is_owed()
    }

    /// Returns whether all of it was kept, so that copies take nothing from each other.
    pub(super) fn is_independent(&self) -> bool {
        lock(&self.state).is_kept()
    }

    /// Makes this the copy that reads the rest, before it is first polled. Copies made before it get no
    /// turn any more.
    pub(super) fn claim(&mut self) {
        let (turn, waiting) = lock(&self.state).claim();
        self.turn = turn;
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Returns what was kept and not returned yet, or whether the source can be polled.
    fn next_part(&mut self, cx: &mut Context<'_>) -> Part {
        let mut state = lock(&self.state);
        let mut waiting = None;
        if self.turn == 0 && state.may_begin(self.made, self.chunks) {
            (self.turn, waiting) = state.next_turn();
        }
        let part = state.part(self.turn, self.chunks, self.gave_trailers, cx.waker());
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
        match &part {
            Part::Data(chunk) => {
                self.chunks += 1;
                self.bytes += chunk.len() as u64;
            }
            Part::Trailers(_) => self.gave_trailers = true,
            _ => {}
        }
        part
    }
}

impl Body for ReplayBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let source = match this.next_part(cx) {
            Part::Data(chunk) => return Poll::Ready(Some(Ok(Frame::data(chunk)))),
            Part::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Part::End => return Poll::Ready(None),
            Part::Error(error) => return Poll::Ready(Some(Err(error))),
            Part::Lent => return Poll::Pending,
            Part::Source(source) => source,
        };
        // Polled outside the lock, and given back even if it panics.
        let mut lent = Lent { state: &this.state, turn: this.turn, source: Some(source) };
        let frame = lent.poll(cx);
        // If this is the only one left, no copy will need what is kept.
        let wanted = Arc::strong_count(&this.state) > 1;
        let frame = ready!(lent.give_back(frame, wanted, cx)?);
        match &frame {
            Some(frame) if frame.is_trailers() => this.gave_trailers = true,
            Some(frame) => {
                if let Some(chunk) = frame.data_ref().filter(|chunk| !chunk.is_empty()) {
                    this.chunks += 1;
                    this.bytes += chunk.len() as u64;
                }
            }
            None => {}
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.state).is_over(self.turn, self.chunks, self.gave_trailers)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.state).size_hint(self.turn, self.bytes)
    }
}

/// The source, for the time of a poll.
struct Lent<'a> {
    state: &'a Mutex<State>,
    turn: u64,
    source: Option<Source>,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

impl Lent<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        match &mut self.source {
            Some(source) => source.as_mut().poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    /// Keeps what came, and returns it if it is still the turn of this one.
    fn give_back(
        mut self,
        frame: Polled,
        wanted: bool,
        cx: &mut Context<'_>,
    ) -> Result<Poll<Option<Frame<Bytes>>>, BoxError> {
        // Asked outside the lock, and while a panic still gives the source back: it is not our code.
        let asked = self.source.as_ref().map(|source| (source.is_end_stream(), source.size_hint()));
        let problem = match &frame {
            Poll::Ready(Some(Err(error))) => Some(error.to_string()),
            _ => None,
        };
        let (Some(source), Some((over, rest))) = (self.source.take(), asked) else {
            return Ok(Poll::Ready(None));
        };
        let mut state = lock(self.state);
        state.note(frame.is_pending());
        let forgotten = match &frame {
            Poll::Ready(Some(Ok(frame))) => state.keep(frame, wanted, self.turn),
            _ => Vec::new(),
        };
        let done = match (&frame, problem) {
            (_, Some(problem)) => state.fail(source, &problem),
            (Poll::Pending, _) => state.put_back(source, rest),
            (Poll::Ready(Some(Ok(frame))), _) if !over && !frame.is_trailers() => {
                state.put_back(source, rest)
            }
            _ => state.end(source),
        };
        let is_ours = state.is_turn_of(self.turn);
        let waker = if is_ours {
            // The one that takes over wakes this one.
            frame.is_pending().then(|| state.wait(cx.waker())).flatten()
        } else {
            state.waiting()
        };
        drop(state);
        // Not our code, so outside the lock.
        drop((forgotten, done));
        if let Some(waker) = waker.filter(|_| !is_ours) {
            waker.wake();
        }
        match frame {
            Poll::Ready(Some(Err(error))) => Err(error),
            _ if !is_ours => Err("a later attempt has taken over the body".into()),
            Poll::Ready(frame) => Ok(Poll::Ready(frame.transpose()?)),
            Poll::Pending => Ok(Poll::Pending),
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            let mut state = lock(self.state);
            let done = state.fail(source, "the body panicked");
            let waker = state.waiting();
            drop(state);
            drop(done);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

pin_project! {
    /// A body with the types of all sources.
    struct Plain<B> {
        #[pin]
        body: B,
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for Plain<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.project().body.poll_frame(cx));
        let plain =
            |frame: Frame<B::Data>| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        Poll::Ready(frame.map(|frame| frame.map(plain).map_err(Into::into)))
    }

    inner_body!();
}

impl fmt::Debug for ReplayBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("ReplayBody")
            .field("given", &self.bytes)
            .field("kept", &state.kept_bytes())
            .field("is_whole", &state.may_fit())
            .finish()
    }
}
