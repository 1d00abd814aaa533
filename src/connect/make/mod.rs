//! Connectors that make a service first, which takes a while and may fail.

mod making;
mod service;

use std::{fmt, future::poll_fn, sync::Arc, time::Duration};

use tokio::time::timeout;
use tower_service::Service;

pub use self::service::Made;

use self::making::{Shared, unmade};
use super::{Connect, UnsentIf, is_client};
use crate::{
    endpoint::Endpoint,
    error::{BoxError, Error, Kind},
    member::Member,
    outcome::TypeName,
};

/// How long making a service may take, unless [`ConnectMake::with_timeout`] says otherwise. As long as a
/// TCP connection.
const MAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a connector from a service that makes services: a tower `MakeService<Arc<Endpoint>, Req>`.
///
/// For clients that connect before they can be called, such as the handshake of a protocol, or a login.
/// A client that connects by itself on its first call, as those of hyper-util, tonic (`connect_lazy`) and
/// reqwest do, needs only a [`connect_fn`](super::connect_fn).
///
/// # How it works
/// The service of an endpoint is made when the first call wants it, once for all calls that wait, in a
/// task on the runtime of the set. While it is made, the endpoint is not ready, so a balancer sends the call
/// to another one that is. All later calls share it, until its `poll_ready` fails: then it is dead, and the next
/// call has it made anew.
///
/// Each making gets a clone of `make`, so a limit in it that its clones share, such as tower's
/// `ConcurrencyLimitLayer`, bounds how many services of a set are made at once.
///
/// # Errors
/// A service that cannot be made, takes longer than [`with_timeout`](ConnectMake::with_timeout) allows, or is dead
/// twice in a row fails the calls that waited for it: [`Kind::Connection`] or [`Kind::Timeout`],
/// [unsent](Error::is_unsent), a failure of the endpoint. An error of this crate keeps its kind, and one that
/// refuses stays a refusal. A maker that panics is a failure, too. `poll_ready` never fails, and the next
/// call tries again.
///
/// # Cancel safety
/// A call that is dropped while it waits leaves the making to the others, or to the next call. When the
/// endpoint is gone from the set and its last call has ended, the making is dropped.
///
/// # Bounds
/// One service is made at a time for each endpoint.
///
/// # Example
/// ```
/// use std::{convert::Infallible, io, sync::Arc};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     balance::{BalanceLayer, LeastRequest}, connect::connect_make, discover, endpoint::Endpoint,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::Error> {
/// // Logs in, and answers with a client that uses the session.
/// let login = service_fn(async |endpoint: Arc<Endpoint>| {
///     let session = Arc::new(format!("session at {}", endpoint.key()));
///     Ok::<_, io::Error>(service_fn(move |n: u32| {
///         let session = session.clone();
///         async move { Ok::<_, Infallible>(format!("{n} in {session}")) }
///     }))
/// });
/// let service = ServiceBuilder::new()
///     .layer(BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new()))
///     .service(connect_make(login));
/// assert_eq!(service.oneshot(7).await?, "7 in session at a:1");
/// # Ok(()) }
/// ```
pub fn connect_make<M>(make: M) -> ConnectMake<M>
where
    M: Service<Arc<Endpoint>>,
{
    ConnectMake { make, timeout: MAKE_TIMEOUT }
}

/// A connector made of a service that makes services. See [`connect_make`].
#[derive(Clone, Copy)]
pub struct ConnectMake<M> {
    make: M,
    timeout: Duration,
}

impl<M> ConnectMake<M> {
    /// Sets how long making a service may take, its maker's readiness included. Zero is the default.
    /// Default: 5 s.
    ///
    /// ```
    /// use std::{convert::Infallible, sync::Arc, time::Duration};
    /// use tower::service_fn;
    /// use tower_upstream::{connect::connect_make, endpoint::Endpoint};
    /// # #[derive(Clone)] struct Client;
    /// let connector = connect_make(service_fn(async |_: Arc<Endpoint>| Ok::<_, Infallible>(Client)))
    ///     .with_timeout(Duration::from_secs(1));
    /// # let _ = connector;
    /// ```
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = if timeout.is_zero() { MAKE_TIMEOUT } else { timeout };
        self
    }

    /// Treats the errors of calls for which `is_unsent` returns `true` as those of calls that were never
    /// sent. See [`ConnectFn::unsent_if`](super::ConnectFn::unsent_if). A service that could not be made needs
    /// no such rule.
    ///
    /// ```
    /// use std::{convert::Infallible, sync::Arc};
    /// use tower::service_fn;
    /// use tower_upstream::{connect::connect_make, endpoint::Endpoint, error::BoxError};
    /// # #[derive(Clone)] struct Client;
    /// let connector = connect_make(service_fn(async |_: Arc<Endpoint>| Ok::<_, Infallible>(Client)))
    ///     .unsent_if(|error: &BoxError| error.to_string() == "no stream is free");
    /// # let _ = connector;
    /// ```
    pub fn unsent_if(self, is_unsent: fn(&BoxError) -> bool) -> UnsentIf<Self> {
        UnsentIf::new(self, is_unsent)
    }
}

impl<M> Connect for ConnectMake<M>
where
    M: Service<Arc<Endpoint>> + Clone + Send + Sync + 'static,
    M::Response: Clone + Send + Sync + 'static,
    M::Error: Into<BoxError> + 'static,
    M::Future: Send,
{
    type Service = Made<M::Response>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let key = member.shared_key().clone();
        let (make, member, limit) = (self.make.clone(), member.clone(), self.timeout);
        let make = move || Box::pin(made(make.clone(), member.endpoint(), limit)) as _;
        Made::new(Arc::new(Shared::new(key, Arc::new(make))))
    }

    fn is_known_client(&self) -> bool {
        is_client::<M::Response>()
    }
}

/// Makes one service.
async fn made<M>(
    mut make: M,
    endpoint: Arc<Endpoint>,
    limit: Duration,
) -> Result<M::Response, Error>
where
    M: Service<Arc<Endpoint>, Error: Into<BoxError> + 'static>,
{
    let making = async {
        poll_fn(|cx| make.poll_ready(cx)).await?;
        make.call(endpoint).await
    };
    match timeout(limit, making).await {
        Ok(made) => made.map_err(unmade),
        Err(_) => Err(Error::not_sent(Kind::Timeout)
            .message(format!("making the service took longer than {limit:?}"))),
    }
}

impl<M> fmt::Debug for ConnectMake<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectMake")
            .field("make", &TypeName::<M>::new())
            .field("timeout", &self.timeout)
            .finish()
    }
}
