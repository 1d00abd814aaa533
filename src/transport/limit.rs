//! How long an exchange may take, and what it means that it takes longer.

use std::time::Duration;

use crate::{
    error::{Error, Kind},
    plugin::Call,
    replay::Replay,
    time::{self, Instant},
};

/// What an exchange needs to know of its call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) deadline: Option<Instant>,
    pub(super) idempotent: bool,
}

impl Terms {
    pub(super) fn of(call: &Call<()>) -> Self {
        Self { deadline: call.deadline(), idempotent: call.is_idempotent() }
    }
}

/// What is wrong with the timeouts of a config: connecting is part of an exchange, so that a longer limit of
/// it could never be reached. Its `default` is meant for any exchange: a short one ends it earlier.
pub(super) fn contradiction(
    request_timeout: Duration,
    connect_timeout: Duration,
    default: Duration,
) -> Option<String> {
    (connect_timeout != default && request_timeout < connect_timeout).then(|| {
        format!(
            "`request_timeout` is {request_timeout:?}, but must not be shorter than `connect_timeout`, \
             {connect_timeout:?}"
        )
    })
}

/// The deadline of the call, or the timeout of the settings, whichever is first.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimit {
    pub(super) until: Instant,
    is_deadline: bool,
    /// How long that was at first.
    #[cfg(feature = "grpc")]
    given: Duration,
}

impl TimeLimit {
    /// An error if the deadline has passed by now.
    pub(super) fn new(
        now: Instant,
        deadline: Option<Instant>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let by_config = time::later(now, timeout);
        let (until, is_deadline) = match deadline {
            Some(deadline) if deadline <= now => {
                return Err(Error::blameless(Kind::Timeout)
                    .message("the deadline of the call passed before it was sent"));
            }
            Some(until) if until < by_config => (until, true),
            _ => (by_config, false),
        };
        Ok(Self {
            until,
            is_deadline,
            #[cfg(feature = "grpc")]
            given: until.saturating_duration_since(now),
        })
    }

    /// Whether the time that the caller gave is over by `now`, or as good as over: clocks differ.
    #[cfg(feature = "grpc")]
    pub(super) fn is_over_by_caller(self, now: Instant) -> bool {
        self.is_deadline && time::later(now, self.given / 10) >= self.until
    }

    /// What `error` is, of an exchange over `protocol` that was given `timeout` and took longer;
    /// `in_line` if it got no connection, since other calls had them all.
    pub(super) fn passed(
        self,
        error: Error,
        protocol: &str,
        timeout: Duration,
        in_line: bool,
    ) -> Error {
        if self.is_deadline {
            // The caller's time was over, which says nothing of how long the endpoint would have taken.
            return error.without_blame().message(format!(
                "{protocol} request failed: no answer before the deadline of the call"
            ));
        }
        if in_line {
            // For other calls to end, which says what the endpoint is like better than this one.
            return error.without_blame().message(format!(
                "{protocol} request failed: no connection became free within {timeout:?} \
                 (`max_connections`, `request_timeout`)"
            ));
        }
        error.message(format!(
            "{protocol} request failed: no whole answer within {timeout:?} (`request_timeout`)"
        ))
    }
}

#[cfg(all(test, feature = "grpc"))]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_caller_is_as_good_as_over_in_its_last_tenth_and_that_of_settings_is_not_its() {
        let (now, ms) = (time::now(), Duration::from_millis);
        let is_over = |deadline: Option<u64>, timeout, passed| {
            let deadline = deadline.map(|deadline| now + ms(deadline));
            let limit = TimeLimit::new(now, deadline, ms(timeout)).unwrap();
            limit.is_over_by_caller(now + ms(passed))
        };
        for (passed, of_caller) in [(0, false), (899, false), (900, true), (1_000, true)] {
            assert_eq!(is_over(Some(1_000), 9_000, passed), of_caller, "{passed}");
            assert!(!is_over(Some(9_000), 1_000, passed) && !is_over(None, 1_000, passed));
        }
    }
}
