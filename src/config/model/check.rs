use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    auth::{Secret, shown::is_hidden},
    endpoint::EndpointCheck,
    error::{Error, Kind},
};

/// The `health_check` of one of the `endpoints` of a plugin: what differs there from that of the plugin.
///
/// `interval` and `timeout` are for endpoints over any transport. The others are for `http` and `https`: they say
/// what the endpoint is asked for, and which answer is good.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::config::{EndpointCheckConfig, EndpointConfig};
///
/// let slow: EndpointConfig = serde_json::from_str(
///     r#"{"address": "http://10.0.0.1:8080", "health_check": {"path": "/ready", "interval": "30s"}}"#,
/// )?;
/// let check = EndpointCheckConfig::default().with_path("/ready").with_interval(Duration::from_secs(30));
/// assert_eq!(slow.health_check, Some(check));
/// assert_eq!(slow.endpoint()?.check().map(|check| check.path()), Some("/ready"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct EndpointCheckConfig {
    /// Path that is requested, below that of the address. Default: that of the plugin.
    #[serde(alias = "endpoint", skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Time from one check to the next, from 100 ms to an hour. Default: that of the plugin.
    #[serde(with = "crate::duration::option", skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Time limit of a check, from 1 ms; that of the plugin bounds it. Default: that of the plugin.
    #[serde(with = "crate::duration::option", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Method of the request. Default: `GET`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Headers of the request. Default: none.
    #[serde(skip_serializing_if = "is_hidden")]
    pub headers: BTreeMap<String, Secret>,
    /// Body of the request, at most 64 KiB. Default: none.
    #[serde(skip_serializing_if = "is_hidden")]
    pub body: Secret,
    /// First and last status of a good answer. Default: 200 to 299.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<(u16, u16)>,
}

crate::written::names_keys!(EndpointCheckConfig);

const MIN_INTERVAL: Duration = Duration::from_millis(100);
const MAX_INTERVAL: Duration = Duration::from_secs(3_600);
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

impl EndpointCheckConfig {
    setters! {
        with_path: path = impl Into<String>;
        with_interval: interval = impl Into<Option<Duration>>;
        with_timeout: timeout = impl Into<Option<Duration>>;
        with_method: method = impl Into<String>;
        with_body: body = impl Into<Secret>;
        with_expected: expected = impl Into<Option<(u16, u16)>>;
    }

    /// Adds a header, or replaces its value.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Whether it says what to ask for.
    pub(crate) fn asks(&self) -> bool {
        let times = Self { interval: self.interval, timeout: self.timeout, ..Self::default() };
        *self != times
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`], which names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let bare = Self { headers: BTreeMap::new(), ..Self::default() };
        let is_wrong = |part: Self| part.check().is_err();
        let is_wrong_header = |(name, value): (&String, &Secret)| {
            is_wrong(bare.clone().with_header(name, value.expose()))
        };
        let (interval, timeout) = (self.interval, self.timeout);
        let mistakes: Vec<_> = [
            (
                is_wrong(bare.clone().with_path(&*self.path)),
                "`path` must begin with `/`, and be without white space and `#`",
            ),
            (
                interval.is_some_and(|of| !(MIN_INTERVAL..=MAX_INTERVAL).contains(&of)),
                "`interval` must be from 100 ms to an hour",
            ),
            (timeout.is_some_and(|of| of < MIN_TIMEOUT), "`timeout` must be at least 1 ms"),
            (
                is_wrong(bare.clone().with_method(&*self.method)),
                "`method` must be that of an HTTP request, and not `CONNECT`",
            ),
            (self.headers.iter().any(is_wrong_header), "`headers` must be such as can be sent"),
            (
                is_wrong(bare.clone().with_body(self.body.clone())),
                "`body` must not be longer than 64 KiB",
            ),
            (
                self.expected
                    .is_some_and(|(first, last)| first > last || first < 100 || last > 599),
                "`expected` must be two statuses from 100 to 599, the lower one first",
            ),
        ]
        .into_iter()
        .filter_map(|(is_wrong, text)| is_wrong.then_some(text))
        .collect();
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("health_check: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    /// The check of an endpoint.
    pub(crate) fn check(&self) -> Result<EndpointCheck, Error> {
        let mut check = match &*self.path {
            "" => EndpointCheck::default(),
            path => EndpointCheck::get(path)?,
        };
        if !self.method.is_empty() {
            check = check.with_method(&*self.method)?;
        }
        for (name, value) in &self.headers {
            check = check.with_header(name, value.expose())?;
        }
        if !self.body.is_empty() {
            check = check.with_body(self.body.expose())?;
        }
        check = self.interval.into_iter().fold(check, EndpointCheck::with_interval);
        check = self.timeout.into_iter().fold(check, EndpointCheck::with_timeout);
        let expected = self.expected.map(|(first, last)| first..=last);
        Ok(expected.into_iter().fold(check, EndpointCheck::with_expected))
    }
}

/// Leaves out the body and the values of headers, which may be secrets.
impl fmt::Debug for EndpointCheckConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointCheckConfig")
            .field("path", &self.path)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("method", &self.method)
            .field("headers", &self.headers.keys())
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// The `locality` of one of the `endpoints` of a plugin. Empty parts are unknown.
///
/// ```
/// use tower_upstream::config::EndpointConfig;
/// let near: EndpointConfig = serde_json::from_str(
///     r#"{"address": "http://10.0.0.1:8080", "locality": {"region": "eu", "zone": "eu-1a"}}"#,
/// )?;
/// assert_eq!(near.endpoint()?.locality().zone, "eu-1a");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct LocalityConfig {
    /// Region. Default: unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Zone. Default: unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Part of the zone. Default: unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sub_zone: String,
}

crate::written::names_keys!(LocalityConfig);

impl LocalityConfig {
    setters! {
        with_region: region = impl Into<String>;
        with_zone: zone = impl Into<String>;
        with_sub_zone: sub_zone = impl Into<String>;
    }
}
