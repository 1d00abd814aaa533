use std::{any::type_name, sync::Arc};

use tower_layer::Layer;

use super::connect::Connect;
use crate::member::Member;

/// Puts a layer of another crate below a balancer: around the service of each endpoint.
///
/// The layer is applied once for each endpoint, so what it holds is each endpoint's own:
/// `EachLayer::new(BufferLayer::new(10))` is a buffer of ten *for each* endpoint. The guards of this
/// crate do not need it: below a balancer they are connectors by themselves.
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

    pub(crate) fn into_inner(self) -> L {
        self.layer
    }
}

impl<L: Clone, C> Layer<C> for EachLayer<L> {
    type Service = Each<L, C>;

    fn layer(&self, inner: C) -> Self::Service {
        Each { layer: self.layer.clone(), inner }
    }
}

/// Connector of an [`EachLayer`].
///
/// ```
/// use tower::{Layer, layer::util::Identity};
/// use tower_upstream::{Endpoint, connect::{ConnectFn, Each, EachLayer}, connect_fn};
/// let each = EachLayer::new(Identity::new()).layer(connect_fn(|_: &Endpoint| ()));
/// let inner: &ConnectFn<_> = each.get_ref();
/// # let _ = inner;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Each<L, S> {
    layer: L,
    inner: S,
}

impl<L, S> Each<L, S> {
    inner_service!();
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
