//! How an attempt ended, as the rule sees it.

use std::time::Duration;

use crate::{
    budget::Cause,
    error::{Error, Fault, Kind},
    outcome::{Classify, Outcome, Repeat},
};

/// How one attempt ended, if not simply well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptEnd {
    /// The kind of its error; `None` if it was an answer.
    pub(super) kind: Option<Kind>,
    /// The endpoint failed: another attempt may mend it.
    pub(super) failed: bool,
    /// Budgets count that: it was no haste of the caller.
    pub(super) counts: bool,
    /// There was too much to do, or it took too long.
    pub(super) overloaded: bool,
    /// A guard said no.
    pub(super) refused: bool,
    /// Nothing reached an endpoint.
    pub(super) unsent: bool,
    /// The connection had been idle, and was dead: says nothing against the endpoint, and is mended
    /// by another attempt.
    pub(super) stale: bool,
    /// A layer below has made several attempts already.
    pub(super) exhausted: bool,
    /// The call was made, and so puts its share into a budget: neither refused nor spoiled by its
    /// caller.
    pub(super) made: bool,
    pub(super) repeat: Repeat,
    /// The time for which the endpoint asks not to be called.
    pub(super) retry_after: Option<Duration>,
}

impl AttemptEnd {
    /// What an answer means; `None` if it is good.
    #[inline]
    pub(crate) fn of_answer<C, Res, Err>(classify: &C, answer: &Res) -> Option<Self>
    where
        C: Classify<Res, Err>,
    {
        let outcome = classify.classify(Ok(answer));
        let repeat = classify.repeat(Ok(answer));
        let good = !outcome.is_failure() && repeat == Repeat::Yes;
        if good { None } else { Some(Self::of_outcome(outcome, repeat)) }
    }

    /// What an error means. Whose fault it is comes first: only what an endpoint did is for the rule
    /// to judge, and not what a plugin answered.
    #[cold]
    pub(crate) fn of_error<C, Res, Err>(classify: &C, error: &Err) -> Self
    where
        C: Classify<Res, Err>,
        Err: 'static,
    {
        let outline = Error::outline(error);
        let (kind, fault) = (outline.kind(), outline.fault());
        let ended = if fault == Fault::Endpoint && kind != Kind::Plugin {
            Self::of_outcome(classify.classify(Err(error)), classify.repeat(Err(error)))
        } else {
            Self::of_outcome(Outcome::Ignored, Repeat::Yes)
        };
        let is_timeout = Error::find(error).map_or(outline.is_timeout(), Error::is_timeout);
        let unsent = outline.is_unsent();
        Self {
            kind: Some(kind),
            overloaded: ended.overloaded || is_timeout || is_overload(kind),
            refused: outline.is_refused(),
            unsent,
            stale: fault == Fault::Connection,
            exhausted: kind == Kind::RetryExhausted,
            made: fault == Fault::Endpoint && (ended.failed || !unsent),
            retry_after: ended.retry_after.or_else(|| outline.retry_after()),
            ..ended
        }
    }

    /// The attempt took too long, as `error` says. Another one is of no use if it waits for the caller, too.
    pub(crate) fn timed_out(error: &Error, waits_for_caller: bool) -> Self {
        Self {
            kind: Some(Kind::Timeout),
            failed: !waits_for_caller,
            counts: error.is_evidence(),
            overloaded: true,
            unsent: error.is_unsent(),
            ..Self::of_outcome(Outcome::Failure, Repeat::Yes)
        }
    }

    fn of_outcome(outcome: Outcome, repeat: Repeat) -> Self {
        let (overloaded, retry_after) = match outcome {
            Outcome::Overload { retry_after } => (true, retry_after),
            _ => (false, None),
        };
        Self {
            kind: None,
            failed: outcome.is_failure(),
            counts: outcome.is_failure(),
            overloaded,
            refused: false,
            unsent: false,
            stale: false,
            exhausted: false,
            made: true,
            repeat,
            retry_after,
        }
    }

    /// Whether an answer is the last one though it is none that a budget rewards.
    pub(crate) fn is_final(&self) -> bool {
        !self.failed && !matches!(self.repeat, Repeat::After(_))
    }

    /// Whether it ends the call, although another attempt is in flight: that would end the same, or is not
    /// wanted.
    pub(crate) fn ends_call(&self) -> bool {
        !self.refused
            && match self.repeat {
                Repeat::Yes => !self.failed && !self.stale,
                Repeat::No => true,
                Repeat::After(_) => false,
            }
    }

    /// Why another attempt is made.
    pub(super) fn cause(&self) -> Cause {
        if self.overloaded { Cause::Overload } else { Cause::Failure }
    }
}

