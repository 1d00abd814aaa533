//! What makes the service for one member of a set.

mod make;
mod name_endpoint;
mod unsent;

use std::{any::type_name, fmt, sync::Arc};

use tower_layer::Layer;

#[cfg(feature = "http")]
pub use self::name_endpoint::AnsweredBy;
pub use self::{
    make::{ConnectMake, Made, connect_make},
    name_endpoint::{AtEndpoint, NameEndpoint, NameEndpointFuture, NameEndpointLayer},
    unsent::{UnsentIf, UnsentIfFuture},
};

use crate::{endpoint::Endpoint, error::BoxError, member::Member, outcome::TypeName};

/// Makes the service for one endpoint of a balanced set.
///
/// Below a [`BalanceLayer`](crate::balance::BalanceLayer) every layer is a connector. Each guard of
/// this crate is one by itself: around what the inner connector makes, it makes a guard of its own
/// kind with a state of its own, bound to that member. Clients become connectors through
/// [`connect_fn`], layers of other crates through [`EachLayer`].
///
/// A connector never blocks and cannot fail: what may be wrong with an address was refused when the
/// [`Endpoint`] was made, and connecting happens on first use. It is called only by the background
/// task of the set, so inside a tokio runtime.
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

    /// Makes it.
    fn connect(&self, member: &Arc<Member>) -> Self::Service;

    /// Returns whether its services are clients that make at most one request for each call, and whose
    /// errors are known by their types, so that such an error tells whether the call was sent; see
    /// [`connect_fn`].
    ///
    /// A connector of yours that wraps another and calls it at most once for each call may pass this on.
    /// Default: `false`, so that nothing is taken for unsent that a second request of the same call may
    /// have failed at.
    fn is_known_client(&self) -> bool {
        false
    }
}

/// Makes a connector of a function from an endpoint to a service.
///
/// # Calls that were never sent
/// If the service is a client of hyper-util (feature `http`) or a channel of tonic (feature `grpc`), a
/// connection that it could not make is [unsent](crate::Error::is_unsent): the call may go to another
/// endpoint whatever it does. Below layers of other crates that holds for timeouts, limits, load shedding
/// and buffers of tower. Any other service may make several requests for one call, such as a closure, a
/// client that follows redirects, or a retry; say of those what is unsent with
/// [`unsent_if`](ConnectFn::unsent_if).
///
/// ```
/// use tower_upstream::{Endpoint, connect_fn};
/// # #[derive(Clone)] struct Client(String);
/// let connector = connect_fn(|endpoint: &Endpoint| Client(endpoint.address().to_string()));
/// # let _ = connector;
/// ```
pub fn connect_fn<F, S>(connect: F) -> ConnectFn<F>
where
    F: Fn(&Endpoint) -> S,
{
    ConnectFn { connect }
}

/// Whether `S` is a client whose error is about the one request that it makes for each call. By its name,
/// since the type may have parameters that are not known.
///
/// A box counts as one, since it sorts out itself what its service says.
pub(crate) fn is_client<S>() -> bool {
    let name = type_name::<S>();
    [
        "hyper_util::client::legacy::client::Client<",
        "tonic::transport::channel::Channel",
        "tower_upstream::boxed::BoxUpstream<",
    ]
    .iter()
    .any(|client| name.starts_with(client))
}

/// Whether a layer of another crate calls its service once for each call, at most.
fn makes_one_request<L>() -> bool {
    let name = type_name::<L>();
    [
        "tower::timeout::",
        "tower::limit::",
        "tower::load_shed::",
        "tower::buffer::",
        "tower_upstream::boxed::",
    ]
    .iter()
    .any(|layer| name.starts_with(layer))
}

/// A connector made of a function. See [`connect_fn`].
#[derive(Clone, Copy)]
pub struct ConnectFn<F> {
    connect: F,
}

impl<F> ConnectFn<F> {
    /// Treats the errors for which `is_unsent` returns `true` as those of calls that were never sent. Such
    /// calls may go to another endpoint whatever they do. For an error that is not one of this crate, this
    /// is the only rule.
    ///
    /// Not needed over a client of hyper-util or a channel of tonic; see [`connect_fn`]. Needed over a
    /// client that wraps those, such as reqwest's.
    ///
    /// ```
    /// use std::io;
    /// use tower::service_fn;
    /// use tower_upstream::{BoxError, Endpoint, connect_fn};
    ///
    /// let connector = connect_fn(|_: &Endpoint| {
    ///     service_fn(async |_: ()| Err::<(), BoxError>(io::Error::other("pool is empty").into()))
    /// })
    /// .unsent_if(|error: &BoxError| error.to_string() == "pool is empty");
    /// # let _ = connector;
    /// ```
    pub fn unsent_if(self, is_unsent: fn(&BoxError) -> bool) -> UnsentIf<Self> {
        UnsentIf::new(self, is_unsent)
    }
}

impl<F, S> Connect for ConnectFn<F>
where
    F: Fn(&Endpoint) -> S,
{
    type Service = S;

    fn connect(&self, member: &Arc<Member>) -> S {
        (self.connect)(&member.endpoint())
    }

    fn is_known_client(&self) -> bool {
        is_client::<S>()
    }
}

impl<F> fmt::Debug for ConnectFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectFn").field(&TypeName::<F>::new()).finish()
    }
}

/// Puts a layer of another crate below a balancer: around the service of each endpoint.
///
/// The layer is applied once for each endpoint, so what it holds is each endpoint's own:
/// `EachLayer::new(BufferLayer::new(10))` is a buffer of ten *for each* endpoint. The guards of this
/// crate need it not: below a balancer they are connectors by themselves.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower::{ServiceBuilder, timeout::TimeoutLayer};
/// use tower_upstream::{Endpoint, connect::EachLayer, connect_fn};
/// # #[derive(Clone)] struct Client;
/// let connector = ServiceBuilder::new()
///     .layer(EachLayer::new(TimeoutLayer::new(Duration::from_secs(1))))
///     .service(connect_fn(|_: &Endpoint| Client));
/// # let _ = connector;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct EachLayer<L> {
    layer: L,
}

impl<L> EachLayer<L> {
    /// Applies `layer` to the service of each endpoint.
    pub const fn new(layer: L) -> Self {
        Self { layer }
    }
}

impl<L: Clone, C> Layer<C> for EachLayer<L> {
    type Service = Each<L, C>;

    fn layer(&self, inner: C) -> Self::Service {
        Each { layer: self.layer.clone(), inner }
    }
}

/// The connector of an [`EachLayer`].
#[derive(Debug, Clone, Copy)]
pub struct Each<L, C> {
    layer: L,
    inner: C,
}

impl<L, C> Connect for Each<L, C>
where
    C: Connect,
    L: Layer<C::Service>,
{
    type Service = L::Service;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        self.layer.layer(self.inner.connect(member))
    }

    fn is_known_client(&self) -> bool {
        makes_one_request::<L>() && self.inner.is_known_client()
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
