use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, value::MapAccessDeserializer},
};
use serde_json::Value;

use crate::error::{Error, Kind};

/// The `fallback` section of a plugin: what answers after a failure. The name of a strategy or of another
/// plugin, or an object with more than that.
///
/// | `strategy` | answers with |
/// |---|---|
/// | `none` | the error |
/// | `default` | `default_response` |
/// | `cached` | the last good answer to the same request, at most `cache_duration` old |
/// | any other text | what the plugin of that name answers |
///
/// It answers once the call has ended. While no endpoint can be used, such as when all circuits are open, a call first
/// waits for one, for up to `fail_fast_after` of the `balance` section, a second by default. The reply has
/// `fallback: true` among its [metadata](crate::Reply::metadata).
///
/// # Example
/// ```
/// use tower_upstream::config::FallbackConfig;
/// let other: FallbackConfig = serde_json::from_str("\"tax-archive\"")?;
/// assert_eq!(other.plugin(), Some("tax-archive"));
/// let cached: FallbackConfig =
///     serde_json::from_str(r#"{"strategy": "cached", "cache_duration": "10m"}"#)?;
/// assert_eq!((cached.max_entries, cached.plugin()), (1_000, None));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct FallbackConfig {
    /// Whether there is a fallback. Default: true.
    pub enabled: bool,
    /// What answers: `none`, `default`, `cached`, or the name of another plugin. Default: `none`.
    pub strategy: String,
    /// Answer of `default`, as JSON. Default: `null`.
    pub default_response: Value,
    /// Whether answers are kept for `cached`. Default: true.
    pub enable_caching: bool,
    /// Longest time for which an answer is kept. Default: 5 min.
    #[serde(with = "crate::duration::serde")]
    pub cache_duration: Duration,
    /// Most answers that are kept, from 1. The one that was used least recently goes first.
    /// Default: 1,000.
    pub max_entries: usize,
    /// Most bytes of requests and answers that are kept. Default: 16 MiB.
    pub max_bytes: usize,
}

impl Default for FallbackConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            strategy: "none".to_owned(),
            default_response: Value::Null,
            enable_caching: true,
            cache_duration: Duration::from_secs(300),
            max_entries: 1_000,
            max_bytes: 16 << 20,
        }
    }
}

const OURS: [&str; 5] = ["", "none", "default", "cached", "graceful"];

impl FallbackConfig {
    /// The strategies that are there, beside the names of plugins.
    pub(crate) const NAMED: [&str; 3] = ["none", "default", "cached"];

    /// Creates a section by the name of its strategy, or of another plugin.
    pub fn new(strategy: impl Into<String>) -> Self {
        Self { strategy: strategy.into(), ..Self::default() }
    }

    /// Returns the defaults of the Go plugin manager: none.
    pub fn go() -> Self {
        Self::default()
    }

    setters! {
        with_enabled: enabled = bool;
        with_enable_caching: enable_caching = bool;
        with_default_response: default_response = impl Into<Value>;
        with_cache_duration: cache_duration = Duration;
        with_max_entries: max_entries = usize;
        with_max_bytes: max_bytes = usize;
    }

    /// Returns the name of the plugin that answers, if one does.
    pub fn plugin(&self) -> Option<&str> {
        let name = self.strategy.as_str();
        (self.enabled && !OURS.contains(&name)).then_some(name)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`], which names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let is_cached = self.strategy == "cached";
        let mistakes: Vec<_> = [
            (
                self.strategy == "graceful",
                "`graceful` guesses from the names of methods, and is not there; use `default` with a \
                 `default_response`, `cached`, or the name of another plugin",
            ),
            (
                is_cached && self.cache_duration < Duration::from_millis(1),
                "`cache_duration` must be at least 1 ms",
            ),
            (is_cached && self.max_entries == 0, "`max_entries` is 0, but must be at least 1"),
            (is_cached && self.max_bytes == 0, "`max_bytes` is 0, but must be at least 1"),
            (
                is_cached && !self.enable_caching,
                "`cached` has nothing to answer with while `enable_caching` is false",
            ),
        ]
        .into_iter()
        .filter_map(|(is_wrong, text)| is_wrong.then_some(text))
        .collect();
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("fallback: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }
}

/// A name alone is text.
#[cfg(not(doc))]
impl Serialize for FallbackConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::new(&*self.strategy) {
            return serializer.serialize_str(&self.strategy);
        }
        Self::serialize(self, serializer)
    }
}

#[cfg(not(doc))]
impl<'de> Deserialize<'de> for FallbackConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = FallbackConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`none`, `default`, `cached`, the name of a plugin, or a section")
            }

            fn visit_str<E: de::Error>(self, strategy: &str) -> Result<FallbackConfig, E> {
                Ok(FallbackConfig::new(strategy))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<FallbackConfig, A::Error> {
                FallbackConfig::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Leaves out the answer, which may be secret.
impl fmt::Debug for FallbackConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackConfig")
            .field("enabled", &self.enabled)
            .field("strategy", &self.strategy)
            .field("cache_duration", &self.cache_duration)
            .field("max_entries", &self.max_entries)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}