/// Whether an error of this kind says that there is too much to do.
fn is_overload(kind: Kind) -> bool {
    matches!(kind, Kind::RateLimited | Kind::Overloaded | Kind::CircuitOpen | Kind::Unhealthy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::BoxError, outcome::ErrIsFailure, time};

    fn of(error: Error) -> AttemptEnd {
        let boxed: BoxError = error.clone().into();
        let ended = AttemptEnd::of_error::<_, (), _>(&ErrIsFailure, &error);
        let of_boxed = AttemptEnd::of_error::<_, (), _>(&ErrIsFailure, &boxed);
        assert_eq!(format!("{of_boxed:?}"), format!("{ended:?}"), "out of a box it is the same");
        ended
    }

    #[test]
    fn the_cause_is_that_there_is_too_much_to_do_or_another() {
        let cause = |kind| of(Error::failed(kind)).cause();
        for kind in
            [Kind::Timeout, Kind::RateLimited, Kind::Overloaded, Kind::CircuitOpen, Kind::Unhealthy]
        {
            assert_eq!(cause(kind), Cause::Overload, "{kind}");
        }
        for kind in [Kind::Connection, Kind::Service, Kind::Transport] {
            assert_eq!(cause(kind), Cause::Failure, "{kind}");
        }
        let late =
            Error::exhausted(vec![Error::failed(Kind::Service)], Error::failed(Kind::Timeout));
        assert_eq!(of(late).cause(), Cause::Overload);
        assert_eq!(
            AttemptEnd::timed_out(&Error::failed(Kind::Timeout), false).cause(),
            Cause::Overload
        );
        let answer = |outcome| AttemptEnd::of_outcome(outcome, Repeat::Yes).cause();
        assert_eq!(answer(Outcome::Overload { retry_after: None }), Cause::Overload);
        assert_eq!(answer(Outcome::Failure), Cause::Failure);
    }

    #[test]
    fn what_says_nothing_against_an_endpoint_is_no_failure() {
        let broken = Error::failed(Kind::Connection);
        assert!(of(broken.clone()).failed && of(broken.clone()).made);
        let good = |_: Result<&(), &Error>| Outcome::Ignored;
        let judged = AttemptEnd::of_error(&good, &broken);
        assert!(!judged.failed && judged.made, "the rule says so");
        let bad = |_: Result<&(), &Error>| Outcome::Failure;
        for error in [
            Error::failed(Kind::Plugin),
            Error::failed(Kind::InvalidConfig),
            Error::failed(Kind::Unavailable),
            Error::blameless(Kind::Timeout),
            Error::failed(Kind::Timeout).without_blame(),
            Error::connection("reset"),
            Error::refused(Kind::RateLimited),
        ] {
            assert!(!of(error.clone()).failed, "{error}");
            assert!(!AttemptEnd::of_error(&bad, &error).failed, "whatever the rule says: {error}");
        }
        assert!(of(Error::failed(Kind::Plugin)).made, "its endpoint did its work");
        assert!(!of(Error::caller("too long")).made && !of(Error::refused(Kind::Overloaded)).made);
        assert!(of(Error::unsent("refused")).made, "its endpoint could not be reached");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_is_that_of_the_rule_or_else_that_of_the_error() {
        let wait = Duration::from_secs(3);
        let limited = Error::failed(Kind::RateLimited).retry_in(time::now(), wait);
        assert_eq!(of(limited.clone()).retry_after, Some(wait));
        let longer = Some(wait * 2);
        let rule = move |_: Result<&(), &Error>| Outcome::Overload { retry_after: longer };
        assert_eq!(AttemptEnd::of_error(&rule, &limited).retry_after, longer);
    }

    #[test]
    fn a_rule_says_which_answers_are_good() {
        let wait = Duration::from_secs(3);
        let rule = move |result: Result<&u16, &()>| match result {
            Ok(500) => Outcome::Failure,
            Ok(503) => Outcome::Overload { retry_after: Some(wait) },
            Ok(404) => Outcome::Ignored,
            Ok(_) => Outcome::Slow,
            Err(()) => Outcome::Ignored,
        };
        let of = |status| AttemptEnd::of_answer(&rule, &status);
        assert!(of(200).is_none() && of(404).is_none());
        assert!(of(500).is_some_and(|ended| ended.failed && ended.retry_after.is_none()));
        assert!(of(503).is_some_and(|ended| ended.failed && ended.retry_after == Some(wait)));
        assert!(!AttemptEnd::of_error::<_, u16, _>(&rule, &()).failed);
    }

    #[test]
    fn an_answer_may_be_the_last_one_without_being_good() {
        for (outcome, repeat, is_final) in [
            (Outcome::Success, Repeat::No, true),
            (Outcome::Success, Repeat::After(Duration::ZERO), false),
            (Outcome::Failure, Repeat::No, false),
        ] {
            assert_eq!(AttemptEnd::of_outcome(outcome, repeat).is_final(), is_final, "{outcome:?}");
        }
    }
}
