//! What failing over and waiting may ask of a request.

use std::fmt;

use crate::{outcome::TypeName, time::Instant};

/// What a layer may ask of a request that it might send again, or let wait.
///
/// Implemented for [`Call`](crate::Call) and, with the feature `http`, for `http::Request` with
/// any body. Implement it for a request of yours, or give
/// [`FailoverLayer::with_replay`](crate::failover::FailoverLayer::with_replay) a closure.
///
/// # Example
/// ```
/// use tower_upstream::Replay;
///
/// #[derive(Clone)]
/// enum Query { Read(u64), Write(u64, String) }
///
/// impl Replay for Query {
///     fn replay(&self) -> Option<Self> {
///         Some(self.clone())
///     }
///     fn is_idempotent(&self) -> bool {
///         matches!(self, Query::Read(_))
///     }
/// }
/// # assert!(!Query::Write(1, String::new()).is_idempotent() && Query::Read(1).is_idempotent());
/// ```
pub trait Replay: Sized {
    /// A copy to send if this one fails; `None` if it cannot be copied, such as a streaming body.
    /// Then there is one attempt.
    fn replay(&self) -> Option<Self>;

    /// Whether sending it twice does no more than sending it once.
    ///
    /// If not, it is sent again only where nothing can have reached an endpoint.
    fn is_idempotent(&self) -> bool;

    /// When the answer is of no use any more.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Notes which attempt this copy is for, from 1.
    fn begin_attempt(&mut self, _number: u32) {}
}

/// How a layer gets a copy of a request: [`ByReplay`], or a closure in [`ReplayFn`].
///
/// ```
/// use tower_upstream::replay::{ByReplay, ReplayPolicy};
/// use tower_upstream::Call;
/// assert!(ByReplay.replay(&Call::new(7)).is_some());
/// ```
pub trait ReplayPolicy<Req> {
    /// See [`Replay::replay`].
    fn replay(&self, request: &Req) -> Option<Req>;
    /// See [`Replay::is_idempotent`].
    fn is_idempotent(&self, request: &Req) -> bool;
    /// See [`Replay::deadline`].
    fn deadline(&self, request: &Req) -> Option<Instant>;
    /// See [`Replay::begin_attempt`].
    fn begin_attempt(&self, request: &mut Req, number: u32);
}

/// Asks the request itself, which implements [`Replay`]. The default.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByReplay;

impl<Req: Replay> ReplayPolicy<Req> for ByReplay {
    fn replay(&self, request: &Req) -> Option<Req> {
        request.replay()
    }

    fn is_idempotent(&self, request: &Req) -> bool {
        request.is_idempotent()
    }

    fn deadline(&self, request: &Req) -> Option<Instant> {
        request.deadline()
    }

    fn begin_attempt(&self, request: &mut Req, number: u32) {
        request.begin_attempt(number);
    }
}

/// Asks a closure, which copies what may be sent twice and answers `None` to the rest.
///
/// ```
/// use tower_upstream::replay::{ReplayFn, ReplayPolicy};
/// let copy = ReplayFn::new(|request: &String| Some(request.clone()));
/// assert!(copy.is_idempotent(&String::new()));
/// ```
#[derive(Clone, Copy)]
pub struct ReplayFn<F>(F);

impl<F> ReplayFn<F> {
    /// Makes a policy of `copy`.
    pub const fn new(copy: F) -> Self {
        Self(copy)
    }
}

impl<F, Req> ReplayPolicy<Req> for ReplayFn<F>
where
    F: Fn(&Req) -> Option<Req>,
{
    fn replay(&self, request: &Req) -> Option<Req> {
        (self.0)(request)
    }

    /// It is, where there is a copy: that is what the closure said.
    fn is_idempotent(&self, _: &Req) -> bool {
        true
    }

    fn deadline(&self, _: &Req) -> Option<Instant> {
        None
    }

    fn begin_attempt(&self, _: &mut Req, _: u32) {}
}

impl<F> fmt::Debug for ReplayFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReplayFn").field(&TypeName::<F>::new()).finish()
    }
}

#[cfg(feature = "http")]
pub use self::http::{Attempt, Deadline, Idempotent};

#[cfg(feature = "http")]
mod http {
    use std::any::Any;

    use bytes::Bytes;
    use http_body_util::{Empty, Full};

    use super::*;

    /// An extension of an `http::Request` whose method does not say that it is idempotent.
    ///
    /// ```
    /// use tower_upstream::{Replay, replay::Idempotent};
    /// let mut request = http::Request::post("/").body(()).unwrap();
    /// assert!(!request.is_idempotent());
    /// request.extensions_mut().insert(Idempotent);
    /// assert!(request.is_idempotent());
    /// ```
    #[derive(Debug, Clone, Copy)]
    pub struct Idempotent;

    /// An extension of an `http::Request`: when the answer is of no use any more.
    ///
    /// ```
    /// use tower_upstream::replay::Deadline;
    /// let at = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
    /// let request = http::Request::get("/").extension(Deadline(at)).body(()).unwrap();
    /// # let _ = request;
    /// ```
    #[derive(Debug, Clone, Copy)]
    pub struct Deadline(pub Instant);

    /// An extension that a repeated `http::Request` carries: which attempt it is, from 2.
    ///
    /// ```
    /// use tower_upstream::{Replay, replay::Attempt};
    /// let mut request = http::Request::get("/").body(()).unwrap();
    /// request.begin_attempt(2);
    /// assert_eq!(request.extensions().get::<Attempt>().map(|a| a.0), Some(2));
    /// ```
    #[derive(Debug, Clone, Copy)]
    pub struct Attempt(pub u32);

    /// Copies requests whose body is held in memory: `Full<Bytes>`, `Empty<Bytes>`, `Bytes`,
    /// `String`, `Vec<u8>`, `()`. A method is idempotent by RFC 9110 §9.2.2, or by the extension
    /// [`Idempotent`]; the deadline is the extension [`Deadline`].
    impl<B: 'static> Replay for ::http::Request<B> {
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

        fn deadline(&self) -> Option<Instant> {
            self.extensions().get::<Deadline>().map(|deadline| deadline.0)
        }

        fn begin_attempt(&mut self, number: u32) {
            if number > 1 {
                self.extensions_mut().insert(Attempt(number));
            }
        }
    }

    /// A copy of a body of one of the types that can be copied for next to nothing.
    fn copy_body<B: 'static>(body: &B) -> Option<B> {
        fn copy_as<T: Clone + 'static, B: 'static>(body: &dyn Any) -> Option<B> {
            let mut copy = Some(body.downcast_ref::<T>()?.clone());
            (&mut copy as &mut dyn Any).downcast_mut::<Option<B>>()?.take()
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
            let request = ::http::Request::put("http://a/b")
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
            assert!(::http::Request::new(Streaming).replay().is_none());
        }
    }
}
