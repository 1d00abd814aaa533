use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, value::MapAccessDeserializer, value::SeqAccessDeserializer},
};
use serde_json::Value;

use super::{
    balance::BalanceSection,
    breaker::BreakerSection,
    concurrency::ConcurrencySection,
    failover::FailoverSection,
    fallback::FallbackConfig,
    place::{DiscoverConfig, EndpointConfig},
    retry::RetrySection,
    sections::Sections,
};
use crate::{
    auth::{AuthConfig, Secret, shown::is_hidden},
    budget::BudgetConfig,
    endpoint::without_user,
    health::HealthConfig,
    limit::RateLimitConfig,
    transport::HttpConfig,
};

/// One plugin of a file: where it is, how it is reached, and what stands before it.
///
/// A section that is left out is taken from the [`defaults`](super::Config::defaults).
///
/// # Example
/// ```
/// use tower_upstream::config::PluginConfig;
///
/// let tax: PluginConfig = serde_json::from_str(
///     r#"{"name": "tax", "transport": "https", "endpoint": "https://tax.example",
///         "retry": {"max_retries": 2}, "timeout": "5s"}"#,
/// )?;
/// assert_eq!((tax.name.as_str(), tax.transport.as_str()), ("tax", "https"));
/// assert_eq!(tax.retry.map(|retry| retry.config.attempts), Some(3));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct PluginConfig {
    /// Name, by which it is called. No other plugin has it.
    pub name: String,
    /// What the plugin is for, such as `payment`, or the name of its factory. Plugins of one type are a group.
    /// Default: none.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Version. Default: unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// How it is reached: `http`, `https`, `grpc`, `grpc-tls`, `unix`, `exec`, or the name of a factory.
    pub transport: String,
    /// Its address: a URL, `host:port`, the path of a socket, or that of a program.
    #[serde(skip_serializing_if = "String::is_empty", serialize_with = "super::masked::address")]
    pub endpoint: String,
    /// Several addresses, in place of `endpoint`. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointConfig>,
    /// What finds its addresses, in place of `endpoint`. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discover: Option<DiscoverConfig>,
    /// Order among the plugins of one type: the greatest comes first. (Of endpoints, the lowest tier does.)
    /// Default: 0.
    pub priority: i64,
    /// Whether it may be called. Default: true.
    pub enabled: bool,
    /// Program of `exec`. Default: `endpoint`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub executable: String,
    /// Arguments of the program. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Variables of the environment of the program: a list of `NAME=value`, as in Go, or an object.
    /// Default: none.
    #[serde(skip_serializing_if = "is_hidden", deserialize_with = "list_or_map")]
    pub env: BTreeMap<String, Secret>,
    /// Directory in which the program runs. Default: that of this process.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub work_dir: String,
    /// How calls prove that they may be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthConfig>,
    /// How often a call is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySection>,
    /// When calls stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<BreakerSection>,
    /// How health is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthConfig>,
    /// How endpoints are connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<HttpConfig>,
    /// How many calls may come in a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitConfig>,
    /// How an endpoint is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<BalanceSection>,
    /// What attempts have beside `retry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover: Option<FailoverSection>,
    /// What pays for retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetConfig>,
    /// How many calls may be in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencySection>,
    /// Time limit of a call that has no deadline; 0 is none.
    #[serde(with = "crate::duration::option", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What answers after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<FallbackConfig>,
    /// Settings of its transport, or of its factory, by their own names. Of a transport of this crate, each is one of
    /// those that its config has, over what `connection` says. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "super::masked::values")]
    pub options: BTreeMap<String, Value>,
    /// Labels, by which plugins are looked for. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Notes about the plugin. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

crate::written::names_keys!(PluginConfig);

impl Default for PluginConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: String::new(),
            version: String::new(),
            transport: String::new(),
            endpoint: String::new(),
            endpoints: Vec::new(),
            discover: None,
            priority: 0,
            enabled: true,
            executable: String::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
            work_dir: String::new(),
            auth: None,
            retry: None,
            circuit_breaker: None,
            health_check: None,
            connection: None,
            rate_limit: None,
            balance: None,
            failover: None,
            budget: None,
            concurrency: None,
            timeout: None,
            fallback: None,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

impl PluginConfig {
    /// Creates a plugin without an address.
    pub fn new(name: impl Into<String>, transport: impl Into<String>) -> Self {
        Self { name: name.into(), transport: transport.into(), ..Self::default() }
    }

