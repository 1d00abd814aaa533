//! A request to a plugin, with its context.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Write},
    sync::Arc,
    time::Duration,
};

use super::call_number::{call_number, process_number};
#[cfg(feature = "config")]
use super::handed_on::HandedOn;
#[cfg(feature = "http")]
use crate::auth::Credentials;
use crate::{
    deadline::HasDeadline,
    replay::{CallOptions, Replay},
    time::{self, Instant},
};

/// Typed request to a plugin, with its context.
///
/// Failover and retries send a call again only if nothing can have reached a plugin, unless it is
/// [`idempotent`](Self::idempotent).
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::Call;
///
/// let call = Call::new("IT")
///     .with_timeout(Duration::from_secs(90))
///     .with_header("X-Tenant", "blue")
///     .with_metadata("trace", "t-9")
///     .idempotent();
/// assert_eq!(call.headers()["X-Tenant"], "blue");
/// assert!(call.id().starts_with("req_"));
/// ```
#[derive(Clone)]
pub struct Call<T> {
    body: T,
    pub(crate) created: Instant,
    number: u64,
    attempt: u32,
    idempotent: bool,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    pub(super) context: Option<Box<Context>>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Context {
    id: Option<Arc<str>>,
    headers: BTreeMap<String, String>,
    metadata: BTreeMap<String, String>,
    options: CallOptions,
    #[cfg(feature = "http")]
    pub(super) credentials: Option<Credentials>,
    #[cfg(feature = "config")]
    handed_on: HandedOn,
}

impl<T> Call<T> {
    /// Creates a call with a new id and no deadline.
    pub fn new(body: T) -> Self {
        let created = time::now();
        Self {
            body,
            created,
            number: call_number(created),
            attempt: 1,
            idempotent: false,
            timeout: None,
            deadline: None,
            context: None,
        }
    }

    /// Sets the request id.
    ///
    /// Default: `req_<nanoseconds since 1970>_<16 hexadecimal digits>`. The first number grows with each call
    /// of this process, and the second one was drawn for it, so no two calls have the same id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.context_mut().id = Some(id.into());
        self
    }

