//! What may be asked of an `http::Request`.

use std::any::Any;

use bytes::Bytes;
use http_body_util::{Empty, Full};

use super::body::ReplayBody;
use crate::{
    deadline::HasDeadline,
    replay::{CallOptions, Repeatable, Replay},
    time::Instant,
};

/// Extension of an `http::Request` that is idempotent although its method does not say so.
///
/// ```
/// use tower_upstream::{http::Idempotent, replay::Replay};
/// let mut request = http::Request::post("/").body(()).unwrap();
/// assert!(!request.is_idempotent());
/// request.extensions_mut().insert(Idempotent);
/// assert!(request.is_idempotent());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Idempotent;

/// Extension of an `http::Request`: the time from which on the answer is of no use.
///
/// ```
/// use tower_upstream::http::Deadline;
/// let at = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
/// let request = http::Request::get("/").extension(Deadline(at)).body(()).unwrap();
/// # let _ = request;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

/// Extension of a repeated `http::Request`: the number of the attempt, from 2.
///
/// ```
/// use tower_upstream::{http::Attempt, replay::Replay};
/// let mut request = http::Request::get("/").body(()).unwrap();
/// request.begin_attempt(2);
/// assert_eq!(request.extensions().get::<Attempt>().map(|a| a.0), Some(2));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Attempt(pub u32);

/// The deadline is the extension [`Deadline`].
impl<B> HasDeadline for http::Request<B> {
    fn deadline(&self) -> Option<Instant> {
        self.extensions().get::<Deadline>().map(|deadline| deadline.0)
    }
}

/// Copies requests whose body is held in memory: `Full<Bytes>`, `Empty<Bytes>`, `Bytes`, `String`,
/// `Vec<u8>`, `()`; and [`ReplayBody`], which keeps a part of a stream. A request is idempotent by its
/// method (RFC 9110 §9.2.2), or by the extension [`Idempotent`]; the deadline is the extension
/// [`Deadline`], and the extension [`CallOptions`] is in place of settings of the layer.
impl<B: 'static> Replay for http::Request<B> {
    fn replay(&self) -> Option<Self> {
        let body = copy_body(self.body())?;
        let mut copy = Self::new(body);
        *copy.method_mut() = self.method().clone();
        *copy.uri_mut() = self.uri().clone();
        *copy.version_mut() = self.version();
        copy.headers_mut().clone_from(self.headers());
        copy.extensions_mut().clone_from(self.extensions());
        Some(copy)
    }

    fn is_idempotent(&self) -> bool {
        self.method().is_idempotent() || self.extensions().get::<Idempotent>().is_some()
    }

    fn options(&self) -> CallOptions {
        self.extensions().get::<CallOptions>().copied().unwrap_or_default()
    }

    fn begin_attempt(&mut self, number: u32) {
        if number > 1 {
            self.extensions_mut().insert(Attempt(number));
            if let Some(body) = (self.body_mut() as &mut dyn Any).downcast_mut::<ReplayBody>() {
                body.claim();
            }
        }
    }

    fn is_independent(&self) -> bool {
        let body = (self.body() as &dyn Any).downcast_ref::<ReplayBody>();
        body.is_none_or(ReplayBody::is_independent)
    }

    fn is_whole(&self) -> bool {
        let body = (self.body() as &dyn Any).downcast_ref::<ReplayBody>();
        body.is_none_or(ReplayBody::is_whole)
    }

    fn waits_for_caller(&self) -> bool {
        let body = (self.body() as &dyn Any).downcast_ref::<ReplayBody>();
        body.is_some_and(ReplayBody::waits_for_caller)
    }
}

macro_rules! repeatable {
    ($($body:ty),*) => { $(impl Repeatable for http::Request<$body> {})* };
}

// Those that `copy_body` knows.
repeatable!(ReplayBody, Full<Bytes>, Empty<Bytes>, Bytes, (), String, Vec<u8>);

/// A copy of a body of one of the types that can be copied for next to nothing.
fn copy_body<B: 'static>(body: &B) -> Option<B> {
    fn given<T: 'static, B: 'static>(copy: T) -> Option<B> {
        (&mut Some(copy) as &mut dyn Any).downcast_mut::<Option<B>>()?.take()
    }
    fn copy_as<T: Clone + 'static, B: 'static>(body: &dyn Any) -> Option<B> {
        given(body.downcast_ref::<T>()?.clone())
    }
    if let Some(body) = (body as &dyn Any).downcast_ref::<ReplayBody>() {
        return given(body.replay()?);
    }
    copy_as::<Full<Bytes>, B>(body)
        .or_else(|| copy_as::<Empty<Bytes>, B>(body))
        .or_else(|| copy_as::<Bytes, B>(body))
        .or_else(|| copy_as::<(), B>(body))
        .or_else(|| copy_as::<String, B>(body))
        .or_else(|| copy_as::<Vec<u8>, B>(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Streaming;

    #[test]
    fn what_is_in_memory_is_copied_with_all_it_has() {
        let request = http::Request::put("http://a/b")
            .header("x-a", "1")
            .extension(Idempotent)
            .body(Full::new(Bytes::from_static(b"body")))
            .unwrap();
        let copy = request.replay().unwrap();
        assert_eq!(copy.uri(), request.uri());
        assert_eq!(copy.method(), request.method());
        assert_eq!(copy.headers(), request.headers());
        assert!(copy.extensions().get::<Idempotent>().is_some());
    }

    #[test]
    fn a_stream_is_not_copied() {
        assert!(http::Request::new(Streaming).replay().is_none());
    }
}
