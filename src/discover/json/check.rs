//! How an endpoint is checked, in JSON.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{endpoint::EndpointCheck, error::Error};

/// Keys that are not known.
pub(super) type Unknown = BTreeMap<String, IgnoredAny>;

#[derive(Deserialize, Serialize)]
pub(super) struct Check {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::duration::option")]
    interval: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::duration::option")]
    timeout: Option<Duration>,
    /// First and last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected: Option<(u16, u16)>,
    #[serde(flatten, skip_serializing)]
    pub(super) others: Unknown,
}

impl Check {
    pub(super) fn of(check: &EndpointCheck) -> Self {
        Self {
            path: check.path().to_owned(),
            method: check.method().map(str::to_owned),
            headers: check.headers().clone(),
            body: check.body().map(str::to_owned),
            interval: check.interval(),
            timeout: check.timeout(),
            expected: check.expected().map(|statuses| (*statuses.start(), *statuses.end())),
            others: Unknown::default(),
        }
    }

    pub(super) fn read(self) -> Result<EndpointCheck, Error> {
        let mut check = match self.path {
            path if path.is_empty() => EndpointCheck::default(),
            path => EndpointCheck::get(path)?,
        };
        if let Some(method) = self.method {
            check = check.with_method(method)?;
        }
        for (name, value) in self.headers {
            check = check.with_header(name, value)?;
        }
        if let Some(body) = self.body {
            check = check.with_body(body)?;
        }
        check = self.interval.into_iter().fold(check, EndpointCheck::with_interval);
        check = self.timeout.into_iter().fold(check, EndpointCheck::with_timeout);
        let expected = self.expected.map(|(first, last)| first..=last);
        Ok(expected.into_iter().fold(check, EndpointCheck::with_expected))
    }
}
