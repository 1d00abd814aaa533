//! Whether to try again, and when: a pure rule.

use std::time::Duration;

use super::Attempts;
use crate::error::Kind;

/// How one attempt ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    pub(super) kind: Kind,
    /// A guard said no.
    pub(super) refused: bool,
    /// Nothing reached an endpoint.
    pub(super) unsent: bool,
    /// It says nothing against the endpoint, such as a caller's mistake.
    pub(super) blameless: bool,
    /// The connection had been idle, and was dead: of those that say nothing, this one is mended by
    /// another attempt.
    pub(super) stale: bool,
    /// The endpoint asks that the call not be sent again.
    pub(super) last: bool,
    /// It got as far as choosing an endpoint.
    pub(super) chose: bool,
    /// The endpoint had been tried for this call before.
    pub(super) again: bool,
    /// How long the endpoint asks to be left alone.
    pub(super) retry_after: Option<Duration>,
}

/// What the call has behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Attempts made, this one included, refusals left out.
    pub(super) made: u32,
    pub(super) idempotent: bool,
    /// It was sent again already because a connection was dead.
    pub(super) resent: bool,
    /// There is an endpoint that was not tried.
    pub(super) untried: bool,
    /// Time left until the deadline.
    pub(super) left: Option<Duration>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stop,
    /// To another endpoint, at once and for free: nobody was troubled.
    Elsewhere,
    /// The same for a connection that was dead, once for each call.
    Resend,
    /// After this wait, if the budget has a token.
    After(Duration),
}

/// Decides. `jitter` is random, from 0 up to 1.
pub(super) fn next(failed: Failed, progress: Progress, attempts: &Attempts, jitter: f64) -> Next {
    if failed.refused {
        let elsewhere = failed.chose && !failed.again && progress.untried;
        return if elsewhere { Next::Elsewhere } else { Next::Stop };
    }
    let safe = failed.unsent || progress.idempotent;
    if failed.stale && failed.chose && safe && !progress.resent {
        return Next::Resend;
    }
    let mendable = (failed.is_failure() || failed.stale) && !failed.last;
    if !failed.chose || !safe || !mendable || progress.made >= attempts.max {
        return Next::Stop;
    }
    let mut wait = backoff(progress.made, attempts).mul_f64(jitter);
    if !progress.untried {
        // Back to one that was tried: it gets at least the time it asked for. To come back before
        // would be of no use, and to wait for ever neither.
        let asked = failed.retry_after.unwrap_or_default();
        if asked > attempts.max_retry_after {
            return Next::Stop;
        }
        let first = attempts.backoff.min(attempts.max_backoff).mul_f64(jitter);
        wait = wait.max(first).max(asked);
    }
    match progress.left {
        Some(left) if wait >= left => Next::Stop,
        _ => Next::After(wait),
    }
}

/// The upper bound of the wait before attempt `made + 1`: none before the second.
fn backoff(made: u32, attempts: &Attempts) -> Duration {
    match made {
        0 | 1 => Duration::ZERO,
        _ => attempts.backoff.saturating_mul(1 << (made - 2).min(30)).min(attempts.max_backoff),
    }
}

impl Failed {
    /// Whether it is one that another attempt may mend, and that a budget counts.
    pub(super) fn is_failure(&self) -> bool {
        !self.refused && !self.blameless && !is_same_anywhere(self.kind)
    }
}

/// Whether an error of this kind says that there is too much to do.
pub(super) fn is_overload(kind: Kind) -> bool {
    matches!(kind, Kind::RateLimited | Kind::Overloaded | Kind::CircuitOpen | Kind::Unhealthy)
}

