//! Whose fault it is that connections die which had been used before.

use std::time::Duration;

use crate::time::Instant;

/// How long after one failed nothing is sent again to the same endpoint, and how long after
/// connections died those that took their place count against the endpoint: if fresh connections fail
/// too, it is not the connections.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Deaths {
    last: Option<Death>,
    /// When a call was last sent again in vain.
    resent_in_vain: Option<Instant>,
}

/// The last time that those of one epoch died.
#[derive(Debug)]
struct Death {
    at: Instant,
    /// Whether that says nothing of the endpoint.
    was_of_age: bool,
}

impl Deaths {
    /// Those of one epoch may die together, but if those that take their place die within a second as
    /// well, it is not because of their age.
    pub(super) fn of_epoch(&mut self, now: Instant) {
        let was_of_age = is_past(self.last.as_ref().map(|last| last.at), now);
        self.last = Some(Death { at: now, was_of_age });
    }

    /// Whether those that died last may have done so while they were idle.
    pub(super) fn were_of_age(&self) -> bool {
        self.last.as_ref().is_none_or(|last| last.was_of_age)
    }

    /// Whether a fresh connection may do better.
    pub(super) fn may_resend(&self, now: Instant) -> bool {
        is_past(self.resent_in_vain, now)
    }

    pub(super) fn resent_in_vain(&mut self, now: Instant) {
        self.resent_in_vain = Some(now);
    }
}

fn is_past(at: Option<Instant>, now: Instant) -> bool {
    at.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_connections_that_die_as_well_are_the_endpoints() {
        let (mut deaths, start) = (Deaths::default(), crate::time::now());
        assert!(deaths.were_of_age() && deaths.may_resend(start));
        for (millis, of_age) in [(0, true), (999, false), (1_998, false), (2_998, true)] {
            deaths.of_epoch(start + Duration::from_millis(millis));
            assert_eq!(deaths.were_of_age(), of_age, "{millis}");
        }
        deaths.resent_in_vain(start);
        assert!(!deaths.may_resend(start + PAUSE / 2) && deaths.may_resend(start + PAUSE));
    }
}
