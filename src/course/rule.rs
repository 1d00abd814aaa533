//! Whether to try again, and when: a pure rule.

use std::time::Duration;

use super::{attempts::Attempts, ended::AttemptEnd};
use crate::{error::Kind, outcome::Repeat};

/// What the call has behind it, and before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Attempts made, this one included, refusals left out.
    pub(super) made: u32,
    /// It was sent again already because a connection was dead.
    pub(super) resent: bool,
    pub(super) idempotent: bool,
    pub(super) reach: Reach,
    /// Time left until the deadline.
    pub(super) left: Option<Duration>,
    /// It may wait for an endpoint.
    pub(super) may_wait: bool,
}

/// Which endpoint an attempt had, and whether there is another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    /// The attempt got as far as an endpoint.
    pub(crate) chose: bool,
    /// The endpoint had been tried for this call before.
    pub(crate) again: bool,
    /// There is an endpoint that was not tried.
    pub(crate) untried: bool,
    /// There is no endpoint that can be chosen.
    pub(crate) none: bool,
}

impl Reach {
    /// That of a client which has one endpoint.
    #[cfg(feature = "tower")]
    pub(crate) const ONE: Self = Self { chose: true, again: false, untried: false, none: false };
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stop,
    /// To another endpoint, at once and for free: the one that refused had no trouble.
    Elsewhere,
    /// The same for a connection that was dead, once for each call.
    Resend,
    /// When there is an endpoint, for free: nothing was tried.
    WhenThereIsOne(Duration),
    /// After this wait, if the budget has a token.
    After(Duration),
}