    /// Sets how long the call may take, from its creation.
    ///
    /// The plugin is told the timeout, or the limit of the transport if that is shorter; in an attempt after
    /// the first one, the time that is left.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self.deadline = Some(time::later(self.created, timeout));
        self
    }

    /// Sets the deadline of the call. The plugin is told the time that is left.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.timeout = None;
        self.deadline = Some(deadline);
        self
    }

    /// Adds a header, or replaces the one of this name, whose case counts.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.context_mut().headers.insert(name.into(), value.into());
        self
    }

    /// Adds a pair of metadata, or replaces it.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.context_mut().metadata.insert(key.into(), value.into());
        self
    }

    /// Marks the call as idempotent: sending it twice does no more than sending it once.
    ///
    /// Failover and retries may then send it again, also to another plugin, after an attempt that may
    /// have arrived.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sets how often the call may be sent again, in place of the number of attempts of a
    /// [`FailoverLayer`](crate::FailoverLayer) or a retry policy: `retries + 1` attempts.
    ///
    /// What may be sent again, and what the retry budget pays for, is decided as for other calls.
    ///
    /// # Bounds
    /// At most 63; more becomes 63.
    ///
    /// ```
    /// use tower_upstream::{Call, replay::Replay};
    /// let call = Call::new("IT").idempotent().with_max_retries(4);
    /// assert_eq!(call.options().max_attempts(), Some(5));
    /// ```
    #[must_use]
    pub fn with_max_retries(mut self, retries: u32) -> Self {
        let context = self.context_mut();
        context.options = context.options.with_max_retries(retries);
        self
    }

    /// Sets the time limit of each attempt, from 1 ms, in place of
    /// [`Attempts::timeout`](crate::Attempts::timeout) of a [`FailoverLayer`](crate::FailoverLayer).
    ///
    /// An attempt that ends by a limit shorter than the layer's counts as cancelled, not against its endpoint.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::{Call, replay::Replay};
    /// let call = Call::new("IT").with_attempt_timeout(Duration::from_millis(200));
    /// assert_eq!(call.options().attempt_timeout(), Some(Duration::from_millis(200)));
    /// ```
    #[must_use]
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        let context = self.context_mut();
        context.options = context.options.with_attempt_timeout(timeout);
        self
    }

    /// Returns the request id.
    pub fn id(&self) -> Cow<'_, str> {
        match self.context.as_ref().and_then(|context| context.id.as_deref()) {
            Some(id) => Cow::Borrowed(id),
            None => {
                // As long as it becomes, so that it moves no more.
                let mut id = String::with_capacity(48);
                let _ = write!(id, "req_{}_{}", self.number, process_number());
                Cow::Owned(id)
            }
        }
    }

    /// Returns the body of the request.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// Returns the body of the request without its context.
    pub fn into_body(self) -> T {
        self.body
    }

    /// Replaces the body, and keeps the context.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Call<U> {
        Call {
            body: map(self.body),
            created: self.created,
            number: self.number,
            attempt: self.attempt,
            idempotent: self.idempotent,
            timeout: self.timeout,
            deadline: self.deadline,
            context: self.context,
        }
    }

    /// Returns the instant after which the answer is of no use, if there is one.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the timeout that the plugin is told: as it was set, or the time left until the deadline if the
    /// deadline was set, or if this is not the first attempt.
    pub fn timeout(&self) -> Option<Duration> {
        let as_set = self.timeout.filter(|_| self.attempt == 1);
        as_set.or_else(|| Some(self.deadline?.saturating_duration_since(time::now())))
    }

    /// The timeout that a transport tells the plugin, which itself waits no longer than `limit`.
    #[cfg(feature = "http")]
    pub(crate) fn timeout_within(&self, limit: Duration) -> Duration {
        self.timeout().map_or(limit, |timeout| timeout.min(limit))
    }

    /// Returns the headers, sorted by name, in the case that each was written in.
    pub fn headers(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.context.as_ref().map_or(&NONE, |context| &context.headers)
    }

    /// Returns the metadata, sorted by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.context.as_ref().map_or(&NONE, |context| &context.metadata)
    }

    /// Returns the number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the time since the call was created.
    pub fn elapsed(&self) -> Duration {
        time::now().saturating_duration_since(self.created)
    }

    /// How often it may be sent again, if that was said; as Go tells a plugin.
    #[cfg(all(feature = "process", unix))]
    pub(crate) fn max_retries(&self) -> u32 {
        let options = self.context.as_ref().map(|context| context.options);
        let attempts = options.and_then(|options| options.max_attempts());
        attempts.map_or(0, |attempts| attempts.saturating_sub(1))
    }

    /// The fallbacks that have handed it on to another plugin.
    #[cfg(feature = "config")]
    pub(crate) fn handed_on(&mut self) -> &mut HandedOn {
        &mut self.context_mut().handed_on
    }

    pub(super) fn context_mut(&mut self) -> &mut Context {
        self.context.get_or_insert_default()
    }
}

impl<T> HasDeadline for Call<T> {
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl<T: Clone> crate::replay::Repeatable for Call<T> {}

impl<T: Clone> Replay for Call<T> {
    fn replay(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    #[inline]
    fn options(&self) -> CallOptions {
        self.context.as_ref().map_or(CallOptions::NONE, |context| context.options)
    }

    fn begin_attempt(&mut self, number: u32) {
        self.attempt = number;
    }
}

/// Shows the names of the headers, not their values: those may be secrets.
impl<T: fmt::Debug> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("id", &self.id())
            .field("body", &self.body)
            .field("attempt", &self.attempt)
            .field("idempotent", &self.idempotent)
            .field("timeout", &self.timeout())
            .field("headers", &self.headers().keys())
            .field("metadata", &self.metadata().keys())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique() {
        let mut ids: Vec<_> = (0..10_000).map(|_| Call::new(()).id().into_owned()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 10_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_attempt_is_told_the_time_that_is_left() {
        let mut call = Call::new(()).with_timeout(Duration::from_secs(90));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(call.timeout(), Some(Duration::from_secs(90)));
        call.begin_attempt(2);
        assert_eq!(call.timeout(), Some(Duration::from_secs(30)));
    }

    #[test]
    fn values_of_headers_stay_out_of_debug() {
        let call = Call::new(1).with_header("Authorization", "Bearer abc");
        let shown = format!("{call:?}");
        assert!(shown.contains("Authorization") && !shown.contains("abc"), "{shown}");
    }
}
