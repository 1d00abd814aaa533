//! Settings for a whole stack of layers, and a check of its types.
//!
//! Guides: [the order of layers](../_guide/order/index.html),
//! [errors of the compiler](../_guide/compiler/index.html).
//!
//! # When to use
//! To give several layers the same [`Classify`](crate::Classify) rule. A breaker that counts a 500 as a
//! failure, below a failover that returns it as a success, is a mistake that is easy to make where each
//! layer is set by itself.
//!
//! To learn why a stack is no service, give it to [`check`].
//!
//! # Example
//! ```
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_upstream::{
//!     Attempts, BalanceLayer, BoxError, Call, CircuitBreakerLayer, Endpoint, FailoverLayer,
//!     LeastRequest, Outcome, Reply, connect_fn, discover, outcome::by_answer, stack::WithClassify,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! // An answer without a body is a failure, for failover and breakers alike.
//! let rule = by_answer(|reply: &Reply<Option<u32>>| match reply.body() {
//!     Some(_) => Outcome::Success,
//!     None => Outcome::Failure,
//! });
//! let breaker = CircuitBreakerLayer::default();
//! let layers = (
//!     FailoverLayer::new(Attempts::up_to(2)),
//!     BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, LeastRequest::new()),
//!     breaker.clone(),
//! );
//! let stack = ServiceBuilder::new().layer(layers.with_classify(rule)).service(connect_fn(
//!     |endpoint: &Endpoint| {
//!         let body = (endpoint.key() == "b:1").then_some(7);
//!         service_fn(move |_: Call<u32>| async move { Ok::<_, BoxError>(Reply::new(body)) })
//!     },
//! ));
//! let reply = stack.oneshot(Call::new(1).idempotent()).await?;
//! assert_eq!(reply.into_body(), Some(7));
//! # Ok(()) }
//! ```

use tower_layer::Layer;
use tower_service::Service;

use crate::{
    balance::BalanceLayer,
    boxed::BoxUpstreamLayer,
    breaker::{AtResponse, CircuitBreakerLayer, KeyedCircuitBreakerLayer},
    connect::{EachLayer, NameEndpointLayer},
    failover::FailoverLayer,
    fallback::FallbackLayer,
    health::HealthGateLayer,
    limit::{ConcurrencyLimitLayer, KeyedRateLimitLayer, RateLimitLayer},
};

/// Returns `stack` as it is, and compiles only if it is a service for requests of type `Req` that can be
/// shared: `Clone + Send + Sync`.
///
/// Where a stack is called, as in `stack.oneshot(request)`, the compiler only says that there is no such
/// method. Here it names the type and the bound that is missing.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_upstream::{
///     Attempts, BalanceLayer, BoxError, Call, Endpoint, FailoverLayer, LeastRequest, connect_fn,
///     discover, stack::check,
/// };
///
/// let stack = ServiceBuilder::new()
///     .layer(FailoverLayer::new(Attempts::up_to(2)))
///     .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, LeastRequest::new()))
///     .service(connect_fn(|_: &Endpoint| {
///         service_fn(async |call: Call<u32>| Ok::<_, BoxError>(call.into_body()))
///     }));
/// let stack = check::<Call<u32>, _>(stack);
/// # let _ = stack;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub fn check<Req, S>(stack: S) -> S
where
    S: Service<Req, Future: Send> + Clone + Send + Sync + 'static,
{
    stack
}

/// Sets the rule that judges calls, in each of several layers.
///
/// Implemented by the layers of this crate, and by tuples of up to eight of them. A tuple is a layer, too:
/// the first one is the outermost, as with `ServiceBuilder`. The rule replaces that of each layer which
/// judges calls; the others stay as they are. To give one layer a rule of its own, leave it out of the
/// tuple.
///
/// The layers see calls with different error types, so a closure that names one of these types does not
/// fit all of them. Use `http::HttpClassify` (feature `http`),
/// [`by_answer`](crate::outcome::by_answer), or a type of your own that implements
/// [`Classify`](crate::Classify) for any error.
///
/// A layer of another crate is put into [`Unjudged`]. For `tower::retry`, use the `RetryPolicy` of this
/// crate as the layer.
///
/// # Example
/// See [the module](self).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given a rule that judges calls",
    note = "put a layer of another crate that judges no calls into `stack::Unjudged`",
    note = "use a `RetryPolicy` itself as the layer, not tower's `RetryLayer`"
)]
pub trait WithClassify<C> {
    /// The layer, or layers, with this rule.
    type Layer;

    /// Sets the rule that judges calls.
    #[must_use]
    fn with_classify(self, classify: C) -> Self::Layer;
}

/// A layer of another crate that judges no calls, among [layers that do](WithClassify).
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower::timeout::TimeoutLayer;
/// use tower_upstream::{
///     CircuitBreakerLayer, outcome::ErrIsFailure,
///     stack::{Unjudged, WithClassify},
/// };
///
/// let layers = (
///     CircuitBreakerLayer::default(),
///     Unjudged(TimeoutLayer::new(Duration::from_secs(1))),
/// );
/// let layers = layers.with_classify(ErrIsFailure);
/// # let _ = layers;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Unjudged<L>(pub L);

