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

/// How a plugin does, or an endpoint.
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
    /// The verdict.
    pub status: PluginStatus,
    /// What there is to say about it.
    #[cfg_attr(feature = "http", serde(skip_serializing_if = "String::is_empty"))]
    pub message: String,
    /// When it was looked at; `None` if never.
    #[cfg_attr(feature = "http", serde(serialize_with = "write_time"))]
    pub last_check: Option<SystemTime>,
    /// How long looking took.
    #[cfg_attr(feature = "http", serde(serialize_with = "crate::duration::nanoseconds"))]
    pub response_time: Duration,
    /// Anything else.
    #[cfg_attr(feature = "http", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub metadata: BTreeMap<String, String>,
}

impl HealthStatus {
    /// This verdict, without a time.
    pub fn new(status: PluginStatus) -> Self {
        Self { status, ..Self::default() }
    }

    /// All well.
    pub fn healthy() -> Self {
        Self::new(PluginStatus::Healthy).with_message("OK")
    }

    /// Not usable, and why.
    pub fn unhealthy(message: impl Into<String>) -> Self {
        Self::new(PluginStatus::Unhealthy).with_message(message)
    }

    /// Says more.
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

    /// Notes when it was looked at, and how long that took.
    #[must_use]
    pub fn checked_at(mut self, time: SystemTime, response_time: Duration) -> Self {
        self.last_check = Some(time);
        self.response_time = response_time;
        self
    }

    /// What many are together.
    ///
    /// Unhealthy if one of them is unhealthy or offline; else degraded if one is; else healthy,
    /// also where there are none, or nobody looked yet. The message is `All components healthy`, or
    /// `Issues detected: ` and what all those say that are not well, the first 32 of them.
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
        for part in parts {
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
        Self::new(status).with_message(message)
    }

    /// Reads what a plugin says, and nothing into what it does not say: `status` may be a number
    /// or its name, and a member of another type than ours is overlooked.
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

/// A service that can be asked how it does, beside its calls.
///
/// Every transport's is one; implement it for a service of yours to have it checked by
/// [`PluginCheck`](crate::health::PluginCheck).
///
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
    /// Asks. May be dropped at any point.
    fn health(&self) -> impl Future<Output = HealthStatus> + Send;
}

/// A verdict on a plugin, or an endpoint. On the wire it is a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PluginStatus {
    /// Nobody looked yet. 0.
    #[default]
    Unknown,
    /// All well. 1.
    Healthy,
    /// It works, but not as it should. 2.
    Degraded,
    /// It does not work. 3.
    Unhealthy,
    /// It is not there. 4.
    Offline,
}

impl PluginStatus {
    #[cfg(feature = "http")]
    const ALL: [Self; 5] =
        [Self::Unknown, Self::Healthy, Self::Degraded, Self::Unhealthy, Self::Offline];

    /// Whether calls make sense: healthy or degraded.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded)
    }

    /// Its name, such as `healthy`.
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
    fn from_number(number: i64) -> Self {
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
        let many = vec![&ill; 10_000];
        let (_, message) = overall(&many);
        assert!(message.ends_with("ill; and 9968 more") && message.len() < 500, "{message}");
    }
}
