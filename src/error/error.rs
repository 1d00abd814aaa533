//! The error itself: what it keeps, and what it answers.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use super::{code::Code, kind::Kind, word::Word};
use crate::{
    decision::Decision,
    time::{self, Instant},
};

/// Any error, boxed: what layers of tower that refuse answer with.
///
/// ```
/// use tower_upstream::error::{BoxError, Error, Kind};
/// let boxed: BoxError = "connection reset".into();
/// assert_eq!(Error::from_service(boxed).kind(), Kind::Service);
/// ```
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A call that was refused, or that failed.
///
/// The error is opaque: ask it, do not match it. Whatever the order of the layers, and however
/// many there are, a stack of this crate has this one error type.
///
/// # What to ask
/// * [`kind`](Self::kind) for what happened, [`code`](Self::code) for the stable code of it.
/// * [`is_refused`](Self::is_refused): a guard turned the call away. It was never sent, and says
///   nothing about any endpoint. [`guard`](Self::guard) is the name of the guard, if it has one.
/// * [`is_unsent`](Self::is_unsent): repeating the call is safe, whatever it does.
/// * [`retry_after`](Self::retry_after): when to come back, if that is known.
/// * [`endpoint`](Self::endpoint), [`attempts`](Self::attempts), [`history`](Self::history): the
///   way that the call took.
///
/// An error of the inner service that is not one of this crate is [`Kind::Service`].
/// [`source`](StdError::source) returns the original, and [`downcast`](Self::downcast) takes it out.
///
/// # What it says
/// `Display` writes the code, the guard and the endpoint, what happened, and the cause last:
/// ```text
/// [CIRCUIT_1401] `tax breaker`: endpoint `tax-1`: circuit breaker is open; retry after 20.000s
/// [PLUGIN_1207] endpoint `tax-1`: after 2 attempts: the service failed: connection reset by peer
/// ```
/// Of the text of another crate it shows the first 256 bytes, in one line, without the user name,
/// password, query and fragment of a URL. [`summary`](Self::summary) has no such text at all.
///
/// # Bounds
/// A refusal allocates nothing. An error is two machine words, and cheap to clone.
///
/// # Example
/// ```
/// use tower_upstream::error::{Error, Kind};
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
    /// One word, since `Result`s of this type travel through every layer.
    pub(super) word: Word,
    pub(super) rest: Option<Arc<Rest>>,
}

/// What is rarely needed.
#[derive(Debug, Default, Clone)]
pub(super) struct Rest {
    pub(super) code: Option<Code>,
    pub(super) guard: Option<Arc<str>>,
    pub(super) endpoint: Option<Arc<str>>,
    pub(super) message: Option<Box<str>>,
    /// Why the call was not sent again, where something can be done about that.
    pub(super) note: Option<&'static str>,
    /// In its box, so that it can be taken out again.
    pub(super) source: Option<Arc<BoxError>>,
    pub(super) attempts: u32,
    pub(super) duration: Option<Duration>,
    pub(super) history: Box<[Error]>,
    pub(super) decision: Option<Arc<Decision>>,
}

impl Error {
    /// The longest wait that an error tells; one that is longer is told as this.
    pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(86_400 * 180);

    const fn new(kind: Kind, bits: u64) -> Self {
        Self { word: Word::new(kind, bits), rest: None }
    }

    /// A failure: something was, or may have been, sent.
    pub(crate) const fn failed(kind: Kind) -> Self {
        Self::new(kind, 0)
    }

    /// A failure before anything was sent.
    pub(crate) const fn not_sent(kind: Kind) -> Self {
        Self::new(kind, Word::UNSENT)
    }

    /// A failure of which its type says that nothing was sent. Counts as sent until
    /// [`confirm_unsent`](Self::confirm_unsent).
    #[cfg(any(feature = "http", feature = "grpc"))]
    pub(crate) const fn not_sent_by_type(kind: Kind) -> Self {
        Self::new(kind, Word::UNSENT_BY_TYPE)
    }

    /// A failure before anything was sent that says nothing about an endpoint: a caller's mistake,
    /// or a deadline that had passed already.
    pub(crate) const fn blameless(kind: Kind) -> Self {
        Self::new(kind, Word::UNSENT | Word::BLAMELESS)
    }

    /// A guard of ours said no.
    #[inline]
    pub(crate) const fn refused(kind: Kind) -> Self {
        Self::new(kind, Word::REFUSED)
    }

    /// Returns what happened.
    pub fn kind(&self) -> Kind {
        self.word.kind()
    }

