use std::{fmt, time::Duration};

use crate::{
    error::{Error, Fault, Kind},
    outcome::{Classify, Outcome, TypeName, is_answer},
};

/// How an attempt ended, and what that means for another one.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::retry::Verdict;
/// let verdict = Verdict::OVERLOADED.after(Duration::from_secs(2));
/// assert!(verdict.is_retryable() && !Verdict::FAILED.never().is_retryable());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub(super) ended: Ended,
    pub(super) wish: Wish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    Final,
    Failed,
    Overloaded,
}

/// What the endpoint asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// To be left alone for at least this long.
    After(Duration),
    /// This call again, after just this long.
    Again(Duration),
    /// No more of this call.
    Never,
}

impl Verdict {
    /// As it should.
    pub const WELL: Self = Self::ended(Ended::Well);
    /// In a way in which another attempt would end too, such as a caller's mistake.
    pub const FINAL: Self = Self::ended(Ended::Final);
    /// In a way that another attempt may mend.
    pub const FAILED: Self = Self::ended(Ended::Failed);
    /// The endpoint has too much to do, or took too long. Some budgets charge less for it.
    pub const OVERLOADED: Self = Self::ended(Ended::Overloaded);

    const fn ended(ended: Ended) -> Self {
        Self { ended, wish: Wish::Nothing }
    }

    /// The endpoint asks to be left alone for `wait`, as with `Retry-After`: the wait is at least
    /// the backoff, and at most [`max_retry_after`](super::RetryConfig::max_retry_after) longer.
    #[must_use]
    pub const fn after(self, wait: Duration) -> Self {
        Self { wish: Wish::After(wait), ..self }
    }

    /// The endpoint asks for the same call again after `wait`, as with gRPC's pushback: the wait
    /// is that and no other, within the same bound, and the call is repeated even if it is
    /// [`FINAL`](Self::FINAL).
    #[must_use]
    pub const fn again(self, wait: Duration) -> Self {
        Self { wish: Wish::Again(wait), ..self }
    }

    /// The endpoint asks for no further attempt.
    #[must_use]
    pub const fn never(self) -> Self {
        Self { wish: Wish::Never, ..self }
    }

    /// Whether another attempt may be made.
    pub const fn is_retryable(self) -> bool {
        match self.wish {
            Wish::Never => false,
            Wish::Again(_) => !matches!(self.ended, Ended::Well),
            _ => matches!(self.ended, Ended::Failed | Ended::Overloaded),
        }
    }

    /// Whether it counts against a budget that counts failures.
    pub(super) fn is_failure(self) -> bool {
        let failed = matches!(self.ended, Ended::Failed | Ended::Overloaded);
        failed || self.wish == Wish::Never
    }
}

/// Judges how attempts ended. Implemented by closures.
///
/// Refusals of this crate never get here: they are final.
///
/// ```
/// use tower_upstream::retry::{Judge, Verdict};
/// let rule = |result: Result<&u16, &std::io::Error>| match result {
///     Ok(503) => Verdict::OVERLOADED,
///     Ok(_) => Verdict::WELL,
///     Err(_) => Verdict::FAILED,
/// };
/// assert_eq!(rule.judge(Ok(&503)), Verdict::OVERLOADED);
/// ```
pub trait Judge<Res, Err> {
    /// The verdict on one attempt.
    fn judge(&self, result: Result<&Res, &Err>) -> Verdict;
}

impl<F, Res, Err> Judge<Res, Err> for F
where
    F: Fn(Result<&Res, &Err>) -> Verdict,
{
    #[inline]
    fn judge(&self, result: Result<&Res, &Err>) -> Verdict {
        self(result)
    }
}

/// By the kind of our errors; every error of others is a failure. The default.
///
/// What a plugin answered, a config or request that cannot work, and what was retried below, are
/// final.
///
/// ```
/// use tower_upstream::retry::{ByKind, Judge, Verdict};
/// assert_eq!(ByKind.judge(Err::<&(), _>(&"broken")), Verdict::FAILED);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct ByKind;

impl<Res, Err: 'static> Judge<Res, Err> for ByKind {
    #[inline]
    fn judge(&self, result: Result<&Res, &Err>) -> Verdict {
        match result {
            Ok(_) => Verdict::WELL,
            Err(error) => of_error(error),
        }
    }
}

pub(super) fn of_error<E: 'static>(error: &E) -> Verdict {
    let outline = Error::outline(error);
    let verdict = match outline.kind() {
        Kind::Plugin | Kind::RetryExhausted => return Verdict::FINAL,
        _ if matches!(outline.fault(), Fault::Caller | Fault::Cancelled) => return Verdict::FINAL,
        Kind::RateLimited
        | Kind::Overloaded
        | Kind::CircuitOpen
        | Kind::Unhealthy
        | Kind::Timeout => Verdict::OVERLOADED,
        Kind::NoEndpoints
        | Kind::AllEndpointsDown
        | Kind::Connection
        | Kind::Transport
        | Kind::Service => Verdict::FAILED,
        Kind::InvalidConfig | Kind::InvalidRequest | Kind::Unavailable => return Verdict::FINAL,
    };
    asked(verdict, Error::find(error).and_then(Error::retry_after))
}

