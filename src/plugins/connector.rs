use std::{
    any::type_name,
    fmt,
    future::ready,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::{Request, Response},
    built_in::{BuiltIn, BuiltInService},
};
use crate::{
    boxed::{BoxUpstream, BoxUpstreamFuture},
    connect::{Connect, NameEndpointLayer},
    error::{BoxError, Error},
    member::Member,
    plugin::{Call, HealthStatus, PluginHealth, PluginStatus, Reply},
    transport::OneOf,
};

/// How the endpoints of a plugin are reached: by a transport of this crate, or by any connector.
///
/// What a [`Factory`](super::Factory) makes. Replies that do not name their endpoint get its key.
///
/// # Example
/// ```
/// use tower::service_fn;
/// use tower_upstream::{BoxError, Call, Endpoint, Reply, connect_fn, plugins::AnyConnector};
///
/// let echo = AnyConnector::<u64, u64>::new(connect_fn(|_: &Endpoint| {
///     service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(call.into_body())))
/// }));
/// assert!(!echo.has_health());
/// ```
pub struct AnyConnector<Req, Res> {
    way: Way<Req, Res>,
}

enum Way<Req, Res> {
    BuiltIn(BuiltIn<Req, Res>),
    Any { make: Make<Req, Res>, has_health: bool, is_built_in: bool, name: &'static str },
}

type Make<Req, Res> = Arc<dyn Fn(&Arc<Member>) -> AnyService<Req, Res> + Send + Sync>;
type Ask = Arc<dyn Fn() -> BoxFuture<'static, HealthStatus> + Send + Sync>;

impl<Req: Request, Res: Response> AnyConnector<Req, Res> {
    /// Takes a connector whose services have no health of their own: it is not checked.
    pub fn new<C>(connector: C) -> Self
    where
        C: Connect + Send + Sync + 'static,
        C::Service: Service<Call<Req>, Response = Reply<Res>> + Clone + Send + Sync + 'static,
        <C::Service as Service<Call<Req>>>::Error: Into<BoxError> + 'static,
        <C::Service as Service<Call<Req>>>::Future: Send + 'static,
    {
        let connector = NameEndpointLayer::new().layer(connector);
        let make = move |member: &Arc<Member>| {
            let service = BoxUpstream::new(connector.connect(member));
            AnyService { service, health: None }
        };
        let name = type_name::<C>();
        let (has_health, is_built_in) = (false, false);
        Self { way: Way::Any { make: Arc::new(make), has_health, is_built_in, name } }
    }

    /// Takes a connector whose services report their health, which is checked as the `health_check` section
    /// says.
    ///
    /// ```
    /// use tower_upstream::{plugins::AnyConnector, transport::HttpTransport};
    /// let http = AnyConnector::with_health(HttpTransport::<u64, u64>::new());
    /// assert!(http.has_health());
    /// ```
    pub fn with_health<C>(connector: C) -> Self
    where
        C: Connect + Send + Sync + 'static,
        C::Service: Service<Call<Req>, Response = Reply<Res>>
            + PluginHealth
            + Clone
            + Send
            + Sync
            + 'static,
        <C::Service as Service<Call<Req>>>::Error: Into<BoxError> + 'static,
        <C::Service as Service<Call<Req>>>::Future: Send + 'static,
    {
        let connector = NameEndpointLayer::new().layer(connector);
        let make = move |member: &Arc<Member>| {
            let service = connector.connect(member);
            let asked = service.get_ref().clone();
            let ask = move || -> BoxFuture<'static, HealthStatus> {
                let asked = asked.clone();
                Box::pin(async move { asked.health().await })
            };
            AnyService { service: BoxUpstream::new(service), health: Some(Arc::new(ask)) }
        };
        let name = type_name::<C>();
        let (has_health, is_built_in) = (true, false);
        Self { way: Way::Any { make: Arc::new(make), has_health, is_built_in, name } }
    }

    pub(super) fn built_in(transports: BuiltIn<Req, Res>) -> Self {
        Self { way: Way::BuiltIn(transports) }
    }

    /// One of this crate's, whose endpoints have the scheme of the `transport`.
    #[cfg(feature = "grpc")]
    pub(super) fn into_built_in(mut self) -> Self {
        if let Way::Any { is_built_in, .. } = &mut self.way {
            *is_built_in = true;
        }
        self
    }

