use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

#[cfg(feature = "http")]
use serde::{Serialize, Serializer};

#[cfg(feature = "http")]
use super::wire;
#[cfg(feature = "http")]
use crate::wire::{parse_rfc3339, rfc3339, system_time};

/// Health of a plugin or an endpoint, and when it was checked.
///
/// ```
/// use tower_upstream::plugin::{HealthStatus, PluginStatus};
/// let health = HealthStatus::new(PluginStatus::Degraded).with_message("cache is cold");
/// assert!(health.status.is_usable());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "http", derive(Serialize))]
#[non_exhaustive]
pub struct HealthStatus {
    /// The status.
    pub status: PluginStatus,
    /// Text that explains the status.
    #[cfg_attr(feature = "http", serde(skip_serializing_if = "String::is_empty"))]
    pub message: String,
    /// Time of the check, or `None` if there was none.
    #[cfg_attr(feature = "http", serde(serialize_with = "write_time"))]
    pub last_check: Option<SystemTime>,
    /// Duration of the check.
    #[cfg_attr(feature = "http", serde(serialize_with = "crate::duration::nanoseconds"))]
    pub response_time: Duration,
    /// Any other properties.
    #[cfg_attr(feature = "http", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub metadata: BTreeMap<String, String>,
}

impl HealthStatus {
    /// Creates a health with a status, and without a time.
    pub fn new(status: PluginStatus) -> Self {
        Self { status, ..Self::default() }
    }

    /// Creates a healthy one, with the message `OK`.
    pub fn healthy() -> Self {
        Self::new(PluginStatus::Healthy).with_message("OK")
    }

    /// Creates an unhealthy one that says why.
    pub fn unhealthy(message: impl Into<String>) -> Self {
        Self::new(PluginStatus::Unhealthy).with_message(message)
    }

    /// Sets the message.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Adds a pair of metadata, or replaces the value.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Sets the time and the duration of the check.
    #[must_use]
    pub fn checked_at(mut self, time: SystemTime, response_time: Duration) -> Self {
        self.last_check = Some(time);
        self.response_time = response_time;
        self
    }

    /// Combines many into one.
    ///
    /// Unhealthy if one of them is unhealthy or offline; otherwise degraded if one is; otherwise healthy,
    /// also if there are none, or none was checked yet. The message is `All components healthy`, or
    /// `Issues detected: ` and the messages of those that are not healthy. `last_check` is the latest of all.
    ///
    /// # Bounds
    /// At most 32 messages are joined; of the rest the message tells the number.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_upstream::plugin::{HealthStatus, PluginStatus};
    ///
    /// let cold = HealthStatus::new(PluginStatus::Degraded).with_message("cache is cold");
    /// let gone = HealthStatus::unhealthy("no route");
    /// let all = HealthStatus::overall([&HealthStatus::healthy(), &cold, &gone]);
    /// assert_eq!(all.status, PluginStatus::Unhealthy);
    /// assert_eq!(all.message, "Issues detected: cache is cold; no route");
    /// ```
    pub fn overall<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        /// So that the message of a large set can be read, and is bounded.
        const MAX_ISSUES: usize = 32;
        let (mut status, mut messages, mut issues) = (PluginStatus::Healthy, Vec::new(), 0);
        let mut last_check = None;
        for part in parts {
            last_check = last_check.max(part.last_check);
            match part.status {
                PluginStatus::Unknown | PluginStatus::Healthy => continue,
                PluginStatus::Degraded if status == PluginStatus::Unhealthy => {}
                PluginStatus::Degraded => status = PluginStatus::Degraded,
                PluginStatus::Unhealthy | PluginStatus::Offline => {
                    status = PluginStatus::Unhealthy;
                }
            }
            issues += 1;
            if issues <= MAX_ISSUES {
                messages.push(&*part.message);
            }
        }
        let message = match issues {
            0 => "All components healthy".to_owned(),
            1..=MAX_ISSUES => format!("Issues detected: {}", messages.join("; ")),
            _ => {
                let more = issues - MAX_ISSUES;
                format!("Issues detected: {}; and {more} more", messages.join("; "))
            }
        };
        Self { last_check, ..Self::new(status).with_message(message) }
    }

    /// Reads the answer of a plugin. `None` if it has no status; a status is a number or a name. Other
    /// members are ignored if their type is another one than ours.
    #[cfg(feature = "http")]
    pub(crate) fn read(text: &str) -> Option<Self> {
        let [status, message, last_check, response_time, metadata] =
            wire::members(text, ["status", "message", "last_check", "response_time", "metadata"])
                .ok()?;
        let status = status?.get();
        let status = match serde_json::from_str::<i64>(status) {
            Ok(number) => PluginStatus::from_number(number),
            Err(_) => PluginStatus::from_name(&serde_json::from_str::<String>(status).ok()?)?,
        };
        let nanos = wire::value::<i64>(response_time).unwrap_or_default();
        let last_check = wire::value::<String>(last_check).unwrap_or_default();
        Some(Self {
            status,
            message: wire::value(message).unwrap_or_default(),
            last_check: parse_rfc3339(&last_check).and_then(system_time),
            response_time: Duration::from_nanos(nanos.try_into().unwrap_or_default()),
            metadata: wire::value::<wire::Pairs>(metadata).unwrap_or_default().0,
        })
    }
}

