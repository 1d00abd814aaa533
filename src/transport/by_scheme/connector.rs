use std::sync::Arc;

use super::{
    routes::{On, Or, Routes},
    service::BySchemeService,
};
use crate::{
    connect::Connect,
    error::{Code, Error, Kind},
    member::Member,
};

/// Connects to each endpoint with the connector for the scheme of its address.
///
/// One balanced set can hold plugins that are reached in different ways, under the same guards. The connectors
/// take the same requests and give the same responses; for plugins of several types, let them be of
/// [`Encoded`](crate::plugin::Encoded) bodies, below a [`CodecLayer`](crate::codec::CodecLayer).
///
/// Schemes are compared without case, and the first connector for a scheme has it. An address without a
/// scheme is one of `http`.
///
/// # Errors
/// A call to an endpoint whose scheme has no connector fails, unsent, with
/// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), code `PLUGIN_1008`. The error names the schemes
/// that have one.
///
/// # Example
/// ```
/// use tower::ServiceBuilder;
/// use tower_upstream::{
///     BalanceLayer, CircuitBreakerLayer, LeastRequest, discover, plugin::Encoded,
///     transport::{ByScheme, HttpTransport, SocketTransport},
/// };
///
/// let endpoints = discover::fixed(["https://tax.example", "tcp://127.0.0.1:9000", "unix:/run/tax.sock"])?;
/// let plugins = ServiceBuilder::new()
///     .layer(BalanceLayer::new(endpoints, LeastRequest::new()))
///     .layer(CircuitBreakerLayer::default())
///     .service(
///         ByScheme::new(["http", "https"], HttpTransport::<Encoded, Encoded>::new())
///             .or(["unix", "tcp"], SocketTransport::<Encoded, Encoded>::new()),
///     );
/// # let _ = plugins;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ByScheme<R> {
    routes: R,
}

impl<C> ByScheme<On<C>> {
    /// Uses `connector` for endpoints with one of `schemes`.
    pub fn new<T>(schemes: impl IntoIterator<Item = T>, connector: C) -> Self
    where
        T: Into<String>,
    {
        Self { routes: On::new(schemes, connector) }
    }
}

impl<R> ByScheme<R> {
    /// Uses `connector` for endpoints with one of `schemes`, unless there is a connector for it already.
    ///
    /// ```
    /// use tower_upstream::{Endpoint, connect_fn, transport::ByScheme};
    /// # #[derive(Clone)] struct Client;
    /// let clients = ByScheme::new(["http"], connect_fn(|_: &Endpoint| Client))
    ///     .or(["grpc"], connect_fn(|_: &Endpoint| Client));
    /// # let _ = clients;
    /// ```
    #[must_use]
    pub fn or<T, C>(
        self,
        schemes: impl IntoIterator<Item = T>,
        connector: C,
    ) -> ByScheme<Or<R, On<C>>>
    where
        T: Into<String>,
    {
        ByScheme { routes: Or::new(self.routes, On::new(schemes, connector)) }
    }
}

impl<R: Routes> Connect for ByScheme<R> {
    type Service = BySchemeService<R::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let endpoint = member.endpoint();
        let scheme = endpoint.address().scheme().unwrap_or("http");
        let route = self.routes.route(scheme, member).ok_or_else(|| {
            let known: Vec<_> = self.routes.schemes().map(|known| format!("`{known}`")).collect();
            Error::not_sent(Kind::InvalidConfig)
                .coded(Some(Code::PLUGIN_1008))
                .at_endpoint(member.shared_key())
                .message(format!(
                    "no transport for the scheme `{scheme}` of `{}`: there are {}",
                    endpoint.address(),
                    known.join(", ")
                ))
        });
        BySchemeService::new(route)
    }
}
