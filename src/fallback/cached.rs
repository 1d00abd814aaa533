use std::{
    fmt,
    future::{Ready, ready},
    marker::PhantomData,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    Substitute,
    store::{Bounds, Store},
};
use crate::{error::Error, outcome::TypeName, sync::lock, time};

/// A substitute that answers with the last good answer to the same request.
///
/// `key` makes the key of a request, such as its bytes; a request without one is neither kept nor answered.
/// `weigh` says how many bytes an answer has.
///
/// # Bounds
/// At most 1,000 answers and 16 MiB, keys included, unless set otherwise. The one that was used least recently
/// goes first. An answer is a substitute for at most five minutes.
///
/// # Example
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{error::BoxError, fallback::{Cached, FallbackLayer}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// static IS_DOWN: AtomicBool = AtomicBool::new(false);
/// let last = Cached::new(|n: &u32| Some(n.to_le_bytes().to_vec()), |answer: &String| answer.len());
/// let service = ServiceBuilder::new().layer(FallbackLayer::new(last)).service(service_fn(async |n: u32| {
///     match IS_DOWN.load(Ordering::Relaxed) {
///         false => Ok(n.to_string()),
///         true => Err(BoxError::from("down")),
///     }
/// }));
/// assert_eq!(service.clone().oneshot(7).await?, "7");
/// IS_DOWN.store(true, Ordering::Relaxed);
/// assert_eq!(service.clone().oneshot(7).await?, "7");
/// assert!(service.oneshot(8).await.is_err());
/// # Ok(()) }
/// ```
pub struct Cached<Res, K, W> {
    bounds: Bounds,
    store: Arc<Mutex<Store<Res>>>,
    key: K,
    weigh: W,
    answers: PhantomData<fn() -> Res>,
}

impl<Res, K, W> Cached<Res, K, W> {
    /// Creates an empty one.
    pub fn new<Req>(key: K, weigh: W) -> Self
    where
        K: Fn(&Req) -> Option<Vec<u8>>,
        W: Fn(&Res) -> usize,
    {
        let bounds =
            Bounds { max_age: Duration::from_secs(300), max_entries: 1_000, max_bytes: 16 << 20 };
        Self { bounds, store: store(bounds), key, weigh, answers: PhantomData }
    }

    /// Sets how long an answer may be a substitute. Begins with an empty cache. Default: 5 min.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        self.bounded(|bounds| bounds.max_age = max_age)
    }

    /// Sets how many answers are kept. Begins with an empty cache. Default: 1,000.
    #[must_use]
    pub fn with_max_entries(self, max: usize) -> Self {
        self.bounded(|bounds| bounds.max_entries = max)
    }

    /// Sets how many bytes are kept, keys included. Begins with an empty cache. Default: 16 MiB.
    #[must_use]
    pub fn with_max_bytes(self, max: usize) -> Self {
        self.bounded(|bounds| bounds.max_bytes = max)
    }

    fn bounded(mut self, change: impl FnOnce(&mut Bounds)) -> Self {
        change(&mut self.bounds);
        self.store = store(self.bounds);
        self
    }
}

fn store<Res>(bounds: Bounds) -> Arc<Mutex<Store<Res>>> {
    Arc::new(Mutex::new(Store::new(bounds)))
}

impl<Req, Res, K, W> Substitute<Req> for Cached<Res, K, W>
where
    Res: Clone,
    K: Fn(&Req) -> Option<Vec<u8>>,
    W: Fn(&Res) -> usize,
{
    type Response = Res;
    /// The key; `None` if there is none.
    type Kept = Option<Vec<u8>>;
    type Future = Ready<Result<Res, Error>>;

    fn keep(&self, request: &Req) -> Self::Kept {
        (self.key)(request)
    }

    fn observe(&self, kept: Self::Kept, answer: &Res) {
        let Some(key) = kept else { return };
        // What is of others, such as a `Clone`, does not run under the lock.
        let (bytes, answer) = ((self.weigh)(answer), Arc::new(answer.clone()));
        let gone = lock(&self.store).put(key.into(), answer, bytes, time::now());
        drop(gone);
    }

    fn substitute(&self, kept: Self::Kept, error: Error) -> Self::Future {
        let known = kept.and_then(|key| lock(&self.store).get(&key, time::now()));
        ready(known.map(|answer| (*answer).clone()).ok_or(error))
    }
}

impl<Res, K: Clone, W: Clone> Clone for Cached<Res, K, W> {
    /// Shares the answers.
    fn clone(&self) -> Self {
        Self {
            bounds: self.bounds,
            store: self.store.clone(),
            key: self.key.clone(),
            weigh: self.weigh.clone(),
            answers: PhantomData,
        }
    }
}

impl<Res, K, W> fmt::Debug for Cached<Res, K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, bytes) = {
            let store = lock(&self.store);
            (store.len(), store.bytes())
        };
        f.debug_struct("Cached")
            .field("bounds", &self.bounds)
            .field("entries", &len)
            .field("bytes", &bytes)
            .field("key", &TypeName::<K>::new())
            .finish()
    }
}