fn asked(verdict: Verdict, retry_after: Option<Duration>) -> Verdict {
    match retry_after {
        Some(wait) => verdict.after(wait),
        None => verdict,
    }
}

/// By a rule that judges calls: what it holds for a failure or an overload is tried again, unless
/// that was done below, or it [says no](Classify::forbids_repeat).
///
/// ```
/// use tower_upstream::{outcome::ErrIsFailure, retry::{ByOutcome, Judge, Verdict}};
/// let rule = ByOutcome::new(ErrIsFailure);
/// assert_eq!(rule.judge(Ok::<_, &()>(&7)), Verdict::WELL);
/// ```
#[derive(Clone, Copy)]
pub struct ByOutcome<C>(C);

impl<C> ByOutcome<C> {
    /// Makes a rule of `classify`.
    pub const fn new(classify: C) -> Self {
        Self(classify)
    }
}

impl<C, Res, Err> Judge<Res, Err> for ByOutcome<C>
where
    C: Classify<Res, Err>,
    Err: 'static,
{
    fn judge(&self, result: Result<&Res, &Err>) -> Verdict {
        let outcome = match result {
            // An error that is an answer would be the same again.
            Err(error) if is_answer(error) => return Verdict::FINAL,
            Err(error) if is_final(&Error::outline(error)) => return Verdict::FINAL,
            result => self.0.classify(result),
        };
        let verdict = match outcome {
            Outcome::Failure => {
                let error = result.err().and_then(Error::find);
                asked(Verdict::FAILED, error.and_then(Error::retry_after))
            }
            Outcome::Overload { retry_after } => asked(Verdict::OVERLOADED, retry_after),
            Outcome::Success | Outcome::Slow | Outcome::Ignored => match result {
                Ok(_) => return Verdict::WELL,
                Err(_) => return Verdict::FINAL,
            },
        };
        if self.0.forbids_repeat(result) { verdict.never() } else { verdict }
    }
}

/// Whether an error of ours is not for a rule to judge: it would be the same again, or was tried
/// again already.
fn is_final(error: &Error) -> bool {
    !matches!(error.fault(), Fault::Endpoint | Fault::Connection)
        || error.kind() == Kind::RetryExhausted
}

impl<C> fmt::Debug for ByOutcome<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByOutcome").field(&TypeName::<C>::new()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::BoxError, outcome::ErrIsFailure, time};

    fn of(error: Error) -> [Verdict; 2] {
        let boxed: BoxError = error.clone().into();
        let by_kind = ByKind.judge(Err::<&(), _>(&error));
        assert_eq!(ByKind.judge(Err::<&(), _>(&boxed)), by_kind);
        [by_kind, ByOutcome::new(ErrIsFailure).judge(Err::<&(), _>(&error))]
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_say_whether_it_is_of_use() {
        for kind in [Kind::Connection, Kind::Transport, Kind::Service] {
            assert_eq!(of(Error::failed(kind)), [Verdict::FAILED; 2], "{kind}");
        }
        for kind in [Kind::Plugin, Kind::InvalidConfig, Kind::Unavailable, Kind::RetryExhausted] {
            assert_eq!(of(Error::failed(kind)), [Verdict::FINAL; 2], "{kind}");
        }
        assert_eq!(of(Error::failed(Kind::Timeout))[0], Verdict::OVERLOADED);
        let wait = Duration::from_secs(3);
        let limited = of(Error::failed(Kind::RateLimited).retry_in(time::now(), wait));
        assert_eq!(limited, [Verdict::OVERLOADED.after(wait), Verdict::FAILED.after(wait)]);
    }

    #[test]
    fn a_rule_of_outcomes_says_which_answers_are_tried_again() {
        let wait = Duration::from_secs(3);
        let rule = ByOutcome::new(move |result: Result<&u16, &()>| match result {
            Ok(500) => Outcome::Failure,
            Ok(503) => Outcome::Overload { retry_after: Some(wait) },
            Ok(_) => Outcome::Slow,
            Err(()) => Outcome::Ignored,
        });
        assert_eq!(rule.judge(Ok(&500)), Verdict::FAILED);
        assert_eq!(rule.judge(Ok(&503)), Verdict::OVERLOADED.after(wait));
        assert_eq!(rule.judge(Ok(&200)), Verdict::WELL);
        assert_eq!(rule.judge(Err(&())), Verdict::FINAL);
    }
}
