use std::{
    fmt,
    future::{Ready, ready},
};

use crate::{error::Error, outcome::TypeName};

/// Answers a call in place of a service that refused it or failed.
///
/// Implemented by [`Value`], [`FromRequest`], [`Backup`](super::Backup), and by closures
/// `Fn(Error) -> Result<Response, Error>`. Implement it for an answer that has to be awaited and needs
/// the error.
///
/// # Example
/// ```
/// use std::{pin::Pin, sync::Arc};
/// use tower_upstream::{error::Error, fallback::{FallbackLayer, Substitute}};
/// # struct Cache;
/// # impl Cache { async fn get(&self, _: u64) -> Option<String> { None } }
///
/// /// Answers with what the cache has of this key, however old.
/// #[derive(Clone)]
/// struct Stale(Arc<Cache>);
///
/// impl Substitute<u64> for Stale {
///     type Response = String;
///     type Kept = u64;
///     type Future = Pin<Box<dyn Future<Output = Result<String, Error>> + Send>>;
///
///     fn keep(&self, key: &u64) -> u64 {
///         *key
///     }
///
///     fn substitute(&self, key: u64, error: Error) -> Self::Future {
///         let cache = self.0.clone();
///         Box::pin(async move { cache.get(key).await.ok_or(error) })
///     }
/// }
/// let layer = FallbackLayer::new(Stale(Arc::new(Cache)));
/// # let _ = layer;
/// ```
pub trait Substitute<Req> {
    /// The answer; the same type as that of the service.
    type Response;

    /// What it keeps of a request while the service works on it.
    type Kept;

    /// The future of the answer. Dropping it must leave nothing behind.
    type Future: Future<Output = Result<Self::Response, Error>>;

    /// Keeps what the answer will need. Called for each request, so it should be cheap.
    fn keep(&self, request: &Req) -> Self::Kept;

    /// Sees an answer of the service that is no failure, with what was kept of its request. Does nothing by
    /// default. Called for each such answer, so it should be cheap.
    #[inline(always)]
    fn observe(&self, kept: Self::Kept, answer: &Self::Response) {
        let _ = (kept, answer);
    }

    /// Answers in place of the service.
    ///
    /// `error` says what happened. If the service gave an answer that counts as a failure, it is of the kind
    /// [`Service`](crate::error::Kind::Service) and has no source.
    ///
    /// # Errors
    /// Returning `error` itself means that there is no substitute: the caller gets that error, or the
    /// service's own answer if there was one.
    fn substitute(&self, kept: Self::Kept, error: Error) -> Self::Future;
}

impl<F, Req, Res> Substitute<Req> for F
where
    F: Fn(Error) -> Result<Res, Error>,
{
    type Response = Res;
    type Kept = ();
    type Future = Ready<Result<Res, Error>>;

    #[inline]
    fn keep(&self, _: &Req) {}

    fn substitute(&self, (): (), error: Error) -> Self::Future {
        ready(self(error))
    }
}

/// A substitute that answers with a clone of one value.
///
/// Made by [`FallbackLayer::value`](super::FallbackLayer::value).
///
/// ```
/// use tower_upstream::fallback::{FallbackLayer, Value};
/// let layer = FallbackLayer::new(Value("none"));
/// # let _ = layer;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Value<T>(pub T);

impl<T: Clone, Req> Substitute<Req> for Value<T> {
    type Response = T;
    type Kept = ();
    type Future = Ready<Result<T, Error>>;

    #[inline]
    fn keep(&self, _: &Req) {}

    fn substitute(&self, (): (), _: Error) -> Self::Future {
        ready(Ok(self.0.clone()))
    }
}

/// A substitute made of two closures: one keeps a part of each request, the other answers with it.
///
/// Made by [`FallbackLayer::from_request`](super::FallbackLayer::from_request).
///
/// ```
/// use tower_upstream::fallback::{FallbackLayer, FromRequest};
/// let echo = FromRequest::new(|name: &String| name.clone(), |name, _| Ok(name));
/// let layer = FallbackLayer::new(echo);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy)]
pub struct FromRequest<K, F> {
    keep: K,
    answer: F,
}

impl<K, F> FromRequest<K, F> {
    /// Keeps what `keep` returns of each request, and answers with what `answer` makes of it.
    pub const fn new<Req, T, Res>(keep: K, answer: F) -> Self
    where
        K: Fn(&Req) -> T,
        F: Fn(T, Error) -> Result<Res, Error>,
    {
        Self { keep, answer }
    }
}

impl<K, F, Req, T, Res> Substitute<Req> for FromRequest<K, F>
where
    K: Fn(&Req) -> T,
    F: Fn(T, Error) -> Result<Res, Error>,
{
    type Response = Res;
    type Kept = T;
    type Future = Ready<Result<Res, Error>>;

    #[inline]
    fn keep(&self, request: &Req) -> T {
        (self.keep)(request)
    }

    fn substitute(&self, kept: T, error: Error) -> Self::Future {
        ready((self.answer)(kept, error))
    }
}

impl<K, F> fmt::Debug for FromRequest<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromRequest")
            .field("keep", &TypeName::<K>::new())
            .field("answer", &TypeName::<F>::new())
            .finish()
    }
}
