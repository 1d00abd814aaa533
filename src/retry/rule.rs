//! Whether to try again, and when: a pure rule.

use std::time::Duration;

use super::{RetryConfig, Verdict, backoff, judge::Wish};

/// What the call has behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Attempts made, this one included.
    pub(super) made: u32,
    /// Nothing was sent, or sending it twice does no harm.
    pub(super) safe: bool,
    /// Time left until the deadline.
    pub(super) left: Option<Duration>,
    /// The last backoff.
    pub(super) previous: Option<Duration>,
}

/// A retry, if the budget has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Again {
    pub(super) wait: Duration,
    pub(super) backoff: Duration,
}

/// Decides. `random` is from 0 up to 1.
pub(super) fn next(
    verdict: Verdict,
    progress: Progress,
    config: &RetryConfig,
    random: f64,
) -> Option<Again> {
    if !verdict.is_retryable() || !progress.safe || progress.made >= config.attempts {
        return None;
    }
    let backoff = backoff::wait(progress.made, progress.previous, config, random);
    let longest = backoff.saturating_add(config.max_retry_after);
    // What it asks for, and what it gets.
    let (asked, wait) = match verdict.wish {
        Wish::After(asked) => (asked, asked.clamp(backoff, longest)),
        Wish::Again(asked) => (asked, asked.min(longest)),
        Wish::Nothing | Wish::Never => (backoff, backoff),
    };
    // To come back before it asked only because the time is short would be of no use.
    let late = progress.left.is_some_and(|left| asked.max(wait) >= left);
    (!late).then_some(Again { wait, backoff })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::Jitter;

    const FIRST: Progress = Progress { made: 1, safe: true, left: None, previous: None };

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn wait(verdict: Verdict, progress: Progress) -> Option<Duration> {
        let config = RetryConfig::go().with_jitter(Jitter::None);
        next(verdict, progress, &config, 0.5).map(|again| again.wait)
    }

    #[test]
    fn so_many_attempts_and_no_more() {
        let waits = [1, 2, 3, 4, 5].map(|made| wait(Verdict::FAILED, Progress { made, ..FIRST }));
        assert_eq!(waits, [Some(ms(100)), Some(ms(200)), Some(ms(400)), None, None]);
    }

    #[test]
    fn only_what_is_safe_and_of_use() {
        assert_eq!(wait(Verdict::FAILED, Progress { safe: false, ..FIRST }), None);
        for verdict in [Verdict::WELL, Verdict::FINAL, Verdict::FAILED.never()] {
            assert_eq!(wait(verdict, FIRST), None, "{verdict:?}");
        }
        assert_eq!(wait(Verdict::WELL.again(ms(1)), FIRST), None);
    }

    #[test]
    fn a_wish_is_granted_within_bounds() {
        for (asked, granted) in [(0, 100), (3_000, 3_000), (5_100, 5_100), (60_000, 5_100)] {
            assert_eq!(wait(Verdict::FAILED.after(ms(asked)), FIRST), Some(ms(granted)));
        }
        for (asked, granted) in [(0, 0), (3_000, 3_000), (60_000, 5_100)] {
            assert_eq!(wait(Verdict::FINAL.again(ms(asked)), FIRST), Some(ms(granted)));
        }
    }

    #[test]
    fn no_wait_ends_after_the_deadline() {
        let left = |millis| Progress { left: Some(ms(millis)), ..FIRST };
        assert_eq!(wait(Verdict::FAILED, left(101)), Some(ms(100)));
        assert_eq!(wait(Verdict::FAILED, left(100)), None);
        // It would be granted less than it asked for, and still be too early.
        assert_eq!(wait(Verdict::FAILED.after(ms(9_000)), left(6_000)), None);
    }
}
