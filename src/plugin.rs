//! What a plugin tells of itself.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};

use crate::wire;

/// What a plugin tells of itself: who it is, and what it can do.
///
/// ```
/// use tower_upstream::PluginInfo;
/// let info = PluginInfo::new("tax", "2.1.0").with_capability("vat");
/// assert_eq!(info.capabilities, ["vat"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PluginInfo {
    /// Its name.
    pub name: String,
    /// Its version, such as `2.1.0`.
    pub version: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who wrote it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// What it can do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Anything else.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl PluginInfo {
    /// A plugin of this name and version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), ..Self::default() }
    }

    /// Says what it is for.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Says who wrote it.
    #[must_use]
    pub fn with_author(mut self, author: impl Into<String>) -> Self {
        self.author = author.into();
        self
    }

    /// Adds something it can do.
    #[must_use]
    pub fn with_capability(mut self, capability: impl Into<String>) -> Self {
        self.capabilities.push(capability.into());
        self
    }

    /// Adds a pair of metadata, or replaces the value.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    pub(crate) fn read(text: &str) -> Result<Self, serde_json::Error> {
        let [name, version, description, author, capabilities, metadata] = wire::members(
            text,
            ["name", "version", "description", "author", "capabilities", "metadata"],
        )?;
        Ok(Self {
            name: wire::value(name)?,
            version: wire::value(version)?,
            description: wire::value(description)?,
            author: wire::value(author)?,
            capabilities: wire::value(capabilities)?,
            metadata: wire::value::<wire::Pairs>(metadata)?.0,
        })
    }
}

/// How a plugin does.
///
/// ```
/// use tower_upstream::{HealthStatus, PluginStatus};
/// let health = HealthStatus::new(PluginStatus::Degraded).with_message("cache is cold");
/// assert!(health.status.is_usable());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HealthStatus {
    /// The verdict.
    pub status: PluginStatus,
    /// What there is to say about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it was looked at; `None` if never.
    #[serde(serialize_with = "write_time")]
    pub last_check: Option<SystemTime>,
    /// How long looking took.
    #[serde(serialize_with = "crate::duration::nanoseconds")]
    pub response_time: Duration,
    /// Anything else.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
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

    /// Reads what a plugin says, and nothing into what it does not say: `status` may be a number
    /// or its name, and a member of another type than ours is overlooked.
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
            last_check: wire::parse_rfc3339(&last_check).and_then(wire::system_time),
            response_time: Duration::from_nanos(nanos.try_into().unwrap_or_default()),
            metadata: wire::value::<wire::Pairs>(metadata).unwrap_or_default().0,
        })
    }
}

fn write_time<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&wire::rfc3339(*time))
}

/// A verdict on a plugin. On the wire it is a number.
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

    fn from_number(number: i64) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|number| Self::ALL.get(number).copied())
            .unwrap_or_default()
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for PluginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for PluginStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let info = PluginInfo::new("tax", "2.1.0").with_capability("vat");
        let text = String::from_utf8(wire::to_json(&info).unwrap()).unwrap();
        assert_eq!(text, r#"{"name":"tax","version":"2.1.0","capabilities":["vat"]}"#);
        assert_eq!(PluginInfo::read(&text).unwrap(), info);
    }

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
}
