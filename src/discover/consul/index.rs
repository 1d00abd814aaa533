//! The rules of blocking queries, as arithmetic: which index to send next, and how long to wait for the answer.

use std::time::Duration;

use crate::time::{self, Instant};

/// What the server may take beyond the time that it was told: seven seconds without a leader, and the way.
const SLACK: Duration = Duration::from_secs(10);
/// Queries that may follow each other at once.
const BURST: u32 = 2;

/// The index that was seen last.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cursor(Option<u64>);

impl Cursor {
    /// The index to send, with which the query waits for a change. `None`: it must not wait.
    pub(super) fn index(self) -> Option<u64> {
        self.0
    }

    /// Takes over the index of an answer. Tells whether it went backwards, as after a restored snapshot: then
    /// the next query does not wait, so that nothing is missed.
    pub(super) fn advance(&mut self, answered: Option<u64>) -> bool {
        // With 0 the server would not wait, and the watch would spin.
        let answered = answered.unwrap_or(0).max(1);
        let went_back = self.0.is_some_and(|before| answered < before);
        self.0 = (!went_back).then_some(answered);
        went_back
    }
}

/// When an answer to a query that waits for `wait` has to be there: the server adds up to a sixteenth.
pub(super) fn time_limit(wait: Option<Duration>) -> Duration {
    wait.map_or(SLACK, |wait| wait + wait / 16 + SLACK)
}

/// Spreads queries out while a service changes all the time: two at once, then one in each interval.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When as many queries as were made would be due, one in each interval.
    due: Option<Instant>,
}

impl Pace {
    /// Counts a query, and tells how long to wait before it.
    pub(super) fn wait(&mut self, interval: Duration, now: Instant) -> Duration {
        let due = self.due.map_or(now, |due| due.max(now));
        self.due = Some(time::later(due, interval));
        due.saturating_duration_since(now).saturating_sub(interval * (BURST - 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(indices: &[Option<u64>]) -> Option<u64> {
        let mut cursor = Cursor::default();
        for index in indices {
            cursor.advance(*index);
        }
        cursor.index()
    }

    #[test]
    fn the_next_index_is_the_last_one_unless_it_went_backwards() {
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[Some(16)]), Some(16));
        assert_eq!(after(&[Some(16), Some(16)]), Some(16));
        assert_eq!(after(&[Some(16), Some(17)]), Some(17));
        assert_eq!(after(&[Some(50), Some(20)]), None);
        assert_eq!(after(&[Some(50), Some(20), Some(20)]), Some(20));
        // Missing, or none: never 0.
        assert_eq!(after(&[None]), Some(1));
        assert_eq!(after(&[Some(0)]), Some(1));
        assert_eq!(after(&[Some(50), None]), None);
    }

    #[test]
    fn an_answer_may_take_what_the_server_adds_and_what_a_lost_leader_takes() {
        assert_eq!(time_limit(Some(Duration::from_secs(160))), Duration::from_secs(180));
        assert!(time_limit(None) > Duration::from_secs(7));
    }

    proptest! {
        #[test]
        fn no_index_is_ever_0(indices in prop::collection::vec(prop::option::of(0_u64..9), 0..20)) {
            let mut cursor = Cursor::default();
            for index in indices {
                cursor.advance(index);
                prop_assert_ne!(cursor.index(), Some(0));
            }
        }

        #[test]
        fn queries_are_two_at_once_and_then_one_in_each_interval(
            gaps in prop::collection::vec(0_u64..5_000, 2..50),
        ) {
            let interval = Duration::from_secs(2);
            let (mut pace, start) = (Pace::default(), time::now());
            let mut at = start;
            let mut made = Vec::new();
            for gap in gaps {
                at += Duration::from_millis(gap);
                at += pace.wait(interval, at);
                made.push(at);
            }
            for (from, first) in made.iter().enumerate() {
                for (to, last) in made.iter().enumerate().skip(from + BURST as usize) {
                    let least = interval * (to - from - 1) as u32;
                    prop_assert!(*last - *first >= least, "{from} {to}");
                }
            }
            prop_assert!(made[1] - made[0] < Duration::from_secs(5));
        }
    }
}
