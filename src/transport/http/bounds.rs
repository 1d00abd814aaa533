//! What values the settings may have.

use std::ops::RangeInclusive;

use super::{
    super::limit::contradiction,
    config::{HttpConfig, MAX_AGE},
};
use crate::{
    endpoint::without_user,
    error::{Error, Kind},
    time,
};

const HEADER_BYTES: RangeInclusive<usize> = 8 << 10..=16 << 20;

impl HttpConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once. A
    /// transport clamps them instead; but a `health_path` with a user name is not requested, and its
    /// member is reported as unhealthy.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        for (name, value) in [
            ("request_timeout", self.request_timeout),
            ("connect_timeout", self.connect_timeout),
            ("idle_timeout", self.idle_timeout),
        ] {
            if value.is_zero() {
                mistakes.push(format!("`{name}` is zero, but must be longer"));
            }
        }
        mistakes.extend(contradiction(
            self.request_timeout,
            self.connect_timeout,
            Self::default().connect_timeout,
        ));
        if self.max_connections == Some(0) {
            mistakes.push("`max_connections` is 0, but must be more, or none".to_owned());
        }
        if self.max_connection_age.is_some_and(|age| age.is_zero()) {
            mistakes.push("`max_connection_age` is zero, but must be longer, or none".to_owned());
        }
        if self.max_response_bytes == 0 {
            mistakes.push("`max_response_bytes` is 0, but must be more".to_owned());
        }
        if !HEADER_BYTES.contains(&self.max_header_bytes) {
            mistakes.push(format!(
                "`max_header_bytes` is {}, but must be from {} to {}",
                self.max_header_bytes,
                HEADER_BYTES.start(),
                HEADER_BYTES.end()
            ));
        }
        if has_user(&self.health_path) {
            mistakes.push(format!(
                "`health_path` is `{}`, but must not hold a user name",
                without_user(&self.health_path)
            ));
        }
        #[cfg(feature = "tls")]
        mistakes.extend(self.tls.mistake().map(str::to_owned));
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("http: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    pub(in crate::transport) fn clamped(mut self) -> Self {
        let default = Self::default();
        for (duration, default) in [
            (&mut self.request_timeout, default.request_timeout),
            (&mut self.connect_timeout, default.connect_timeout),
            (&mut self.idle_timeout, default.idle_timeout),
        ] {
            *duration = if duration.is_zero() { default } else { (*duration).min(time::FAR) };
        }
        self.max_connections = self.max_connections.map(|max| max.max(1));
        self.max_connection_age = self
            .max_connection_age
            .map(|age| if age.is_zero() { MAX_AGE } else { age.min(time::FAR) });
        for (size, default) in [
            (&mut self.max_response_bytes, default.max_response_bytes),
            (&mut self.max_header_bytes, default.max_header_bytes),
        ] {
            if *size == 0 {
                *size = default;
            }
        }
        self.max_header_bytes =
            self.max_header_bytes.clamp(*HEADER_BYTES.start(), *HEADER_BYTES.end());
        self
    }
}

/// Whether the authority of a URL holds more than a host and a port.
pub(super) fn has_user(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}
