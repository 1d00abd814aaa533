//! The verdict on one finished call.

use std::{fmt, time::Duration};

use crate::error::{Error, Fault, Kind};

/// The verdict on one finished call, as a guard counts it.
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
    /// It did its work, but took too long over it.
    Slow,
    /// It did not.
    Failure,
    /// It said that it has too much to do. Counts as a failure.
    Overload {
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// Says nothing about the endpoint: a refusal, a cancelled call, a caller's mistake.
    Ignored,
}

impl Outcome {
    /// Whether this counts against the endpoint.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failure | Self::Overload { .. })
    }
}

/// Judges a finished call: the one rule that each layer is given which needs a verdict.
///
/// Implemented by closures. The default, [`ErrIsFailure`], holds every `Err` for a failure. A
/// refusal of this crate never gets here: it is [`Outcome::Ignored`] always.
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
pub trait Classify<Res, Err> {
    /// The verdict on one call.
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome;

    /// Whether a call that failed asks not to be sent again, as gRPC's pushback can. Asked by what
    /// repeats calls. Default: no.
    fn forbids_repeat(&self, _result: Result<&Res, &Err>) -> bool {
        false
    }
}

impl<F, Res, Err> Classify<Res, Err> for F
where
    F: Fn(Result<&Res, &Err>) -> Outcome,
{
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        self(result)
    }
}

/// Every `Err` is a failure, every answer a success. The default of all layers.
///
/// An error that a plugin answered with ([`Kind::Plugin`]) is an answer: it
/// did its work, and found the call wrong. Else one caller's bad input would open the circuits of
/// all.
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
        Err(error) => match fault(error) {
            Fault::Endpoint => Some(classify.classify(Err(error))),
            Fault::Cancelled => None,
            Fault::Guard | Fault::Caller | Fault::Connection => Some(Outcome::Ignored),
        },
    }
}

/// Whose fault `error` is.
pub(crate) fn fault<E: 'static>(error: &E) -> Fault {
    Error::outline(error).fault()
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
