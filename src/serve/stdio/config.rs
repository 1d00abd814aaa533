use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Kind},
    plugin::Handshake,
    time, wire,
};

/// Settings of a plugin that is served over stdin and stdout.
///
/// In a file, durations are text such as `"1m30s"`, or nanoseconds.
///
/// # Example
/// ```
/// use tower_upstream::serve::StdioConfig;
///
/// let config = StdioConfig::default().with_max_calls(64).with_require_handshake(true);
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StdioConfig {
    /// Most calls at once. While there are so many, no more is read. Default: 1,024.
    pub max_calls: usize,
    /// Most bytes of a question. More is an error, and is skipped up to the end of the line. Default: 16 MiB.
    pub max_line_bytes: usize,
    /// Longest time for calls to end once the plugin stops; then they are dropped. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub drain_timeout: Duration,
    /// Whether to end with an error if the variables of the `handshake` are not set, which says that no host
    /// has started the program. Default: `false`.
    pub require_handshake: bool,
    /// Variables by which a host tells a plugin that it was started as one.
    pub handshake: Handshake,
}

impl Default for StdioConfig {
    fn default() -> Self {
        Self {
            max_calls: 1_024,
            max_line_bytes: wire::MAX_BODY,
            drain_timeout: Duration::from_secs(30),
            require_handshake: false,
            handshake: Handshake::default(),
        }
    }
}

impl StdioConfig {
    /// Sets [`max_calls`](Self::max_calls).
    #[must_use]
    pub const fn with_max_calls(mut self, most: usize) -> Self {
        self.max_calls = most;
        self
    }

    /// Sets [`max_line_bytes`](Self::max_line_bytes).
    #[must_use]
    pub const fn with_max_line_bytes(mut self, most: usize) -> Self {
        self.max_line_bytes = most;
        self
    }

    /// Sets [`drain_timeout`](Self::drain_timeout).
    #[must_use]
    pub const fn with_drain_timeout(mut self, duration: Duration) -> Self {
        self.drain_timeout = duration;
        self
    }

    /// Sets [`require_handshake`](Self::require_handshake).
    #[must_use]
    pub const fn with_require_handshake(mut self, is_set: bool) -> Self {
        self.require_handshake = is_set;
        self
    }

    /// Sets [`handshake`](Self::handshake).
    #[must_use]
    pub fn with_handshake(mut self, handshake: Handshake) -> Self {
        self.handshake = handshake;
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`], which names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let zeros = [
            ("max_calls", self.max_calls == 0),
            ("max_line_bytes", self.max_line_bytes == 0),
            ("drain_timeout", self.drain_timeout.is_zero()),
        ];
        let zeros = zeros.into_iter().filter(|(_, is_zero)| *is_zero);
        let zeros = zeros.map(|(name, _)| format!("`{name}` is zero, but must be more"));
        let long = (self.drain_timeout > time::FAR)
            .then(|| "`drain_timeout` is longer than thirty years".to_owned());
        let handshake = self.handshake.validate().err().map(|error| error.what().to_owned());
        let mistakes: Vec<_> = zeros.chain(long).chain(handshake).collect();
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("stdio: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_named() {
        let config = StdioConfig::default().with_max_calls(0).with_max_line_bytes(0);
        let text = config.with_drain_timeout(Duration::ZERO).validate().unwrap_err().to_string();
        for name in ["`max_calls`", "`max_line_bytes`", "`drain_timeout`"] {
            assert!(text.contains(name), "{text}");
        }
        let config: StdioConfig = serde_json::from_str(r#"{"drain_timeout":"2s"}"#).unwrap();
        assert_eq!(config.drain_timeout.as_secs(), 2);
    }
}