impl<S, L: Layer<S>> Layer<S> for Unjudged<L> {
    type Service = L::Service;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner)
    }
}

impl<B, C> WithClassify<C> for CircuitBreakerLayer<AtResponse<B>> {
    type Layer = CircuitBreakerLayer<AtResponse<C>>;

    fn with_classify(self, classify: C) -> Self::Layer {
        self.with_classify(classify)
    }
}

/// It judges the heads of responses, and still ends calls with their bodies.
#[cfg(feature = "http")]
impl<B, C> WithClassify<C> for CircuitBreakerLayer<crate::http::AtBodyEnd<B>> {
    type Layer = CircuitBreakerLayer<crate::http::AtBodyEnd<C>>;

    fn with_classify(self, classify: C) -> Self::Layer {
        self.until_body_end(classify)
    }
}

impl<D, P, B, C, E> WithClassify<C> for BalanceLayer<D, P, B, E> {
    type Layer = BalanceLayer<D, P, C, E>;

    fn with_classify(self, classify: C) -> Self::Layer {
        self.with_classify(classify)
    }
}

impl<K, B, C> WithClassify<C> for KeyedCircuitBreakerLayer<K, AtResponse<B>> {
    type Layer = KeyedCircuitBreakerLayer<K, AtResponse<C>>;

    fn with_classify(self, classify: C) -> Self::Layer {
        self.with_classify(classify)
    }
}

/// It judges the heads of responses, and still ends calls with their bodies.
#[cfg(feature = "http")]
impl<K, B, C> WithClassify<C> for KeyedCircuitBreakerLayer<K, crate::http::AtBodyEnd<B>> {
    type Layer = KeyedCircuitBreakerLayer<K, crate::http::AtBodyEnd<C>>;

    fn with_classify(self, classify: C) -> Self::Layer {
        self.until_body_end(classify)
    }
}

impl<R: Clone, B: Clone, C> WithClassify<C> for FailoverLayer<R, B> {
    type Layer = FailoverLayer<R, C>;

    fn with_classify(self, classify: C) -> Self::Layer {
        self.with_classify(classify)
    }
}

#[cfg(feature = "tower")]
impl<R: Clone, B: Clone, C> WithClassify<C> for crate::retry::RetryPolicy<R, B> {
    type Layer = crate::retry::RetryPolicy<R, C>;

    fn with_classify(self, classify: C) -> Self::Layer {
        self.with_classify(classify)
    }
}

impl<A, B, C> WithClassify<C> for FallbackLayer<A, B> {
    type Layer = FallbackLayer<A, C>;

    fn with_classify(self, classify: C) -> Self::Layer {
        self.with_classify(classify)
    }
}

impl<L: WithClassify<C>, C> WithClassify<C> for EachLayer<L> {
    type Layer = EachLayer<L::Layer>;

    fn with_classify(self, classify: C) -> Self::Layer {
        EachLayer::new(self.into_inner().with_classify(classify))
    }
}

/// Layers that judge no calls.
macro_rules! unjudged {
    ($($layer:ty $(, $generic:ident)*;)*) => {$(
        impl<C, $($generic),*> WithClassify<C> for $layer {
            type Layer = Self;

            fn with_classify(self, _: C) -> Self {
                self
            }
        }
    )*};
}

unjudged! {
    Unjudged<L>, L;
    BoxUpstreamLayer<Req, Res>, Req, Res;
    ConcurrencyLimitLayer<M, E>, M, E;
    HealthGateLayer;
    KeyedRateLimitLayer<K, E>, K, E;
    NameEndpointLayer;
    RateLimitLayer<M, E>, M, E;
}

#[cfg(feature = "http")]
unjudged! {
    crate::codec::CodecLayer<Req, Res, F>, Req, Res, F;
    crate::http::AnswerLayer<L, M>, L, M;
    crate::http::OriginLayer;
    crate::http::ReplayBodyLayer;
    crate::http::TrackLayer;
}

/// Tuples, which are layers.
macro_rules! tuples {
    ($($layer:ident)*) => {
        impl<C: Clone, $($layer: WithClassify<C>),*> WithClassify<C> for ($($layer,)*) {
            type Layer = ($($layer::Layer,)*);

            fn with_classify(self, classify: C) -> Self::Layer {
                #[allow(non_snake_case)]
                let ($($layer,)*) = self;
                ($($layer.with_classify(classify.clone()),)*)
            }
        }
    };
}

tuples!(L1);
tuples!(L1 L2);
tuples!(L1 L2 L3);
tuples!(L1 L2 L3 L4);
tuples!(L1 L2 L3 L4 L5);
tuples!(L1 L2 L3 L4 L5 L6);
tuples!(L1 L2 L3 L4 L5 L6 L7);
tuples!(L1 L2 L3 L4 L5 L6 L7 L8);