    /// Returns a stable code: that of the [kind](Kind::code), unless the error has a rarer one, such as
    /// the code that a plugin answered with.
    ///
    /// ```
    /// use tower_upstream::error::{Code, Error};
    /// let error = Error::unsent("connection refused");
    /// assert_eq!(error.code(), Code::PLUGIN_1205);
    /// assert_eq!(error.code().as_str(), "PLUGIN_1205");
    /// ```
    pub fn code(&self) -> Code {
        self.rest.as_ref().and_then(|rest| rest.code).unwrap_or(self.kind().code())
    }

    /// Returns whether a guard turned this call away: it was never sent, and is no evidence against
    /// an endpoint. Come back after [`retry_after`](Self::retry_after), or shed the load.
    pub fn is_refused(&self) -> bool {
        self.word.sending() == Word::REFUSED
    }

    /// Returns the name of the guard that refused the call, or failed it: what its layer's `named` was
    /// given.
    pub fn guard(&self) -> Option<&str> {
        self.rest.as_ref()?.guard.as_deref()
    }

    /// Returns whether nothing reached an endpoint, so that repeating the call is safe whatever the
    /// call does.
    pub fn is_unsent(&self) -> bool {
        self.word.has(Word::UNSENT)
    }

    /// Returns whether a deadline passed: of the whole call, of an attempt, or of a connection being
    /// made. If it happens often, raise the timeout or look for the slow endpoint.
    pub fn is_timeout(&self) -> bool {
        self.kind() == Kind::Timeout || self.last().is_some_and(Self::is_timeout)
    }

    /// Returns how long to wait from now on before it is worth trying again: zero once that moment has
    /// passed, `None` if it is not known, and at most 180 days.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_instant().map(|at| at.saturating_duration_since(time::now()))
    }

    pub(crate) fn retry_instant(&self) -> Option<Instant> {
        let now = || time::stamp(time::now());
        self.word.is_timed().then(|| time::at_stamp(self.word.stamp_near(now())))
    }

    /// Returns the key of the endpoint that refused or failed.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint_key().map(|key| &**key)
    }

    pub(crate) fn endpoint_key(&self) -> Option<&Arc<str>> {
        self.rest.as_ref()?.endpoint.as_ref()
    }

    /// Returns how many attempts reached for an endpoint; 0 if none did, or if no layer counted.
    pub fn attempts(&self) -> u32 {
        self.rest.as_ref().map_or(0, |rest| rest.attempts)
    }

    /// Returns how long the call took with all its attempts and waits, if that was measured.
    pub fn duration(&self) -> Option<Duration> {
        self.rest.as_ref()?.duration
    }

    /// Returns the error of each attempt in order, if there were several.
    pub fn history(&self) -> &[Self] {
        self.rest.as_ref().map_or(&[], |rest| &rest.history)
    }

    /// Returns why the call went to the endpoint that failed, or to none, if the balancer
    /// [explains](crate::balance::BalanceConfig::explain) it; of several attempts, that of the last.
    pub fn decision(&self) -> Option<&Decision> {
        self.shared_decision().map(|decision| &**decision)
    }

    pub(crate) fn shared_decision(&self) -> Option<&Arc<Decision>> {
        self.rest.as_ref()?.decision.as_ref()
    }

    /// What happened, without where and why.
    pub(crate) fn what(&self) -> &str {
        let message = self.rest.as_ref().and_then(|rest| rest.message.as_deref());
        message.unwrap_or(self.kind().text())
    }

    /// The error of the inner service, or of the last attempt.
    pub(super) fn cause(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.rest.as_ref().and_then(|rest| rest.source.as_ref()) {
            Some(source) => Some(&****source),
            None => self.last().map(|last| last as _),
        }
    }

    /// The error of the last attempt, if all failed.
    pub(crate) fn last(&self) -> Option<&Self> {
        self.history().last().filter(|_| self.kind() == Kind::RetryExhausted)
    }
}

impl StdError for Error {
    /// The error of the inner service, or of the last attempt. With the feature `grpc`, an error without
    /// either has a `tonic::Status`, so that a refusal does not reach a caller as `UNKNOWN`.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let cause = self.cause();
        #[cfg(feature = "grpc")]
        let cause = cause.or_else(|| Some(self.as_status() as _));
        cause
    }
}

const _: () = assert!(Error::LONGEST_WAIT.as_nanos() < Word::REACH as u128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_two_words_and_so_is_its_result() {
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
        for wait in [Duration::ZERO, Duration::from_nanos(7), Error::LONGEST_WAIT] {
            let error = error.clone().retry_at(time::now() + wait);
            assert_eq!(error.retry_after(), Some(wait));
        }
        let error = error.retry_at(time::now() + Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert_eq!(error.retry_after(), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn an_absurd_wait_is_told_as_the_longest() {
        let error = Error::refused(Kind::RateLimited).retry_in(time::now(), Duration::MAX);
        assert_eq!(error.retry_after(), Some(Error::LONGEST_WAIT));
    }
}
