//! One error for everything that this crate refuses or fails at.

#[cfg(feature = "http")]
mod http;

#[cfg(feature = "http")]
pub(crate) use self::foreign::{causes, root};

mod display;
mod fault;
mod foreign;
mod kind;
mod notes;
mod word;

use std::{any::Any, error::Error as StdError, num::NonZeroU64, sync::Arc, time::Duration};

pub(crate) use self::fault::Fault;
pub use self::kind::Kind;

use self::word::Word;
use crate::time;

/// Any error, boxed: what tower's layers that refuse answer with.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A call that was refused, or that failed.
///
/// The error is opaque: ask it, do not match it. Whatever the order of the layers, and however
/// many there are, a stack of this crate has this one error type.
///
/// # What to ask
/// * [`kind`](Self::kind) for what happened, [`code`](Self::code) for the stable code of it.
/// * [`is_refused`](Self::is_refused): a guard said no. The call was never sent, and says nothing
///   about any endpoint.
/// * [`is_unsent`](Self::is_unsent): repeating the call is safe, whatever it does.
/// * [`retry_after`](Self::retry_after): when to come back, where that is known.
/// * [`endpoint`](Self::endpoint), [`attempts`](Self::attempts), [`history`](Self::history): the
///   way it took.
///
/// An error of the inner service that is not one of ours is [`Kind::Service`]; the original is
/// what [`source`](StdError::source) returns, and can be downcast.
///
/// A refusal allocates nothing. Two machine words, cheap to clone.
///
/// # Example
/// ```
/// use tower_upstream::{Error, error::Kind};
///
/// fn status(error: &Error) -> u16 {
///     match error.kind() {
///         Kind::RateLimited => 429,
///         _ if error.is_refused() => 503,
///         Kind::Timeout => 504,
///         _ => 502,
///     }
/// }
/// # let error = "http://".parse::<tower_upstream::Endpoint>().unwrap_err();
/// # assert_eq!(status(&error), 502);
/// ```
#[derive(Clone)]
pub struct Error {
    /// Eight bits of kind and flags, and 56 of the moment to come back (see [`Word`]). One word,
    /// since `Result`s of this type travel through every layer.
    word: NonZeroU64,
    rest: Option<Arc<Rest>>,
}

/// What is rarely needed.
#[derive(Debug, Default, Clone)]
struct Rest {
    endpoint: Option<Arc<str>>,
    message: Option<Box<str>>,
    /// Why the call was not sent again, where something can be done about that.
    note: Option<&'static str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    attempts: u32,
    duration: Option<Duration>,
    history: Box<[Error]>,
}

