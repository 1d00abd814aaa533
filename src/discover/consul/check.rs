use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// How Consul learns the health of an instance that is announced.
///
/// ```
/// use tower_upstream::discover::{ConsulCheck, ConsulCheckKind};
/// let check = ConsulCheck::default().with_kind(ConsulCheckKind::Tcp);
/// assert_ne!(check.kind, ConsulCheckKind::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConsulCheckKind {
    /// The instance says so every third of the [`ttl`](ConsulCheck::ttl), with its
    /// [status](crate::Endpoint::status). The default.
    #[default]
    Ttl,
    /// The agent requests [`path`](ConsulCheck::path): 2xx passes, 429 warns, anything else is critical.
    Http,
    /// The agent connects.
    Tcp,
    /// The agent calls the health service of gRPC.
    Grpc,
    /// The agent sends a ping of HTTP/2. Consul 1.10 and later.
    H2ping,
    /// Nothing is checked: the instance passes while its node does.
    None,
}

/// Check of the instances that a [`ConsulRegistrar`](super::ConsulRegistrar) announces.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::discover::{ConsulCheck, ConsulCheckKind};
///
/// let check = ConsulCheck::default()
///     .with_kind(ConsulCheckKind::Http)
///     .with_path("/ready")
///     .with_interval(Duration::from_secs(5));
/// assert_eq!(check.timeout, Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct ConsulCheck {
    /// How the health is learned. Default: TTL.
    pub kind: ConsulCheckKind,
    /// Time after which an instance is critical that has not said how it is, from 3 s to a day. Default:
    /// 30 s.
    #[serde(with = "crate::duration::serde")]
    pub ttl: Duration,
    /// Time between two checks by the agent, from 1 s to a day. Default: 10 s.
    #[serde(with = "crate::duration::serde")]
    pub interval: Duration,
    /// Longest time of a check by the agent, from 1 ms to a day. Default: 5 s.
    #[serde(with = "crate::duration::serde")]
    pub timeout: Duration,
    /// Time after which Consul removes an instance that is critical, at least 1 min. An instance that lives
    /// is announced again. `None` never removes one. Default: 1 min.
    #[serde(with = "crate::duration::option")]
    pub deregister_after: Option<Duration>,
    /// Path of an HTTP check. Default: `/health`.
    pub path: String,
    /// Method of an HTTP check. Default: `GET`.
    pub method: String,
    /// Headers of an HTTP check. Default: none.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Body of an HTTP check. Default: none.
    pub body: Option<String>,
    /// Name of the service that a gRPC check asks for. Default: the whole server.
    pub grpc_service: Option<String>,
    /// Whether the agent accepts any certificate. Default: `false`.
    pub tls_skip_verify: bool,
    /// Name that the agent expects in the certificate. Default: the host.
    pub tls_server_name: Option<String>,
    /// Successes in a row, beyond the first, before the instance passes. Default: 0.
    pub success_before_passing: u32,
    /// Failures in a row, beyond the first, before the instance is critical. Default: 0.
    pub failures_before_critical: u32,
}

crate::written::names_keys!(ConsulCheck);

const DAY: Duration = Duration::from_secs(86_400);
const MIN_TTL: Duration = Duration::from_secs(3);
const MIN_INTERVAL: Duration = Duration::from_secs(1);
const MIN_TIMEOUT: Duration = Duration::from_millis(1);
const MIN_DEREGISTER: Duration = Duration::from_secs(60);

impl Default for ConsulCheck {
    fn default() -> Self {
        Self {
            kind: ConsulCheckKind::Ttl,
            ttl: Duration::from_secs(30),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            deregister_after: Some(MIN_DEREGISTER),
            path: "/health".to_owned(),
            method: "GET".to_owned(),
            headers: BTreeMap::new(),
            body: None,
            grpc_service: None,
            tls_skip_verify: false,
            tls_server_name: None,
            success_before_passing: 0,
            failures_before_critical: 0,
        }
    }
}

macro_rules! setters {
    ($($field:ident: $type:ty, $name:ident;)*) => {$(
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $name(mut self, value: impl Into<$type>) -> Self {
            self.$field = value.into();
            self
        }
    )*};
}

impl ConsulCheck {
    setters! {
        kind: ConsulCheckKind, with_kind;
        ttl: Duration, with_ttl;
        interval: Duration, with_interval;
        timeout: Duration, with_timeout;
        deregister_after: Option<Duration>, with_deregister_after;
        path: String, with_path;
        method: String, with_method;
        headers: BTreeMap<String, Vec<String>>, with_headers;
        body: Option<String>, with_body;
        grpc_service: Option<String>, with_grpc_service;
        tls_skip_verify: bool, with_tls_skip_verify;
        tls_server_name: Option<String>, with_tls_server_name;
        success_before_passing: u32, with_success_before_passing;
        failures_before_critical: u32, with_failures_before_critical;
    }

    /// The nearest sane values.
    pub(super) fn clamped(mut self) -> Self {
        self.ttl = self.ttl.clamp(MIN_TTL, DAY);
        self.interval = self.interval.clamp(MIN_INTERVAL, DAY);
        self.timeout = self.timeout.clamp(MIN_TIMEOUT, DAY);
        self.deregister_after = self.deregister_after.map(|after| after.clamp(MIN_DEREGISTER, DAY));
        self
    }
}