fn is_same_anywhere(kind: Kind) -> bool {
    matches!(kind, Kind::Plugin | Kind::InvalidConfig | Kind::InvalidRequest | Kind::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: Failed = Failed {
        kind: Kind::Connection,
        refused: false,
        unsent: false,
        blameless: false,
        stale: false,
        last: false,
        chose: true,
        again: false,
        retry_after: None,
    };
    const FIRST: Progress =
        Progress { made: 1, idempotent: true, resent: false, untried: true, left: None };

    fn decide(failed: Failed, progress: Progress) -> Next {
        next(failed, progress, &Attempts::up_to(4), 0.5)
    }

    #[test]
    fn another_endpoint_at_once_then_after_a_growing_wait() {
        let waits = [1, 2, 3].map(|made| decide(BROKEN, Progress { made, ..FIRST }));
        assert_eq!(waits, [0, 25, 50].map(|ms| Next::After(Duration::from_millis(ms))));
        assert_eq!(decide(BROKEN, Progress { made: 4, ..FIRST }), Next::Stop);
    }

    #[test]
    fn only_what_is_safe() {
        let once = Progress { idempotent: false, ..FIRST };
        assert_eq!(decide(BROKEN, once), Next::Stop);
        let unsent = Failed { unsent: true, ..BROKEN };
        assert_eq!(decide(unsent, once), Next::After(Duration::ZERO));
        for kind in [Kind::Plugin, Kind::InvalidConfig] {
            assert_eq!(decide(Failed { kind, ..BROKEN }, FIRST), Next::Stop);
        }
    }

    #[test]
    fn a_refusal_goes_elsewhere_once_each_and_never_from_above() {
        let refused = Failed { refused: true, unsent: true, kind: Kind::RateLimited, ..BROKEN };
        let late = Progress { made: 64, ..FIRST };
        assert_eq!(decide(refused, late), Next::Elsewhere);
        assert_eq!(decide(Failed { again: true, ..refused }, FIRST), Next::Stop);
        assert_eq!(decide(Failed { chose: false, ..refused }, FIRST), Next::Stop);
        assert_eq!(decide(refused, Progress { untried: false, ..FIRST }), Next::Stop);
    }

    #[test]
    fn the_same_endpoint_gets_the_time_it_asked_for_if_there_is_time() {
        let retry_after = Some(Duration::from_secs(2));
        let busy = Failed { retry_after, ..BROKEN };
        let alone = Progress { untried: false, ..FIRST };
        assert_eq!(decide(busy, alone), Next::After(Duration::from_secs(2)));
        assert_eq!(decide(busy, FIRST), Next::After(Duration::ZERO));
        assert_eq!(decide(BROKEN, alone), Next::After(Duration::from_millis(25)));
        let hurried = Progress { left: Some(Duration::from_secs(1)), ..alone };
        assert_eq!(decide(busy, hurried), Next::Stop);
    }

    #[test]
    fn who_asks_for_more_time_than_there_is_patience_gets_no_other_attempt() {
        let asks = |wait| Failed { retry_after: Some(wait), ..BROKEN };
        let alone = Progress { untried: false, ..FIRST };
        let most = Attempts::up_to(4).max_retry_after;
        assert_eq!(decide(asks(most), alone), Next::After(most));
        let longer = asks(most + Duration::from_nanos(1));
        assert_eq!(decide(longer, alone), Next::Stop);
        assert_eq!(decide(longer, FIRST), Next::After(Duration::ZERO), "another does not wait");
    }

    #[test]
    fn no_means_no_and_a_callers_mistake_is_one_anywhere() {
        for failed in [Failed { last: true, ..BROKEN }, Failed { blameless: true, ..BROKEN }] {
            assert_eq!(decide(failed, FIRST), Next::Stop, "{failed:?}");
        }
        assert!(BROKEN.is_failure() && Failed { last: true, ..BROKEN }.is_failure());
        assert!(!Failed { blameless: true, ..BROKEN }.is_failure());
        assert!(!Failed { kind: Kind::Plugin, ..BROKEN }.is_failure());
    }

    #[test]
    fn a_dead_connection_is_worth_one_free_attempt_of_what_is_safe() {
        let stale = Failed { stale: true, blameless: true, ..BROKEN };
        assert_eq!(decide(stale, FIRST), Next::Resend);
        assert_eq!(decide(stale, Progress { untried: false, made: 4, ..FIRST }), Next::Resend);
        assert_eq!(decide(stale, Progress { idempotent: false, ..FIRST }), Next::Stop);
        let again = Progress { resent: true, ..FIRST };
        assert_eq!(decide(stale, again), Next::After(Duration::ZERO), "charged from then on");
        assert_eq!(decide(stale, Progress { made: 4, ..again }), Next::Stop);
        assert!(!stale.is_failure(), "and no budget counts it");
    }

    #[test]
    fn the_wait_is_capped() {
        let attempts = Attempts::up_to(64);
        assert_eq!(backoff(60, &attempts), attempts.max_backoff);
    }
}