    setters! {
        with_kind: kind = impl Into<String>;
        with_version: version = impl Into<String>;
        with_endpoint: endpoint = impl Into<String>;
        with_discover: discover = impl Into<Option<DiscoverConfig>>;
        with_priority: priority = i64;
        with_enabled: enabled = bool;
        with_executable: executable = impl Into<String>;
        with_args: args = each impl Into<String>;
        with_work_dir: work_dir = impl Into<String>;
        with_auth: auth = impl Into<Option<AuthConfig>>;
        with_retry: retry = impl Into<Option<RetrySection>>;
        with_circuit_breaker: circuit_breaker = impl Into<Option<BreakerSection>>;
        with_health_check: health_check = impl Into<Option<HealthConfig>>;
        with_connection: connection = impl Into<Option<HttpConfig>>;
        with_rate_limit: rate_limit = impl Into<Option<RateLimitConfig>>;
        with_balance: balance = impl Into<Option<BalanceSection>>;
        with_failover: failover = impl Into<Option<FailoverSection>>;
        with_budget: budget = impl Into<Option<BudgetConfig>>;
        with_concurrency: concurrency = impl Into<Option<ConcurrencySection>>;
        with_timeout: timeout = impl Into<Option<Duration>>;
        with_fallback: fallback = impl Into<Option<FallbackConfig>>;
    }

    /// Sets [`endpoints`](Self::endpoints).
    #[must_use]
    pub fn with_endpoints<E: Into<EndpointConfig>>(
        mut self,
        endpoints: impl IntoIterator<Item = E>,
    ) -> Self {
        self.endpoints = endpoints.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a variable of the [`env`](Self::env) of its program, or replaces its value.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Adds one of the [`options`](Self::options), or replaces its value.
    #[must_use]
    pub fn with_option(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Adds one of the [`labels`](Self::labels), or replaces its value.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Adds one of the [`annotations`](Self::annotations), or replaces its value.
    #[must_use]
    pub fn with_annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// Returns every section, with those of `defaults` for what is left out.
    ///
    /// ```
    /// use tower_upstream::config::{PluginConfig, Sections};
    /// let tax = PluginConfig::new("tax", "http").sections(&Sections::go());
    /// assert_eq!(tax.retry.config.attempts, 4);
    /// ```
    pub fn sections(&self, defaults: &Sections) -> Sections {
        macro_rules! sections {
            ($($section:ident)+) => {
                Sections {
                    $($section: self.$section.as_ref().unwrap_or(&defaults.$section).clone(),)+
                }
            };
        }
        sections!(
            auth retry circuit_breaker health_check connection rate_limit balance failover budget
            concurrency fallback timeout
        )
    }

    /// With all of `sections` in place of its own.
    pub(crate) fn with_sections(self, sections: &Sections) -> Self {
        Self {
            auth: Some(sections.auth.clone()),
            retry: Some(sections.retry.clone()),
            circuit_breaker: Some(sections.circuit_breaker.clone()),
            health_check: Some(sections.health_check.clone()),
            connection: Some(sections.connection.clone()),
            rate_limit: Some(sections.rate_limit.clone()),
            balance: Some(sections.balance.clone()),
            failover: Some(sections.failover.clone()),
            budget: Some(sections.budget),
            concurrency: Some(sections.concurrency.clone()),
            timeout: Some(sections.timeout),
            fallback: Some(sections.fallback.clone()),
            ..self
        }
    }
}

/// Leaves out what may be secret: the user of an address, `env`, and the values of `options`.
impl fmt::Debug for PluginConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("PluginConfig");
        debug
            .field("name", &self.name)
            .field("type", &self.kind)
            .field("transport", &self.transport)
            .field("endpoint", &without_user(&self.endpoint))
            .field("endpoints", &self.endpoints)
            .field("discover", &self.discover)
            .field("priority", &self.priority)
            .field("enabled", &self.enabled)
            .field("executable", &self.executable)
            .field("args", &self.args.len())
            .field("env", &self.env.keys())
            .field("options", &self.options.keys());
        macro_rules! sections {
            ($($section:ident)+) => {
                $(if let Some(section) = &self.$section {
                    debug.field(stringify!($section), section);
                })+
            };
        }
        sections!(auth retry circuit_breaker health_check connection rate_limit);
        sections!(balance failover budget concurrency timeout fallback);
        debug.finish_non_exhaustive()
    }
}

/// Reads `["NAME=value"]`, or an object.
pub(in crate::config) fn list_or_map<'de, D>(
    deserializer: D,
) -> Result<BTreeMap<String, Secret>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Visitor;

    impl<'de> de::Visitor<'de> for Visitor {
        type Value = BTreeMap<String, Secret>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of `NAME=value`, or an object")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Deserialize::deserialize(MapAccessDeserializer::new(map))
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            let list = Vec::<Secret>::deserialize(SeqAccessDeserializer::new(seq))?;
            let pairs = list.iter().enumerate().map(|(index, pair)| {
                let (name, value) = pair.expose().split_once('=').ok_or_else(|| {
                    de::Error::custom(format!("[{index}] is not of the form `NAME=value`"))
                })?;
                Ok((name.to_owned(), Secret::from(value)))
            });
            pairs.collect()
        }
    }

    deserializer.deserialize_any(Visitor)
}
