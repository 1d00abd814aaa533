use std::fmt;

use super::code::Code;

/// What happened to a call. See [`Error::kind`](super::Error::kind); the page of
/// [the module](super) tells what to do about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// The upstream has no endpoints: discovery reports none.
    NoEndpoints = 1,
    /// There are endpoints, but none that can be used.
    AllEndpointsDown,
    /// A circuit breaker is open; from a balancer, only breakers bar its endpoints.
    CircuitOpen,
    /// A rate limit is spent.
    RateLimited,
    /// Too many calls at once: a concurrency limit is full.
    Overloaded,
    /// A health gate is shut, or a health check failed.
    Unhealthy,
    /// A deadline passed.
    Timeout,
    /// The endpoint could not be reached, or the connection broke.
    Connection,
    /// The endpoint answered something that is not an answer of its protocol, or too much of it.
    Transport,
    /// The plugin answered with an error of its own.
    Plugin,
    /// An inner service failed with an error that is not one of this crate.
    Service,
    /// Several attempts failed. [`Error::history`](super::Error::history) has the error of each.
    RetryExhausted,
    /// An address, a config or a use of a client that cannot work.
    InvalidConfig,
    /// The service cannot run: there is no runtime for its background task.
    Unavailable,
    /// The request cannot be sent on: its body failed or is too long, or its path is not allowed.
    InvalidRequest,
}

impl Kind {
    /// Returns a stable name, such as `CIRCUIT_OPEN`.
    ///
    /// ```
    /// use tower_upstream::error::Kind;
    /// assert_eq!(Kind::CircuitOpen.as_str(), "CIRCUIT_OPEN");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoEndpoints => "NO_ENDPOINTS",
            Self::AllEndpointsDown => "ALL_ENDPOINTS_DOWN",
            Self::CircuitOpen => "CIRCUIT_OPEN",
            Self::RateLimited => "RATE_LIMITED",
            Self::Overloaded => "OVERLOADED",
            Self::Unhealthy => "HEALTH_CHECK_FAILED",
            Self::Timeout => "TIMEOUT",
            Self::Connection => "CONNECTION_ERROR",
            Self::Transport => "TRANSPORT_ERROR",
            Self::Plugin => "PLUGIN_ERROR",
            Self::Service => "SERVICE_ERROR",
            Self::RetryExhausted => "RETRY_EXHAUSTED",
            Self::InvalidConfig => "INVALID_CONFIG",
            Self::Unavailable => "SERVICE_UNAVAILABLE",
            Self::InvalidRequest => "INVALID_REQUEST",
        }
    }

    /// Returns the code of errors of this kind, unless they have a rarer one: see
    /// [`Error::code`](super::Error::code).
    ///
    /// ```
    /// use tower_upstream::error::{Code, Kind};
    /// assert_eq!(Kind::CircuitOpen.code(), Code::CIRCUIT_1401);
    /// ```
    pub const fn code(self) -> Code {
        match self {
            Self::NoEndpoints => Code::LOADBALANCER_1701,
            Self::AllEndpointsDown => Code::LOADBALANCER_1702,
            Self::CircuitOpen => Code::CIRCUIT_1401,
            Self::RateLimited => Code::RATELIMIT_1501,
            Self::Overloaded => Code::RATELIMIT_1502,
            Self::Unhealthy => Code::HEALTH_1601,
            Self::Timeout => Code::PLUGIN_1204,
            Self::Connection => Code::PLUGIN_1205,
            Self::Transport => Code::TRANSPORT_1301,
            Self::Plugin => Code::PLUGIN_1206,
            Self::Service => Code::PLUGIN_1207,
            Self::RetryExhausted => Code::PLUGIN_1203,
            Self::InvalidConfig => Code::CONFIG_1703,
            Self::Unavailable => Code::REGISTRY_1901,
            Self::InvalidRequest => Code::PLUGIN_1208,
        }
    }

    /// What it means, in words.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::NoEndpoints => "no endpoints: discovery has found none for this upstream",
            Self::AllEndpointsDown => "all endpoints are down",
            Self::CircuitOpen => "circuit breaker is open",
            Self::RateLimited => "rate limit exceeded",
            Self::Overloaded => "too many calls at once",
            Self::Unhealthy => "the endpoint is unhealthy",
            Self::Timeout => "the deadline passed",
            Self::Connection => "connection failed",
            Self::Transport => "the answer is not valid",
            Self::Plugin => "plugin error",
            Self::Service => "the service failed",
            Self::RetryExhausted => "all attempts failed",
            Self::InvalidConfig => "invalid configuration",
            Self::Unavailable => "no runtime: the first call must be made inside a tokio runtime",
            Self::InvalidRequest => "the request cannot be sent as it is",
        }
    }

    /// In the order of their numbers.
    pub(super) const ALL: [Self; 15] = [
        Self::NoEndpoints,
        Self::AllEndpointsDown,
        Self::CircuitOpen,
        Self::RateLimited,
        Self::Overloaded,
        Self::Unhealthy,
        Self::Timeout,
        Self::Connection,
        Self::Transport,
        Self::Plugin,
        Self::Service,
        Self::RetryExhausted,
        Self::InvalidConfig,
        Self::Unavailable,
        Self::InvalidRequest,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