impl Error {
    /// Takes over the error of an inner service: one of ours as it is, also out of a [`BoxError`]; any
    /// other with the original as its source.
    ///
    /// | error | becomes |
    /// |---|---|
    /// | `tower::load_shed::error::Overloaded` (feature `tower`) | a refusal, [`Kind::Overloaded`] |
    /// | `tower::timeout::error::Elapsed` (feature `tower`) | [`Kind::Timeout`] |
    /// | of hyper-util's client or of hyper (feature `http`): no connection was made | [`Kind::Connection`]; unsent if it is the client of an endpoint, see [`connect_fn`](crate::connect_fn) |
    /// | ... the request body failed, or is too long for `http_body_util::Limited` | [`Kind::InvalidRequest`], no evidence against the endpoint |
    /// | ... the client was misused, such as by a request without a host | [`Kind::InvalidConfig`], unsent |
    /// | ... the connection's task is gone, with its runtime | [`Kind::Connection`], no evidence against the endpoint |
    /// | of tonic's channel (feature `grpc`): no connection was made | [`Kind::Connection`]; unsent likewise |
    /// | any other | [`Kind::Service`] |
    ///
    /// Only the error itself is looked at, boxed or not, never its sources. So one that another client
    /// wraps, as reqwest does, is [`Kind::Service`]; see
    /// [`ConnectFn::unsent_if`](crate::connect::ConnectFn::unsent_if).
    ///
    /// ```
    /// use tower_upstream::{BoxError, Error, error::Kind};
    /// let boxed: BoxError = "connection reset".into();
    /// assert_eq!(Error::from_service(boxed).kind(), Kind::Service);
    /// ```
    #[inline]
    pub fn from_service<E: Into<BoxError> + 'static>(error: E) -> Self {
        // Looked at before it is boxed: a refusal that passes through a layer costs no allocation.
        let mut error = Some(error);
        if let Some(ours) = (&mut error as &mut dyn Any).downcast_mut::<Option<Self>>() {
            if let Some(ours) = ours.take() {
                return ours;
            }
        }
        match error {
            Some(error) => Self::from_box(error.into()),
            None => Self::failed(Kind::Service),
        }
    }

    fn from_box(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => *ours,
            Err(error) => foreign::adopt(error),
        }
    }

    /// What `error` is, without what it tells: the kind and the fault of one of ours, or of an error
    /// of another crate that is known here. Allocates nothing.
    pub(crate) fn outline<E: 'static>(error: &E) -> Self {
        let error = error as &dyn Any;
        let boxed = error.downcast_ref::<BoxError>();
        let ours = error.downcast_ref::<Self>();
        if let Some(ours) = ours.or_else(|| boxed.and_then(|error| error.downcast_ref::<Self>())) {
            return Self { word: ours.word, rest: None };
        }
        let known = match boxed {
            Some(error) => foreign::recognise(&**error),
            None => foreign::recognise_any(error),
        };
        known.unwrap_or(Self::failed(Kind::Service))
    }

    /// The error of ours in `error`, which may be one, or a [`BoxError`] with one inside.
    pub(crate) fn find<E: 'static>(error: &E) -> Option<&Self> {
        let error = error as &dyn Any;
        error
            .downcast_ref::<Self>()
            .or_else(|| error.downcast_ref::<BoxError>().and_then(|e| e.downcast_ref::<Self>()))
    }

    /// The same, to be changed.
    #[cfg(feature = "tower")]
    pub(crate) fn find_mut<E: 'static>(error: &mut E) -> Option<&mut Self> {
        let error = error as &mut dyn Any;
        if error.is::<Self>() {
            return error.downcast_mut();
        }
        error.downcast_mut::<BoxError>().and_then(|error| error.downcast_mut())
    }

    /// What happened.
    pub fn kind(&self) -> Kind {
        let index = (self.word.get() & Word::KIND) as usize;
        Kind::ALL.get(index.wrapping_sub(1)).copied().unwrap_or(Kind::Service)
    }

    /// A stable code, such as `CIRCUIT_1401`: those of the Go plugin manager that this crate
    /// replaces, so that dashboards and alerts stay. Two it does not know: `RATELIMIT_1502`, of a limit
    /// of calls at once, and `PLUGIN_1208`, of a request that cannot be sent.
    pub fn code(&self) -> &'static str {
        self.kind().code()
    }

    /// A guard turned this call away: it was never sent, and is no evidence against an endpoint.
    /// Come back after [`retry_after`](Self::retry_after), or shed the load.
    pub fn is_refused(&self) -> bool {
        self.sending() == Word::REFUSED
    }

    /// Nothing reached an endpoint, so repeating the call is safe whatever the call does.
    pub fn is_unsent(&self) -> bool {
        self.word.get() & Word::UNSENT != 0
    }

    /// A deadline passed: of the whole call, of an attempt, or of a connection being made.
    /// If it happens often, raise the timeout or look for the slow endpoint.
    pub fn is_timeout(&self) -> bool {
        self.kind() == Kind::Timeout
            || (self.kind() == Kind::RetryExhausted
                && self.history().last().is_some_and(Self::is_timeout))
    }

    /// How long to wait before it is worth trying again, from now on; zero once that moment has
    /// passed, `None` where it is not known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_instant().map(|at| at.saturating_duration_since(time::now()))
    }

    /// The key of the endpoint that refused or failed.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint_key().map(|key| &**key)
    }

    pub(crate) fn endpoint_key(&self) -> Option<&Arc<str>> {
        self.rest.as_ref()?.endpoint.as_ref()
    }

    /// How many attempts reached for an endpoint; 0 where none did, or where nobody counted.
    pub fn attempts(&self) -> u32 {
        self.rest.as_ref().map_or(0, |rest| rest.attempts)
    }

    /// How long the call took with all its attempts and waits, where that was measured.
    pub fn duration(&self) -> Option<Duration> {
        self.rest.as_ref()?.duration
    }

    /// The error of each attempt in order, where there were several.
    pub fn history(&self) -> &[Self] {
        self.rest.as_ref().map_or(&[], |rest| &rest.history)
    }

    /// What happened, to tell strangers: without endpoint and source. Of messages only that of a
    /// plugin, which is meant for its callers.
    #[cfg(feature = "http")]
    pub(crate) fn summary(&self) -> String {
        let message = self.rest.as_ref().and_then(|rest| rest.message.as_deref());
        let text = match (self.kind(), message) {
            (Kind::Plugin, Some(message)) => message,
            (kind, _) => kind.text(),
        };
        format!("[{}] {text}", self.code())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source: &(dyn StdError + 'static) = &**self.rest.as_ref()?.source.as_ref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_word() {
        for kind in Kind::ALL {
            for error in [Error::failed(kind), Error::not_sent(kind), Error::refused(kind)] {
                assert_eq!(error.kind(), kind);
                let timed = error.clone().retry_at(time::now() + Duration::from_secs(5));
                assert_eq!((timed.kind(), timed.is_refused()), (kind, error.is_refused()));
                assert_eq!(timed.is_unsent(), error.is_unsent());
            }
        }
        assert_eq!(size_of::<Error>(), 16);
        assert_eq!(size_of::<Result<u64, Error>>(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn the_moment_is_kept_not_the_wait() {
        let error = Error::refused(Kind::RateLimited)
            .retry_at(time::now() + Duration::from_nanos(1_500_000_001));
        assert_eq!(error.retry_after(), Some(Duration::from_nanos(1_500_000_001)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(error.retry_after(), Some(Duration::from_nanos(500_000_001)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(error.retry_after(), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_may_run_for_years() {
        tokio::time::advance(Duration::from_secs(86_400 * 3_000)).await;
        let error = Error::refused(Kind::CircuitOpen);
        for wait in [Duration::ZERO, Duration::from_nanos(7), Duration::from_secs(86_400 * 365)] {
            let error = error.clone().retry_at(time::now() + wait);
            assert_eq!(error.retry_after(), Some(wait));
        }
        let error = error.retry_at(time::now() + Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert_eq!(error.retry_after(), Some(Duration::ZERO));
    }

    #[test]
    fn ours_pass_through_and_others_are_wrapped() {
        let ours = Error::refused(Kind::CircuitOpen);
        assert!(Error::from_service(ours.clone()).is_refused());
        assert!(Error::from_service(BoxError::from(ours)).is_refused());
        let other = Error::from_service(std::io::Error::other("reset"));
        assert_eq!(other.kind(), Kind::Service);
        let source = other.source().and_then(|source| source.downcast_ref::<std::io::Error>());
        assert!(source.is_some());
    }
}
