//! Stable codes of errors.

use std::fmt;

/// Stable code of an error, such as `CIRCUIT_1401`.
///
/// The codes are those of the Go plugin manager that this crate replaces, so dashboards and alerts
/// stay as they are. Four are new: `PLUGIN_1206`, `PLUGIN_1207`, `PLUGIN_1208` and `RATELIMIT_1502`.
/// Each [`Kind`](super::Kind) has a code; rarer errors have one of their own, and so does the answer
/// of a plugin that begins with a code in brackets.
///
/// # Example
/// ```
/// use tower_upstream::error::Code;
///
/// fn is_page_worthy(code: Code) -> bool {
///     matches!(code, Code::LOADBALANCER_1701 | Code::LOADBALANCER_1702)
///         || code.category() == "SECURITY"
/// }
/// # assert!(!is_page_worthy(Code::CIRCUIT_1401));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(&'static str);

macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        impl Code {
            $($(#[$doc])+ pub const $name: Self = Self(stringify!($name));)+

            /// All codes, such as for a dashboard that lists them.
            ///
            /// ```
            /// use tower_upstream::error::Code;
            /// let limits = Code::ALL.iter().filter(|code| code.category() == "RATELIMIT");
            /// assert_eq!(limits.count(), 2);
            /// ```
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

codes! {
    /// A plugin in a config is not valid.
    PLUGIN_1001,
    /// A plugin has no transport.
    PLUGIN_1002,
    /// A transport over the network has no endpoint.
    PLUGIN_1003,
    /// The URL of an endpoint cannot be parsed.
    PLUGIN_1004,
    /// The URL of an endpoint lacks its scheme or host.
    PLUGIN_1005,
    /// A Unix transport has no socket path.
    PLUGIN_1006,
    /// A process transport has no executable.
    PLUGIN_1007,
    /// The transport is not supported.
    PLUGIN_1008,
    /// No plugins are configured.
    PLUGIN_1009,
    /// Two plugins have the same name.
    PLUGIN_1010,
    /// A config is not valid JSON.
    PLUGIN_1011,
    /// The API key is missing.
    AUTH_1101,
    /// The bearer token is missing.
    AUTH_1102,
    /// The user name or password is missing.
    AUTH_1103,
    /// The client certificate or its key is missing.
    AUTH_1104,
    /// The authentication method is not supported, or its settings are not valid.
    AUTH_1105,
    /// There is no plugin of that name.
    PLUGIN_1201,
    /// The plugin is disabled.
    PLUGIN_1202,
    /// The call failed, and so did every attempt to repeat it.
    PLUGIN_1203,
    /// A deadline passed.
    PLUGIN_1204,
    /// The endpoint could not be reached, or the connection broke.
    PLUGIN_1205,
    /// The plugin answered with an error of its own. Not known to the Go plugin manager.
    PLUGIN_1206,
    /// The service behind an endpoint failed. Not known to the Go plugin manager.
    PLUGIN_1207,
    /// The request cannot be sent as it is. Not known to the Go plugin manager.
    PLUGIN_1208,
    /// HTTP transport error.
    TRANSPORT_1301,
    /// gRPC transport error.
    TRANSPORT_1302,
    /// Unix socket transport error.
    TRANSPORT_1303,
    /// Process transport error.
    TRANSPORT_1304,
    /// A circuit breaker is open.
    CIRCUIT_1401,
    /// A call under a circuit breaker timed out.
    CIRCUIT_1402,
    /// A rate limit is spent.
    RATELIMIT_1501,
    /// Too many calls at once. Not known to the Go plugin manager.
    RATELIMIT_1502,
    /// A health check failed.
    HEALTH_1601,
    /// A health check timed out.
    HEALTH_1602,
    /// There are no endpoints.
    LOADBALANCER_1701,
    /// There are endpoints, but none that can be used.
    LOADBALANCER_1702,
    /// The config file does not exist.
    CONFIG_1701,
    /// The config cannot be parsed.
    CONFIG_1702,
    /// The config is not valid.
    CONFIG_1703,
    /// The config cannot be watched.
    CONFIG_1704,
    /// A path in the config is not valid.
    CONFIG_1705,
    /// The config file cannot be read.
    CONFIG_1706,
    /// The config file must not be read.
    CONFIG_1707,
    /// A security policy refuses the plugin.
    SECURITY_1801,
    /// The list of allowed plugins cannot be used.
    SECURITY_1802,
    /// The hash of a plugin cannot be computed.
    SECURITY_1803,
    /// A path leads out of its directory.
    SECURITY_1804,
    /// A plugin's file or the list of allowed plugins cannot be opened.
    SECURITY_1805,
    /// The audit log cannot be written.
    SECURITY_1806,
    /// The registry of plugins cannot do what was asked, such as after its shutdown.
    REGISTRY_1901,
    /// A plugin cannot be isolated.
    REGISTRY_1902,
    /// A plugin's process failed, or answered with an error.
    REGISTRY_1903,
    /// A factory of plugins is missing, or failed.
    REGISTRY_1904,
    /// A client of the registry is missing or unhealthy.
    REGISTRY_1905,
    /// The discovery of plugins failed.
    REGISTRY_1906,
    /// A plugin cannot be created.
    REGISTRY_1907,
    /// A subprocess cannot be operated.
    REGISTRY_1908,
    /// RPC error.
    RPC_2001,
    /// The handshake with a plugin failed.
    RPC_2002,
    /// The exchange of messages with a plugin failed.
    RPC_2003,
    /// What came is not what was expected: the hash of a plugin's program.
    RPC_2004,
    /// A message cannot be written or read.
    RPC_2005,
}

impl Code {
    /// Returns the code as text, such as `CIRCUIT_1401`.
    ///
    /// ```
    /// use tower_upstream::error::Code;
    /// assert_eq!(Code::CIRCUIT_1401.as_str(), "CIRCUIT_1401");
    /// ```
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Returns the part of the system that the code belongs to, such as `CIRCUIT`.
    ///
    /// ```
    /// use tower_upstream::error::Code;
    /// assert_eq!(Code::CIRCUIT_1401.category(), "CIRCUIT");
    /// ```
    pub fn category(self) -> &'static str {
        self.0.split_once('_').map_or(self.0, |(category, _)| category)
    }

    /// Returns the number of the code, such as 1401. Only the category and the number together are
    /// unique: there are a `LOADBALANCER_1701` and a `CONFIG_1701`.
    ///
    /// ```
    /// use tower_upstream::error::Code;
    /// assert_eq!(Code::CIRCUIT_1401.number(), 1401);
    /// ```
    pub fn number(self) -> u16 {
        self.0.split_once('_').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
    }

    /// Takes the code off a text that begins with one in brackets, as errors of this crate and of the
    /// Go plugin manager do.
    #[cfg(feature = "http")]
    pub(crate) fn split_off(text: &str) -> (Option<Self>, &str) {
        let parts = text.strip_prefix('[').and_then(|text| text.split_once(']'));
        let found = parts.and_then(|(code, rest)| {
            let code = Self::ALL.iter().find(|known| known.0 == code)?;
            Some((Some(*code), rest.strip_prefix(':').unwrap_or(rest).trim_start()))
        });
        found.unwrap_or((None, text))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_code_has_a_category_and_a_number_and_there_is_one_of_each() {
        for code in Code::ALL {
            assert_eq!(format!("{}_{}", code.category(), code.number()), code.as_str());
            assert!((1_001..=2_005).contains(&code.number()), "{code}");
        }
        let ours = [Code::PLUGIN_1206, Code::PLUGIN_1207, Code::PLUGIN_1208, Code::RATELIMIT_1502];
        let all: HashSet<_> = Code::ALL.iter().collect();
        assert_eq!((all.len(), Code::ALL.len()), (58 + ours.len(), 58 + ours.len()));
    }

    #[cfg(feature = "http")]
    #[test]
    fn only_a_known_code_in_front_is_taken_off_a_text() {
        let limit = Some(Code::RATELIMIT_1501);
        for (text, found) in [
            ("[RATELIMIT_1501] rate limit exceeded", (limit, "rate limit exceeded")),
            ("[RATELIMIT_1501]: rate limit exceeded", (limit, "rate limit exceeded")),
            ("[RATELIMIT_1501]", (limit, "")),
            ("[RATELIMIT_9999] x", (None, "[RATELIMIT_9999] x")),
            ("[ratelimit_1501] x", (None, "[ratelimit_1501] x")),
            ("a [RATELIMIT_1501] x", (None, "a [RATELIMIT_1501] x")),
            ("[RATELIMIT_1501 x", (None, "[RATELIMIT_1501 x")),
            ("", (None, "")),
        ] {
            assert_eq!(Code::split_off(text), found, "{text}");
        }
    }
}
