use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::time::{Instant, later};

/// Share of its age that a connection may lose, so that those made together do not end together.
const JITTER: f64 = 0.1;

/// What bounds the connections to one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most that are open or being made.
    pub(crate) max: Option<usize>,
    /// Most that are kept without use.
    pub(crate) max_idle: usize,
    /// Longest time that one is kept without use.
    pub(crate) idle_timeout: Duration,
    /// Age beyond which one is not used again.
    pub(crate) max_age: Option<Duration>,
}

impl Limits {
    /// When a connection that is made at `now` is too old, for a `draw` from 0 to 1.
    pub(super) fn retires(&self, now: Instant, draw: f64) -> Option<Instant> {
        self.max_age.map(|age| later(now, age.mul_f64(1.0 - JITTER * draw)))
    }
}

/// The most connections as they are in a file, where zero is none, as in Go.
pub(crate) fn unless_zero<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<usize>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|&max| max > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_differ_by_a_tenth_at_most() {
        let (now, age) = (crate::time::now(), Duration::from_secs(100));
        let limits = Limits { max: None, max_idle: 1, idle_timeout: age, max_age: Some(age) };
        assert_eq!(limits.retires(now, 0.0), Some(now + age));
        assert_eq!(limits.retires(now, 1.0), Some(now + Duration::from_secs(90)));
        assert_eq!(Limits { max_age: None, ..limits }.retires(now, 0.5), None);
    }
}