#[cfg(feature = "http")]
fn write_time<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

/// Service that reports its health, beside its calls.
///
/// Implemented by the services of every transport. Implement it for a service of yours to let a
/// [`PluginCheck`](crate::health::PluginCheck) check it.
///
/// # Example
/// ```
/// use tower_upstream::plugin::{HealthStatus, PluginHealth};
///
/// struct Cache { entries: usize }
///
/// impl PluginHealth for Cache {
///     async fn health(&self) -> HealthStatus {
///         match self.entries {
///             0 => HealthStatus::unhealthy("empty"),
///             _ => HealthStatus::healthy(),
///         }
///     }
/// }
/// ```
pub trait PluginHealth {
    /// Checks the health.
    ///
    /// # Cancel safety
    /// The future may drop at any point.
    fn health(&self) -> impl Future<Output = HealthStatus> + Send;
}

/// Status of a plugin or an endpoint. On the wire it is a number.
///
/// ```
/// use tower_upstream::plugin::PluginStatus;
/// assert!(PluginStatus::Degraded.is_usable() && !PluginStatus::Unknown.is_usable());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PluginStatus {
    /// There was no check yet. 0.
    #[default]
    Unknown,
    /// The plugin works. 1.
    Healthy,
    /// The plugin works with restrictions. 2.
    Degraded,
    /// The plugin does not work. 3.
    Unhealthy,
    /// The plugin cannot be reached. 4.
    Offline,
}

impl PluginStatus {
    #[cfg(feature = "http")]
    const ALL: [Self; 5] =
        [Self::Unknown, Self::Healthy, Self::Degraded, Self::Unhealthy, Self::Offline];

    /// Returns whether calls can succeed: healthy or degraded.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded)
    }

    /// Returns the name, such as `healthy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Offline => "offline",
        }
    }

    #[cfg(feature = "http")]
    pub(crate) fn from_number(number: i64) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|number| Self::ALL.get(number).copied())
            .unwrap_or_default()
    }

    #[cfg(feature = "http")]
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for PluginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(feature = "http")]
impl Serialize for PluginStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "http")]
    #[test]
    fn what_is_written_is_what_go_writes() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_758_375_000_500);
        let health = HealthStatus::healthy().checked_at(time, Duration::from_millis(4));
        let text = String::from_utf8(wire::to_json(&health).unwrap()).unwrap();
        assert_eq!(
            text,
            r#"{"status":1,"message":"OK","last_check":"2025-09-20T13:30:00.5Z","response_time":4000000}"#
        );
        assert_eq!(HealthStatus::read(&text), Some(health));
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_status_is_read_as_a_number_or_a_name() {
        let status = |text: &str| HealthStatus::read(text).map(|health| health.status);
        assert_eq!(status(r#"{"STATUS":"Degraded","checks":[]}"#), Some(PluginStatus::Degraded));
        assert_eq!(status(r#"{"status":4,"message":7}"#), Some(PluginStatus::Offline));
        assert_eq!(status(r#"{"status":9}"#), Some(PluginStatus::Unknown));
        assert_eq!(status(r#"{"status":"fine"}"#), None);
        assert_eq!(status("{}"), None);
        assert_eq!(status("OK"), None);
    }

    #[test]
    fn the_worst_counts_and_no_message_is_lost() {
        let of = |status, message: &str| HealthStatus::new(status).with_message(message);
        let unknown = HealthStatus::default();
        let cold = of(PluginStatus::Degraded, "cold");
        let (ill, gone) = (HealthStatus::unhealthy("ill"), of(PluginStatus::Offline, "gone"));
        let overall = |parts: &[&HealthStatus]| {
            let all = HealthStatus::overall(parts.iter().copied());
            (all.status, all.message)
        };
        let well = (PluginStatus::Healthy, "All components healthy".to_owned());
        assert_eq!(overall(&[]), well);
        assert_eq!(overall(&[&unknown, &HealthStatus::healthy()]), well);
        assert_eq!(
            overall(&[&cold, &unknown]),
            (PluginStatus::Degraded, "Issues detected: cold".to_owned())
        );
        for one in [&ill, &gone] {
            assert_eq!(
                overall(&[one, &cold, one]),
                (PluginStatus::Unhealthy, format!("Issues detected: {0}; cold; {0}", one.message))
            );
        }
        let at = |seconds| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            HealthStatus::healthy().checked_at(time, Duration::ZERO)
        };
        let last = HealthStatus::overall([&at(1), &at(3), &at(2), &unknown]).last_check;
        assert_eq!(last, at(3).last_check);
        let many = vec![&ill; 10_000];
        let (_, message) = overall(&many);
        assert!(message.ends_with("ill; and 9968 more") && message.len() < 500, "{message}");
    }
}
