use std::fmt;

use tower_layer::Layer;

use super::{Backup, Fallback, FromRequest, Value, future::Policy};
use crate::{
    error::Error,
    outcome::{ErrIsFailure, TypeName},
    sync::{Leases, shards},
};

/// Answers in place of a service that refuses a call or fails at it.
///
/// `A` is what answers, a [`Substitute`](super::Substitute), and `C` the rule for what is a failure. Which
/// calls fall back is listed in the [module](super).
///
/// A call that goes well costs what the substitute keeps of its request: nothing for a value or a closure,
/// a copy of the request for another service.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
///     error::BoxError,
///     fallback::FallbackLayer,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let recommendations = ServiceBuilder::new()
///     .layer(FallbackLayer::value(vec!["the bestseller"]))
///     .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default()))
///     .service(service_fn(async |_user: u64| {
///         Err::<Vec<&str>, BoxError>("the database is down".into())
///     }));
///
/// assert_eq!(recommendations.oneshot(7).await?, ["the bestseller"]);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy)]
pub struct FallbackLayer<A, C = ErrIsFailure> {
    /// `None`: the answer of the service is the answer, whatever it is.
    substitute: Option<A>,
    classify: C,
}

impl<A> FallbackLayer<A> {
    /// Lets `substitute` answer: a [`Substitute`](super::Substitute).
    ///
    /// ```
    /// use tower_upstream::fallback::{Backup, FallbackLayer};
    /// # #[derive(Clone)] struct Client;
    /// # let other_region = Client;
    /// let layer = FallbackLayer::new(Backup::new(other_region).with_replay(|n: &u64| Some(*n)));
    /// # let _ = layer;
    /// ```
    pub const fn new(substitute: A) -> Self {
        Self { substitute: Some(substitute), classify: ErrIsFailure }
    }

    /// With `None` calls pass, and keep nothing.
    #[cfg(feature = "config")]
    pub(crate) const fn of(substitute: Option<A>) -> Self {
        Self { substitute, classify: ErrIsFailure }
    }
}

impl<F> FallbackLayer<F> {
    /// Answers with what `answer` makes of the error. If it returns the error, the caller gets that.
    ///
    /// ```
    /// use tower_upstream::{error::Kind, fallback::FallbackLayer};
    /// let layer = FallbackLayer::from_error(|error| match error.kind() {
    ///     Kind::RateLimited => Err(error),
    ///     _ => Ok(String::from("come back later")),
    /// });
    /// # let _ = layer;
    /// ```
    pub const fn from_error<Res>(answer: F) -> Self
    where
        F: Fn(Error) -> Result<Res, Error>,
    {
        Self::new(answer)
    }
}

impl<T> FallbackLayer<Value<T>> {
    /// Answers with a clone of `value`.
    ///
    /// ```
    /// use tower_upstream::fallback::FallbackLayer;
    /// let layer = FallbackLayer::value(String::from("none"));
    /// # let _ = layer;
    /// ```
    pub const fn value(value: T) -> Self {
        Self::new(Value(value))
    }
}

impl<K, F> FallbackLayer<FromRequest<K, F>> {
    /// Keeps what `keep` returns of each request, and answers with what `answer` makes of that and of
    /// the error.
    ///
    /// ```
    /// use std::{collections::HashMap, sync::Arc};
    /// use tower_upstream::fallback::FallbackLayer;
    ///
    /// struct Lookup { key: u64 }
    ///
    /// let stale = Arc::new(HashMap::from([(7, "seven")]));
    /// let layer = FallbackLayer::from_request(
    ///     |request: &Lookup| request.key,
    ///     move |key, error| stale.get(&key).copied().ok_or(error),
    /// );
    /// # let _ = layer;
    /// ```
    pub const fn from_request<Req, T, Res>(keep: K, answer: F) -> Self
    where
        K: Fn(&Req) -> T,
        F: Fn(T, Error) -> Result<Res, Error>,
    {
        Self::new(FromRequest::new(keep, answer))
    }
}

impl<B> FallbackLayer<Backup<B>> {
    /// Sends a copy of the request to `service`, if it was never sent or is idempotent.
    ///
    /// Requests implement [`Replay`](crate::replay::Replay); for others see
    /// [`Backup::with_replay`].
    ///
    /// ```
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    /// use tower_upstream::{error::BoxError, fallback::FallbackLayer, plugin::{Call, Reply}};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
    /// let archive = service_fn(async |_: Call<u64>| Ok::<_, BoxError>(Reply::new("from the archive")));
    /// let service = ServiceBuilder::new()
    ///     .layer(FallbackLayer::service(archive))
    ///     .service(service_fn(async |_: Call<u64>| Err::<Reply<&str>, BoxError>("broken".into())));
    /// let reply = service.oneshot(Call::new(7).idempotent()).await?;
    /// assert_eq!(reply.into_body(), "from the archive");
    /// # Ok(()) }
    /// ```
    pub const fn service(service: B) -> Self {
        Self::new(Backup::new(service))
    }
}

impl<A, C> FallbackLayer<A, C> {
    /// Sets the rule for what is a failure: a [`Classify`](crate::outcome::Classify), such as a closure.
    /// Default: [`ErrIsFailure`].
    ///
    /// The rule judges answers, and errors that an endpoint caused. To fall back on fewer errors than
    /// the [module](super) lists, let a closure return the others:
    /// ```
    /// use tower_upstream::{error::Error, fallback::FallbackLayer, outcome::Outcome};
    /// let unsent = FallbackLayer::from_error(|error| if error.is_unsent() { Ok(0) } else { Err(error) });
    /// let negative = FallbackLayer::value(0).with_classify(|result: Result<&i32, &Error>| match result {
    ///     Ok(0..) => Outcome::Success,
    ///     Ok(_) | Err(_) => Outcome::Failure,
    /// });
    /// # let _ = (unsent, negative);
    /// ```
    #[must_use]
    pub fn with_classify<D>(self, classify: D) -> FallbackLayer<A, D> {
        FallbackLayer { substitute: self.substitute, classify }
    }
}

impl<S, A: Clone, C: Clone> Layer<S> for FallbackLayer<A, C> {
    type Service = Fallback<S, A, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let policy = self.substitute.clone().map(|substitute| {
            Leases::new(Policy { substitute, classify: self.classify.clone() }, shards())
        });
        Fallback::new(inner, policy)
    }
}

impl<A, C> fmt::Debug for FallbackLayer<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer")
            .field("substitute", &TypeName::<A>::new())
            .field("classify", &TypeName::<C>::new())
            .finish()
    }
}

#[cfg(all(test, feature = "config"))]
mod tests {
    use tower::{Layer, ServiceExt, service_fn};

    use super::*;
    use crate::{error::Kind, outcome::Outcome};

    #[tokio::test]
    async fn where_nothing_answers_the_service_does_and_nothing_is_held() {
        let half = service_fn(async |n: u32| match n % 2 {
            0 => Ok(n / 2),
            _ => Err(Error::refused(Kind::Overloaded)),
        });
        let layer = FallbackLayer::of(None::<fn(Error) -> Result<u32, Error>>);
        let all_bad = |_: Result<&u32, &Error>| Outcome::Failure;
        let service = layer.with_classify(all_bad).layer(half);
        assert!(service.policy.is_none());
        assert_eq!(service.clone().oneshot(8).await.unwrap(), 4);
        let error = service.oneshot(7).await.unwrap_err();
        assert!(error.is_unsent() && error.kind() == Kind::Overloaded);
    }
}
