//! An attempt that is not the last word yet, and what the rule sees of it.

use std::sync::Arc;

use super::rule::{Failed, is_overload};
use crate::{
    budget::Cause,
    error::{Error, Fault, Kind},
    member::Member,
    outcome::Outcome,
};

/// Why an attempt is not the last word.
pub(super) enum Failure<Res> {
    Error(Error),
    /// The attempt took too long, and is to be given up.
    TimedOut(Error),
    /// An error that the rule does not hold for a failure: another attempt would not help.
    Final(Error),
    /// An answer that the rule holds for a failure. The caller gets the last one, unless a later
    /// attempt ends in an error.
    Answer {
        response: Res,
        outcome: Outcome,
        /// It asks that the call not be sent again.
        last: bool,
    },
}

impl<Res> Failure<Res> {
    #[cold]
    pub(super) fn answer(response: Res, outcome: Outcome, last: bool) -> Self {
        Self::Answer { response, outcome, last }
    }

    /// What the rule sees: `chosen` is who was asked, and `again` whether it was before.
    pub(super) fn seen(&self, chosen: Option<&Arc<Member>>, again: bool) -> Failed {
        let chose = chosen.is_some();
        match self {
            Self::Error(error) | Self::TimedOut(error) | Self::Final(error) => Failed {
                kind: error.kind(),
                refused: error.is_refused(),
                unsent: error.is_unsent(),
                blameless: matches!(self, Self::Final(_)) || !error.is_evidence(),
                stale: error.fault() == Fault::Connection,
                last: false,
                chose,
                again,
                retry_after: error.retry_after(),
            },
            Self::Answer { outcome, last, .. } => Failed {
                kind: Kind::Service,
                refused: false,
                unsent: false,
                blameless: false,
                stale: false,
                last: *last,
                chose,
                again,
                retry_after: match outcome {
                    Outcome::Overload { retry_after } => *retry_after,
                    _ => None,
                },
            },
        }
    }

    /// Whether the attempt came to an end that a budget takes note of: one that the caller spoiled
    /// did not, nor one that nothing was sent of for a reason that is not the endpoint's.
    pub(super) fn is_deposited(&self) -> bool {
        match self {
            Self::Error(error) | Self::TimedOut(error) | Self::Final(error) => error.is_evidence(),
            Self::Answer { .. } => true,
        }
    }

    /// Why another attempt is to be made.
    pub(super) fn cause(&self) -> Cause {
        let overloaded = match self {
            Self::Error(error) | Self::TimedOut(error) | Self::Final(error) => {
                error.is_timeout() || is_overload(error.kind())
            }
            Self::Answer { outcome, .. } => matches!(outcome, Outcome::Overload { .. }),
        };
        if overloaded { Cause::Overload } else { Cause::Failure }
    }

    /// For the history of the call.
    pub(super) fn into_error(self, chosen: Option<&Arc<Member>>) -> Error {
        match self {
            Self::Error(error) | Self::TimedOut(error) | Self::Final(error) => error,
            // It was sent, so whatever comes of the call is not unsent.
            Self::Answer { .. } => {
                let error = Error::failed(Kind::Service).message("the answer was judged a failure");
                match chosen {
                    Some(member) => error.at_endpoint(member.shared_key()),
                    None => error,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(failure: &Failure<()>) -> Failed {
        failure.seen(None, false)
    }

    #[test]
    fn the_cause_is_that_there_is_too_much_to_do_or_another() {
        let cause = |kind| Failure::<()>::Error(Error::failed(kind)).cause();
        for kind in
            [Kind::Timeout, Kind::RateLimited, Kind::Overloaded, Kind::CircuitOpen, Kind::Unhealthy]
        {
            assert_eq!(cause(kind), Cause::Overload, "{kind}");
        }
        for kind in [Kind::Connection, Kind::Service, Kind::Transport] {
            assert_eq!(cause(kind), Cause::Failure, "{kind}");
        }
        let answer = |outcome| Failure::answer((), outcome, false).cause();
        assert_eq!(answer(Outcome::Overload { retry_after: None }), Cause::Overload);
        assert_eq!(answer(Outcome::Failure), Cause::Failure);
    }

    #[test]
    fn what_says_nothing_against_an_endpoint_is_no_failure() {
        let broken = Error::failed(Kind::Connection);
        assert!(seen(&Failure::Error(broken.clone())).is_failure());
        assert!(!seen(&Failure::Final(broken)).is_failure());
        for kind in [Kind::Plugin, Kind::InvalidConfig, Kind::Unavailable] {
            assert!(!seen(&Failure::Error(Error::failed(kind))).is_failure(), "{kind}");
        }
        let blameless = Error::blameless(Kind::Timeout);
        assert!(!seen(&Failure::Error(blameless)).is_failure());
        assert!(!seen(&Failure::Error(Error::refused(Kind::RateLimited))).is_failure());
        let answer = seen(&Failure::answer((), Outcome::Failure, true));
        assert!(answer.is_failure() && answer.last && !answer.unsent);
    }
}