    /// Whether a transport of this crate reaches the endpoints.
    pub(super) fn is_built_in(&self) -> bool {
        match &self.way {
            Way::BuiltIn(_) => true,
            Way::Any { is_built_in, .. } => *is_built_in,
        }
    }

    /// Whether its messages are Protocol Buffers.
    #[cfg(feature = "grpc")]
    pub(super) fn is_native(&self) -> bool {
        matches!(&self.way, Way::Any { is_built_in: true, .. })
    }

    /// Returns whether the health of its services can be checked.
    pub fn has_health(&self) -> bool {
        match &self.way {
            Way::BuiltIn(_) => true,
            Way::Any { has_health, .. } => *has_health,
        }
    }
}

/// The service of an [`AnyConnector`] for one endpoint.
pub type AnyConnectorService<Req, Res> =
    OneOf<TransportService<BuiltInService<Req, Res>>, AnyService<Req, Res>>;

impl<Req, Res> Connect for AnyConnector<Req, Res> {
    type Service = AnyConnectorService<Req, Res>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        match &self.way {
            Way::BuiltIn(transports) => OneOf::First(TransportService(transports.connect(member))),
            Way::Any { make, .. } => OneOf::Second(make(member)),
        }
    }

    /// Any other service is in a box, which has sorted out what its errors say.
    fn is_known_client(&self) -> bool {
        match &self.way {
            Way::BuiltIn(transports) => transports.is_known_client(),
            Way::Any { .. } => true,
        }
    }
}

impl<Req, Res> Clone for AnyConnector<Req, Res> {
    fn clone(&self) -> Self {
        let way = match &self.way {
            Way::BuiltIn(transports) => Way::BuiltIn(transports.clone()),
            &Way::Any { ref make, has_health, is_built_in, name } => {
                Way::Any { make: make.clone(), has_health, is_built_in, name }
            }
        };
        Self { way }
    }
}

impl<Req, Res> fmt::Debug for AnyConnector<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::BuiltIn(transports) => transports.fmt(f),
            Way::Any { name, .. } => f.debug_tuple("AnyConnector").field(name).finish(),
        }
    }
}

/// Service of a transport of this crate, whose response futures are on the heap: they are large, and every layer
/// above would move them.
///
/// ```
/// use tower_upstream::{plugins::TransportService, transport::HttpService};
/// type OverHttp = TransportService<HttpService<u64, u64>>;
/// ```
#[derive(Debug, Clone)]
pub struct TransportService<S>(S);

impl<S, Req, Res> Service<Call<Req>> for TransportService<S>
where
    S: Service<Call<Req>, Response = Reply<Res>, Error = Error>,
    S::Future: Send + 'static,
{
    type Response = Reply<Res>;
    type Error = Error;
    type Future = BoxUpstreamFuture<Reply<Res>>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, call: Call<Req>) -> Self::Future {
        BoxUpstreamFuture::new(self.0.call(call))
    }
}

impl<S: PluginHealth + Sync> PluginHealth for TransportService<S> {
    fn health(&self) -> impl Future<Output = HealthStatus> + Send {
        self.0.health()
    }
}

/// Service of a connector that is none of this crate's, with its health if it has one.
pub struct AnyService<Req, Res> {
    service: BoxUpstream<Call<Req>, Reply<Res>>,
    health: Option<Ask>,
}

impl<Req, Res> Service<Call<Req>> for AnyService<Req, Res> {
    type Response = Reply<Res>;
    type Error = Error;
    type Future = BoxUpstreamFuture<Reply<Res>>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.service.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, call: Call<Req>) -> Self::Future {
        self.service.call(call)
    }
}

impl<Req, Res> PluginHealth for AnyService<Req, Res> {
    fn health(&self) -> impl Future<Output = HealthStatus> + Send {
        match &self.health {
            Some(ask) => ask(),
            None => Box::pin(ready(HealthStatus::new(PluginStatus::Unknown))),
        }
    }
}

impl<Req, Res> Clone for AnyService<Req, Res> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), health: self.health.clone() }
    }
}

impl<Req, Res> fmt::Debug for AnyService<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.service.fmt(f)
    }
}
