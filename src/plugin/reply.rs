//! An answer of a plugin, with its context.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::call::Call;
#[cfg(feature = "config")]
use crate::time::{self, Instant};
use crate::{
    connect::AtEndpoint,
    decision::{Decision, Explain},
};

/// Typed answer of a plugin, with its context.
///
/// # Example
/// ```
/// use tower_upstream::Reply;
/// let reply = Reply::new(1464).with_metadata("ms", "4");
/// assert_eq!((*reply.body(), reply.attempts()), (1464, 1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<T> {
    body: T,
    request_id: String,
    metadata: BTreeMap<String, String>,
    endpoint: Option<Arc<str>>,
    attempts: u32,
    duration: Duration,
    decision: Option<Arc<Decision>>,
}

impl<T> Reply<T> {
    /// Creates an answer without context, as a plugin returns it.
    pub fn new(body: T) -> Self {
        Self {
            body,
            request_id: String::new(),
            metadata: BTreeMap::new(),
            endpoint: None,
            attempts: 1,
            duration: Duration::ZERO,
            decision: None,
        }
    }

    /// Adds a pair of metadata, or replaces it.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Returns the body of the answer.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// Returns the body of the answer without its context.
    pub fn into_body(self) -> T {
        self.body
    }

    /// Replaces the body, and keeps the context.
    ///
    /// ```
    /// use tower_upstream::Reply;
    /// assert_eq!(Reply::new(7).map(|body| body * 2).into_body(), 14);
    /// ```
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Reply<U> {
        Reply {
            body: map(self.body),
            request_id: self.request_id,
            metadata: self.metadata,
            endpoint: self.endpoint,
            attempts: self.attempts,
            duration: self.duration,
            decision: self.decision,
        }
    }

    /// Returns the request id that the plugin sent back. It is not compared with that of the request.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Returns the metadata, sorted by key. A reply of `plugins::Plugins` that a `fallback` gave has
    /// `fallback: true` among it.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Returns the key of the endpoint that answered; `None` if none did, as for a value or a kept reply that a
    /// `fallback` gave.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    #[cfg(feature = "http")]
    pub(crate) fn endpoint_key(&self) -> Option<&Arc<str>> {
        self.endpoint.as_ref()
    }

    /// Returns the number of attempts that were made; 0 if a `fallback` answered before the first.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the time from the creation of the call to this answer, with all attempts and waits.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Returns why this endpoint was called, if the balancer explains it: see
    /// [`Decision`](crate::balance::Decision).
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_deref()
    }

    /// Records which endpoint answered, and the attempts and the duration of `call`. For transports.
    ///
    /// ```
    /// use tower_upstream::{Call, Reply};
    /// let reply = Reply::new(7).answering(&Call::new(()), "a:1");
    /// assert_eq!((reply.endpoint(), reply.attempts()), (Some("a:1"), 1));
    /// ```
    #[must_use]
    pub fn answering<Req>(mut self, call: &Call<Req>, endpoint: impl Into<Arc<str>>) -> Self {
        self.endpoint = Some(endpoint.into());
        self.attempts = call.attempt();
        self.duration = call.elapsed();
        self
    }

    /// Records that it stands for the answer of an endpoint: what it tells is of the call that got it, made
    /// `attempts` times since `created`.
    #[cfg(feature = "config")]
    pub(crate) fn instead(mut self, attempts: u32, created: Instant) -> Self {
        (self.endpoint, self.decision) = (None, None);
        self.request_id = String::new();
        self.attempts = attempts;
        self.duration = time::now().saturating_duration_since(created);
        self
    }

    /// Records the key of the endpoint that answered. For transports.
    ///
    /// A [`NameEndpointLayer`](crate::connect::NameEndpointLayer) does it for any service.
    ///
    /// ```
    /// use tower_upstream::Reply;
    /// assert_eq!(Reply::new(7).at_endpoint("a:1").endpoint(), Some("a:1"));
    /// ```
    #[must_use]
    pub fn at_endpoint(mut self, key: impl Into<Arc<str>>) -> Self {
        self.endpoint = Some(key.into());
        self
    }

    /// Sets the request id. For transports.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = id.into();
        self
    }
}

impl<T> AtEndpoint for Reply<T> {
    /// What was noted nearer to the endpoint stays.
    fn at_endpoint(self, key: &Arc<str>) -> Self {
        if self.endpoint.is_some() { self } else { self.at_endpoint(key.clone()) }
    }
}

impl<T> Explain for Reply<T> {
    fn explain(&mut self, decision: Arc<Decision>) {
        self.decision = Some(decision);
    }
}
