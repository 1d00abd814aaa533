//! A typed plugin call and its answer, with their context.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    connect::AtEndpoint,
    deadline::HasDeadline,
    replay::Replay,
    time::{self, Instant},
};

/// A typed request to a plugin, with its context.
///
/// It may be repeated elsewhere only if nothing can have reached a plugin, unless
/// [`idempotent`](Self::idempotent) says that repeating does no harm.
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
    created: Instant,
    number: u64,
    attempt: u32,
    idempotent: bool,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    context: Option<Box<Context>>,
}

#[derive(Debug, Default, Clone)]
struct Context {
    id: Option<Arc<str>>,
    headers: BTreeMap<String, String>,
    metadata: BTreeMap<String, String>,
}

impl<T> Call<T> {
    /// A call with an id of its own and no deadline.
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

    /// Sets the request id. Without it there is one of the form `req_<nanoseconds since 1970>`,
    /// unique in this process.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.context_mut().id = Some(id.into());
        self
    }

    /// Gives the call this long from its making. The plugin is told so.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self.deadline = Some(time::later(self.created, timeout));
        self
    }

    /// Gives the call until `deadline`. The plugin is told what is left of it.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.timeout = None;
        self.deadline = Some(deadline);
        self
    }

    /// Adds a header, or replaces it.
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

    /// Says that sending this twice does no more than sending it once, so that it may be repeated
    /// elsewhere after a connection broke.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// The request id.
    pub fn id(&self) -> Cow<'_, str> {
        match self.context.as_ref().and_then(|context| context.id.as_deref()) {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(format!("req_{}", self.number)),
        }
    }

    /// What is asked.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// What is asked, without its context.
    pub fn into_body(self) -> T {
        self.body
    }

    /// The same call with another body.
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

    /// When the answer is of no use any more.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The timeout that the plugin is told: as it was set, or what is left until the deadline.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout.or_else(|| Some(self.deadline?.saturating_duration_since(time::now())))
    }

    /// The headers, sorted by name.
    pub fn headers(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.context.as_ref().map_or(&NONE, |context| &context.headers)
    }

    /// The metadata, sorted by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.context.as_ref().map_or(&NONE, |context| &context.metadata)
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How long ago the call was made.
    pub fn elapsed(&self) -> Duration {
        time::now().saturating_duration_since(self.created)
    }

    fn context_mut(&mut self) -> &mut Context {
        self.context.get_or_insert_default()
    }
}

/// Nanoseconds since 1970 at `created`, or one more than the last number if that is later.
fn call_number(created: Instant) -> u64 {
    static BASE: OnceLock<(Instant, u64)> = OnceLock::new();
    static LAST: AtomicU64 = AtomicU64::new(0);
    let &(base, base_nanos) = BASE.get_or_init(|| {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (created, time::nanos(since_1970))
    });
    let number = base_nanos + time::nanos(created.saturating_duration_since(base));
    // Relaxed: only that no two get the same number matters, and `fetch_max` sees to it.
    let last = LAST.fetch_max(number, Ordering::Relaxed);
    if last < number { number } else { LAST.fetch_add(1, Ordering::Relaxed) + 1 }
}

impl<T> HasDeadline for Call<T> {
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl<T: Clone> Replay for Call<T> {
    fn replay(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn is_idempotent(&self) -> bool {
        self.idempotent
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

/// A typed answer of a plugin, with its context.
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
}

impl<T> Reply<T> {
    /// An answer without context, as a plugin gives it.
    pub fn new(body: T) -> Self {
        Self {
            body,
            request_id: String::new(),
            metadata: BTreeMap::new(),
            endpoint: None,
            attempts: 1,
            duration: Duration::ZERO,
        }
    }

    /// Adds a pair of metadata, or replaces it.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The answer.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// The answer, without its context.
    pub fn into_body(self) -> T {
        self.body
    }

    /// The request id that the plugin gave back; not compared with the request's.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The metadata, sorted by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The key of the endpoint that answered.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// How many attempts it took.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long it took since the call was made, with all attempts and waits.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Notes the way the answer took. For transports.
    #[must_use]
    pub fn answering<Req>(mut self, call: &Call<Req>, endpoint: impl Into<Arc<str>>) -> Self {
        self.endpoint = Some(endpoint.into());
        self.attempts = call.attempt;
        self.duration = call.elapsed();
        self
    }

    /// Notes the key of the endpoint that answered. For transports; a
    /// [`NameEndpointLayer`](crate::connect::NameEndpointLayer) does it for all answers of one.
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
    fn at_endpoint(self, key: &Arc<str>) -> Self {
        self.at_endpoint(key.clone())
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

    #[test]
    fn values_of_headers_stay_out_of_debug() {
        let call = Call::new(1).with_header("Authorization", "Bearer abc");
        let shown = format!("{call:?}");
        assert!(shown.contains("Authorization") && !shown.contains("abc"), "{shown}");
    }
}