/// How long a call waits at least that found no endpoint though there is one.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Decides. `backoff` is asked for the wait where the endpoint may not have asked for another.
pub(super) fn next(
    ended: &AttemptEnd,
    progress: Progress,
    attempts: &Attempts,
    backoff: impl FnOnce() -> Duration,
) -> Next {
    let Progress { made, resent, idempotent, reach, left, may_wait } = progress;
    if ended.refused {
        let elsewhere = reach.chose && !reach.again && reach.untried;
        // Of a guard above the balancer, which says the same of a circuit, there is nothing to wait for.
        let missing = matches!(ended.kind, Some(Kind::NoEndpoints | Kind::AllEndpointsDown))
            || reach.none && ended.kind == Some(Kind::CircuitOpen);
        return match () {
            () if elsewhere => Next::Elsewhere,
            // One that is there but was not ready in time is not asked again at once.
            () if may_wait && !reach.chose && missing => Next::WhenThereIsOne(if reach.none {
                Duration::ZERO
            } else {
                backoff().max(LOOK_AGAIN)
            }),
            () => Next::Stop,
        };
    }
    let safe = ended.unsent || idempotent;
    if ended.stale && reach.chose && safe && !resent {
        return Next::Resend;
    }
    let is_of_use = match ended.repeat {
        Repeat::After(_) => true,
        Repeat::No => false,
        // What was tried again below goes to another endpoint, not to the same one.
        Repeat::Yes => ended.stale || ended.failed && (reach.untried || !ended.exhausted),
    };
    if !reach.chose || !safe || !is_of_use || made >= attempts.max {
        return Next::Stop;
    }
    let wait = if reach.untried {
        backoff()
    } else {
        // Back to one that was tried, when it asks for it: before would be of no use, and to wait for
        // ever neither.
        let (asked, wait) = match (ended.repeat, ended.retry_after) {
            (Repeat::After(asked), _) => (asked, asked),
            (_, Some(asked)) => (asked, asked.max(backoff())),
            (_, None) => (Duration::ZERO, backoff()),
        };
        if asked > attempts.max_retry_after {
            return Next::Stop;
        }
        wait
    };
    match left {
        Some(left) if wait >= left => Next::Stop,
        _ => Next::After(wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: AttemptEnd = AttemptEnd {
        kind: None,
        failed: true,
        counts: true,
        overloaded: false,
        refused: false,
        unsent: false,
        stale: false,
        exhausted: false,
        made: true,
        repeat: Repeat::Yes,
        retry_after: None,
    };
    const ANY: Reach = Reach { chose: true, again: false, untried: true, none: false };
    const ALONE: Reach = Reach { untried: false, ..ANY };
    const FIRST: Progress = Progress {
        made: 1,
        resent: false,
        idempotent: true,
        reach: ANY,
        left: None,
        may_wait: false,
    };

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn decide(ended: AttemptEnd, progress: Progress) -> Next {
        next(&ended, progress, &Attempts::up_to(4), || ms(100))
    }

    #[test]
    fn so_many_attempts_and_no_more() {
        for reach in [ANY, ALONE] {
            let next = [1, 3, 4, 5].map(|made| decide(BROKEN, Progress { made, reach, ..FIRST }));
            assert_eq!(next, [Next::After(ms(100)), Next::After(ms(100)), Next::Stop, Next::Stop]);
        }
    }

    #[test]
    fn only_what_is_safe() {
        let once = Progress { idempotent: false, ..FIRST };
        assert_eq!(decide(BROKEN, once), Next::Stop);
        let unsent = AttemptEnd { unsent: true, ..BROKEN };
        assert_eq!(decide(unsent, once), Next::After(ms(100)));
    }

    #[test]
    fn only_what_is_of_use() {
        let fine = AttemptEnd { failed: false, ..BROKEN };
        let asked_not_to = AttemptEnd { repeat: Repeat::No, ..BROKEN };
        for ended in [fine, asked_not_to, AttemptEnd { failed: false, ..asked_not_to }] {
            assert_eq!(decide(ended, FIRST), Next::Stop, "{ended:?}");
        }
        let nowhere = Reach { chose: false, ..ANY };
        assert_eq!(decide(BROKEN, Progress { reach: nowhere, ..FIRST }), Next::Stop);
        // Asked for again, even what did not fail; what is not safe is not sent again for that.
        let again = AttemptEnd { repeat: Repeat::After(ms(7)), ..fine };
        assert_eq!(decide(again, Progress { reach: ALONE, ..FIRST }), Next::After(ms(7)));
        assert_eq!(decide(again, Progress { idempotent: false, ..FIRST }), Next::Stop);
    }

    #[test]
    fn what_was_tried_again_below_goes_elsewhere_or_nowhere() {
        let exhausted = AttemptEnd { exhausted: true, ..BROKEN };
        assert_eq!(decide(exhausted, FIRST), Next::After(ms(100)));
        assert_eq!(decide(exhausted, Progress { reach: ALONE, ..FIRST }), Next::Stop);
    }

    #[test]
    fn a_refusal_goes_elsewhere_once_each_and_never_from_above() {
        let refused = AttemptEnd { refused: true, unsent: true, failed: false, ..BROKEN };
        let at = |reach| decide(refused, Progress { made: 64, reach, ..FIRST });
        assert_eq!(at(ANY), Next::Elsewhere);
        assert_eq!(at(Reach { again: true, ..ANY }), Next::Stop);
        assert_eq!(at(Reach { chose: false, ..ANY }), Next::Stop);
        assert_eq!(at(ALONE), Next::Stop);
    }

    #[test]
    fn a_call_that_found_no_endpoint_waits_for_one_if_it_may() {
        let refused = AttemptEnd { refused: true, unsent: true, failed: false, ..BROKEN };
        let nowhere = Reach { chose: false, untried: false, ..ANY };
        let after = |kind, may_wait, none, chose| {
            let ended = AttemptEnd { kind: Some(kind), ..refused };
            let reach = Reach { none, chose, ..nowhere };
            decide(ended, Progress { made: 4, idempotent: false, may_wait, reach, ..FIRST })
        };
        let at_once = Next::WhenThereIsOne(Duration::ZERO);
        for kind in [Kind::NoEndpoints, Kind::AllEndpointsDown] {
            assert_eq!(after(kind, true, true, false), at_once);
            // There is one, but the call did not get to it.
            assert_eq!(after(kind, true, false, false), Next::WhenThereIsOne(ms(100)));
            assert_eq!(after(kind, false, true, false), Next::Stop);
            assert_eq!(after(kind, true, true, true), Next::Stop);
        }
        assert_eq!(after(Kind::CircuitOpen, true, true, false), at_once);
        assert_eq!(after(Kind::CircuitOpen, true, false, false), Next::Stop, "from above");
        assert_eq!(after(Kind::RateLimited, true, true, false), Next::Stop);
        // However short the backoff is, it does not ask all the time.
        let ended = AttemptEnd { kind: Some(Kind::AllEndpointsDown), ..refused };
        let there = Progress { may_wait: true, reach: nowhere, ..FIRST };
        let next = next(&ended, there, &Attempts::up_to(4), || Duration::ZERO);
        assert_eq!(next, Next::WhenThereIsOne(LOOK_AGAIN));
    }

    #[test]
    fn the_same_endpoint_gets_the_time_it_asks_for_up_to_a_longest_one() {
        let most = Attempts::up_to(4).max_retry_after;
        let alone = Progress { reach: ALONE, ..FIRST };
        let longer = most + Duration::from_nanos(1);
        for (asks, waits) in [(ms(0), ms(100)), (ms(2_000), ms(2_000)), (most, most)] {
            let busy = AttemptEnd { retry_after: Some(asks), ..BROKEN };
            assert_eq!(decide(busy, alone), Next::After(waits));
            // Another endpoint does not wait for it.
            assert_eq!(decide(busy, FIRST), Next::After(ms(100)));
            // It asks for the call again after just that.
            let again =
                AttemptEnd { repeat: Repeat::After(asks), retry_after: Some(longer), ..BROKEN };
            assert_eq!(decide(again, alone), Next::After(asks));
        }
        let impatient = AttemptEnd { retry_after: Some(longer), ..BROKEN };
        let again = AttemptEnd { repeat: Repeat::After(longer), ..BROKEN };
        for ended in [impatient, again] {
            assert_eq!(decide(ended, alone), Next::Stop);
            assert_eq!(decide(ended, FIRST), Next::After(ms(100)));
        }
    }

    #[test]
    fn no_wait_ends_after_the_deadline() {
        let alone = Progress { reach: ALONE, ..FIRST };
        let left = |millis| Progress { left: Some(ms(millis)), ..alone };
        assert_eq!(decide(BROKEN, left(101)), Next::After(ms(100)));
        assert_eq!(decide(BROKEN, left(100)), Next::Stop);
        let busy = AttemptEnd { retry_after: Some(ms(2_000)), ..BROKEN };
        assert_eq!(decide(busy, left(1_000)), Next::Stop);
    }

    #[test]
    fn a_dead_connection_is_worth_one_free_attempt_of_what_is_safe() {
        let stale = AttemptEnd { stale: true, failed: false, ..BROKEN };
        assert_eq!(decide(stale, FIRST), Next::Resend);
        let late = Progress { reach: ALONE, made: 4, ..FIRST };
        assert_eq!(decide(stale, late), Next::Resend);
        assert_eq!(decide(stale, Progress { idempotent: false, ..FIRST }), Next::Stop);
        let again = Progress { resent: true, ..FIRST };
        assert_eq!(decide(stale, again), Next::After(ms(100)), "charged from then on");
        assert_eq!(decide(stale, Progress { made: 4, ..again }), Next::Stop);
    }
}
