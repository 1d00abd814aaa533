use serde::{Deserialize, Serialize};

use crate::endpoint::Status;

/// Status of an instance in Eureka.
///
/// ```
/// use tower_upstream::discover::EurekaStatus;
/// assert_eq!(EurekaStatus::OutOfService.as_str(), "OUT_OF_SERVICE");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum EurekaStatus {
    /// It takes calls.
    Up,
    /// Its own health check fails.
    Down,
    /// It is about to start.
    Starting,
    /// It was taken out of traffic on purpose.
    OutOfService,
    /// It does not say. The default.
    #[default]
    Unknown,
}

impl EurekaStatus {
    /// Returns the name that it has in Eureka.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Starting => "STARTING",
            Self::OutOfService => "OUT_OF_SERVICE",
            Self::Unknown => "UNKNOWN",
        }
    }

    pub(super) fn of(text: Option<&str>) -> Self {
        let all = [Self::Up, Self::Down, Self::Starting, Self::OutOfService];
        let is = |of: &Self| text.is_some_and(|text| text.eq_ignore_ascii_case(of.as_str()));
        all.into_iter().find(is).unwrap_or_default()
    }

    /// The server's own rule: what an instance says of its troubles counts, and otherwise an override does.
    pub(super) fn under(self, overridden: Self) -> Self {
        match (self, overridden) {
            (Self::Down | Self::Starting, _) | (_, Self::Unknown) => self,
            (_, overridden) => overridden,
        }
    }

    /// What it is to a balancer, and whether it gets no new calls.
    pub(super) fn meaning(self) -> (Status, bool) {
        match self {
            Self::Up => (Status::Passing, false),
            Self::Down => (Status::Critical, false),
            Self::Starting => (Status::Unknown, true),
            Self::OutOfService => (Status::Critical, true),
            Self::Unknown => (Status::Unknown, false),
        }
    }

    /// What is announced. One that does not know how it is is announced since it serves.
    pub(super) fn announced(status: Status) -> Self {
        match status {
            Status::Critical => Self::Down,
            _ => Self::Up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EurekaStatus::*, *};

    #[test]
    fn an_override_counts_unless_the_instance_tells_of_a_trouble() {
        for (own, overridden, expected) in [
            (Up, Unknown, Up),
            (Up, OutOfService, OutOfService),
            (OutOfService, Up, Up),
            (Down, Up, Down),
            (Starting, OutOfService, Starting),
            (Unknown, Down, Down),
        ] {
            assert_eq!(own.under(overridden), expected, "{own:?} {overridden:?}");
        }
    }

    #[test]
    fn a_status_is_read_as_it_is_written_and_another_is_unknown() {
        for status in [Up, Down, Starting, OutOfService, Unknown] {
            assert_eq!(EurekaStatus::of(Some(status.as_str())), status);
        }
        assert_eq!(EurekaStatus::of(Some("up")), Up);
        assert_eq!(EurekaStatus::of(Some("PAUSED")), Unknown);
        assert_eq!(EurekaStatus::of(None), Unknown);
    }
}
