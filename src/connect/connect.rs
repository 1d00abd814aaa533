use std::sync::Arc;

use crate::member::Member;

/// Makes the service for one endpoint of a balanced set.
///
/// Below a [`BalanceLayer`](crate::BalanceLayer) every layer is a connector. Each guard of this crate is
/// one by itself: around what the inner connector makes, it makes a guard of its own kind with a state
/// of its own, bound to that member. Clients become connectors through
/// [`connect_fn`](super::connect_fn), layers of other crates through [`EachLayer`](super::EachLayer).
///
/// A connector never blocks and cannot fail: an [`Endpoint`](crate::Endpoint) with an address that
/// cannot be used is refused when it is made, and connecting happens on first use. It is called only by
/// the background task of the set, so inside a tokio runtime.
///
/// # Panics
/// A connector that panics leaves the other endpoints at work. It is called again for that endpoint,
/// with backoff.
///
/// # Example
/// ```
/// use std::{convert::Infallible, sync::Arc};
/// use tower::service_fn;
/// use tower_upstream::{Endpoint, connect::Connect, connect_fn, member::Member};
///
/// let connector = connect_fn(|endpoint: &Endpoint| {
///     let host = endpoint.address().host().to_owned();
///     service_fn(move |_: ()| std::future::ready(Ok::<_, Infallible>(host.clone())))
/// });
/// let member = Member::new("http://10.0.0.1:8080".parse::<Endpoint>()?);
/// let service = connector.connect(&member);
/// # let _ = service;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connector, so it cannot stand below a `BalanceLayer`",
    label = "this makes one service, not one for each endpoint",
    note = "wrap a client in `connect_fn(|endpoint| ..)`",
    note = "wrap a layer of another crate in `EachLayer::new(..)`"
)]
pub trait Connect {
    /// The service for one endpoint. A balancer needs it to be `Clone + Send + Sync + 'static`.
    type Service;

    /// Makes the service for `member`.
    fn connect(&self, member: &Arc<Member>) -> Self::Service;

    /// Returns whether its services are clients that make at most one request for each call, and whose
    /// errors are known by their types, so that such an error tells whether the call was sent; see
    /// [`connect_fn`](super::connect_fn).
    ///
    /// A connector of yours that wraps another and calls it at most once for each call may pass this on.
    /// If it calls it more often, an error may be that of the second request, and the first was sent.
    /// Default: `false`.
    fn is_known_client(&self) -> bool {
        false
    }
}

#[cfg(feature = "tower")]
impl<A, B> Connect for tower::util::Either<A, B>
where
    A: Connect,
    B: Connect,
{
    type Service = tower::util::Either<A::Service, B::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        match self {
            Self::Left(left) => tower::util::Either::Left(left.connect(member)),
            Self::Right(right) => tower::util::Either::Right(right.connect(member)),
        }
    }

    fn is_known_client(&self) -> bool {
        match self {
            Self::Left(left) => left.is_known_client(),
            Self::Right(right) => right.is_known_client(),
        }
    }
}
