use std::{fmt, sync::Arc, time::Duration};

use crate::{
    decision::Decision,
    error::{Error, Fault, Kind},
};

/// Verdict on one finished call, as a guard counts it.
///
/// ```
/// use tower_upstream::Outcome;
/// assert!(Outcome::Overload { retry_after: None }.is_failure());
/// assert!(!Outcome::Ignored.is_failure());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The endpoint did its work.
    Success,
    /// The endpoint did its work, but took too long.
    Slow,
    /// The endpoint failed to do its work.
    Failure,
    /// The endpoint said that it has too much to do. Counts as a failure.
    Overload {
        /// Time for which the endpoint asks not to be called.
        retry_after: Option<Duration>,
    },
    /// Nothing is known about the endpoint: a refusal, a cancelled call, or a mistake of the caller.
    Ignored,
}

impl Outcome {
    /// Returns whether this outcome counts against the endpoint.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failure | Self::Overload { .. })
    }
}

/// What the answer or error of a call says about sending the call again.
///
/// A layer that repeats calls asks for it beside the [`Outcome`], and adds what it knows itself: which
/// requests may be sent twice, how many attempts there may be, and what its budget pays for.
///
/// ```
/// use tower_upstream::{Classify, outcome::{ErrIsFailure, Repeat}};
/// assert_eq!(ErrIsFailure.repeat(Err::<&(), _>(&"broken")), Repeat::Yes);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Repeat {
    /// A failed call may be sent again after a backoff.
    Yes,
    /// The call is not to be sent again, and is no success that a retry budget rewards.
    No,
    /// The endpoint asks for the same call again after exactly this time, even if the call did not
    /// fail. gRPC's pushback.
    After(Duration),
}

/// Judges a finished call: the one rule that balancers, breakers, failover and retries count by.
///
/// Implemented by closures. The default of all layers is [`ErrIsFailure`]; for HTTP responses there is
/// `http::HttpClassify` (feature `http`). Give the same rule to every layer of a stack.
///
/// Errors that are no evidence against an endpoint do not get here, whatever the rule: refusals of
/// this crate, mistakes of the caller, calls cut short by their deadline, and connections that had
/// been idle and were dead.
///
/// # Example
/// ```
/// use tower_upstream::{Classify, Outcome};
///
/// let by_status = |result: Result<&u16, &std::io::Error>| match result {
///     Ok(500..) | Err(_) => Outcome::Failure,
///     Ok(_) => Outcome::Success,
/// };
/// assert_eq!(by_status.classify(Ok(&503)), Outcome::Failure);
/// ```
///
/// A rule that also says what is worth repeating:
/// ```
/// use tower_upstream::{Classify, Outcome, outcome::Repeat};
///
/// struct ByStatus;
///
/// impl Classify<u16, std::io::Error> for ByStatus {
///     fn classify(&self, result: Result<&u16, &std::io::Error>) -> Outcome {
///         match result {
///             Ok(500..) | Err(_) => Outcome::Failure,
///             Ok(_) => Outcome::Success,
///         }
///     }
///
///     fn repeat(&self, result: Result<&u16, &std::io::Error>) -> Repeat {
///         // "Not implemented" would be the same again.
///         if let Ok(501) = result { Repeat::No } else { Repeat::Yes }
///     }
/// }
/// ```
pub trait Classify<Res, Err> {
    /// Returns the verdict on one call.
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome;

    /// Returns what the endpoint says about sending the call again. Default: [`Repeat::Yes`].
    ///
    /// Called by layers that repeat calls, once for each attempt.
    fn repeat(&self, _result: Result<&Res, &Err>) -> Repeat {
        Repeat::Yes
    }

    /// Adds to an answer why it comes from its endpoint. Only [`Explained`](super::Explained) knows how.
    #[doc(hidden)]
    fn explain(&self, _answer: &mut Res, _decision: Arc<Decision>) {}
}

impl<F, Res, Err> Classify<Res, Err> for F
where
    F: Fn(Result<&Res, &Err>) -> Outcome,
{
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        self(result)
    }
}

/// Treats every `Err` as a failure and every answer as a success. The default of all layers.
///
/// An error that a plugin answered with ([`Kind::Plugin`]) is an answer: the
/// plugin did its work, and found the call wrong. Otherwise one caller's bad input would open the
/// circuits of all callers.
///
/// ```
/// use tower_upstream::{Classify, Outcome, outcome::ErrIsFailure};
/// assert_eq!(ErrIsFailure.classify(Ok::<_, &()>(&503)), Outcome::Success);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct ErrIsFailure;

impl<Res, Err: 'static> Classify<Res, Err> for ErrIsFailure {
    #[inline]
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(error) if is_answer(error) => Outcome::Success,
            Err(_) => Outcome::Failure,
        }
    }
}

/// Makes a rule from a closure that judges answers. Errors are judged as [`ErrIsFailure`] does, whatever their
/// type is, so the rule fits every layer of a [stack](crate::stack).
///
/// ```
/// use tower_upstream::{Classify, Outcome, outcome::by_answer};
/// let rule = by_answer(|status: &u16| match status {
///     500.. => Outcome::Failure,
///     _ => Outcome::Success,
/// });
/// assert_eq!(rule.classify(Ok::<_, &std::io::Error>(&503)), Outcome::Failure);
/// assert_eq!(rule.classify(Err::<&u16, _>(&"broken")), Outcome::Failure);
/// ```
pub const fn by_answer<F, Res>(judge: F) -> ByAnswer<F>
where
    F: Fn(&Res) -> Outcome,
{
    ByAnswer { judge }
}

/// Rule that judges answers by a closure. Made by [`by_answer`].
///
/// ```
/// use tower_upstream::{Outcome, outcome::{ByAnswer, by_answer}};
/// fn is_small(n: &u32) -> Outcome {
///     if *n < 10 { Outcome::Success } else { Outcome::Failure }
/// }
/// let rule: ByAnswer<fn(&u32) -> Outcome> = by_answer(is_small as fn(&u32) -> Outcome);
/// # let _ = rule;
/// ```
#[derive(Clone, Copy)]
pub struct ByAnswer<F> {
    judge: F,
}

impl<F, Res, Err> Classify<Res, Err> for ByAnswer<F>
where
    F: Fn(&Res) -> Outcome,
    Err: 'static,
{
    #[inline]
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        match result {
            Ok(answer) => (self.judge)(answer),
            Err(error) => ErrIsFailure.classify(Err::<&Res, _>(error)),
        }
    }
}

impl<F> fmt::Debug for ByAnswer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByAnswer").field(&TypeName::<F>::new()).finish()
    }
}

/// Judges by the rule, except for what is no evidence whatever the rule says: our refusals, what the
/// caller did, and what a connection did that had been idle. `None` is a call that was cut short by its
/// own deadline: it counts as one that was dropped.
#[inline]
pub(crate) fn judge<C, Res, Err>(classify: &C, result: &Result<Res, Err>) -> Option<Outcome>
where
    C: Classify<Res, Err>,
    Err: 'static,
{
    match result {
        Ok(response) => Some(classify.classify(Ok(response))),
        Err(error) => judge_error(classify, error),
    }
}

/// [`judge`] of an error.
pub(crate) fn judge_error<C, Res, Err>(classify: &C, error: &Err) -> Option<Outcome>
where
    C: Classify<Res, Err>,
    Err: 'static,
{
    match fault(error) {
        Fault::Endpoint => Some(classify.classify(Err(error))),
        Fault::Cancelled => None,
        Fault::Guard | Fault::Caller | Fault::Connection => Some(Outcome::Ignored),
    }
}

/// Whose fault `error` is.
pub(crate) fn fault<E: 'static>(error: &E) -> Fault {
    // Of ours by all that it knows.
    Error::find(error).map_or_else(|| Error::outline(error).fault(), Error::fault)
}

/// Whether `error` is what a plugin answered.
pub(crate) fn is_answer<E: 'static>(error: &E) -> bool {
    Error::outline(error).kind() == Kind::Plugin
}

/// Whether `error` is a refusal of ours.
pub(crate) fn is_refusal<E: 'static>(error: &E) -> bool {
    fault(error) == Fault::Guard
}

/// Prints the type of a rule, since a closure has no other name.
pub(crate) struct TypeName<T>(pub(crate) std::marker::PhantomData<fn() -> T>);

impl<T> TypeName<T> {
    pub(crate) const fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T> fmt::Debug for TypeName<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<T>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::BoxError;

    #[test]
    fn a_refusal_is_ignored_whatever_the_rule_says() {
        let all_bad = |_: Result<&(), &BoxError>| Outcome::Failure;
        let refusal: Result<(), BoxError> = Err(Error::refused(Kind::RateLimited).into());
        let failure: Result<(), BoxError> = Err("broken".into());
        assert_eq!(judge(&all_bad, &refusal), Some(Outcome::Ignored));
        assert_eq!(judge(&all_bad, &failure), Some(Outcome::Failure));
        let mistake: Result<(), BoxError> = Err(Error::blameless(Kind::Timeout).into());
        assert_eq!(judge(&all_bad, &mistake), Some(Outcome::Ignored));
        let cut_short: Result<(), Error> = Err(Error::failed(Kind::Timeout).without_blame());
        assert_eq!(judge(&ErrIsFailure, &cut_short), None);
    }

    #[test]
    fn what_a_plugin_answered_is_an_answer() {
        let wrong: Result<(), Error> = Err(Error::failed(Kind::Plugin));
        assert_eq!(judge(&ErrIsFailure, &wrong), Some(Outcome::Success));
        let broken: Result<(), Error> = Err(Error::failed(Kind::Connection));
        assert_eq!(judge(&ErrIsFailure, &broken), Some(Outcome::Failure));
    }
}
