use std::{borrow::Cow, fmt, pin::Pin, sync::Arc};

use tower_service::Service;

use super::config::HealthConfig;
use crate::{
    endpoint::Endpoint,
    error::BoxError,
    outcome::{TypeName, is_refusal},
    plugin::{HealthStatus, PluginStatus},
};

/// Result of one check.
///
/// # Example
/// ```
/// use tower_upstream::health::Verdict;
/// assert_eq!(Verdict::from(true), Verdict::Healthy);
/// let found = Err::<(), _>("no disk");
/// assert_eq!(Verdict::from(found), Verdict::Unhealthy("no disk".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The check succeeded.
    Healthy,
    /// The check succeeded, but the target works worse than usual, with the reason.
    Degraded(Cow<'static, str>),
    /// The check failed, with the reason.
    Unhealthy(Cow<'static, str>),
    /// There was no check. It does not count.
    Skipped,
}

impl From<bool> for Verdict {
    fn from(healthy: bool) -> Self {
        if healthy { Self::Healthy } else { Self::Unhealthy("the check says no".into()) }
    }
}

/// `Ok` is healthy, and `Err` is unhealthy. A refusal of this crate's own guards is skipped.
impl<T, E: Into<BoxError> + 'static> From<Result<T, E>> for Verdict {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Healthy,
            Err(error) if is_refusal(&error) => Self::Skipped,
            Err(error) => Self::Unhealthy(error.into().to_string().into()),
        }
    }
}

/// Unhealthy and offline are unhealthy. Unknown is skipped.
impl From<HealthStatus> for Verdict {
    fn from(health: HealthStatus) -> Self {
        match health.status {
            PluginStatus::Healthy => Self::Healthy,
            PluginStatus::Degraded => Self::Degraded(health.message.into()),
            PluginStatus::Unhealthy | PluginStatus::Offline => {
                Self::Unhealthy(health.message.into())
            }
            PluginStatus::Unknown => Self::Skipped,
        }
    }
}

/// Checks whether an endpoint is healthy.
///
/// Implemented by `HttpCheck`, `TcpCheck` and [`PluginCheck`](super::PluginCheck), by closures through
/// [`check_fn`] and [`check_upstream`], and by services through [`CheckService`].
///
/// All checks of a layer run concurrently in one task, so a check must not block the thread. A check that
/// panics has failed.
///
/// # Cancel safety
/// A check that takes longer than [`HealthConfig::timeout`] has failed, and its future is dropped. It is
/// also dropped when checks are stopped, and when the endpoint leaves the set.
///
/// # Example
/// ```
/// use std::{net::ToSocketAddrs, sync::Arc};
/// use tower_upstream::{Endpoint, health::{Check, Verdict}};
///
/// /// Whether the endpoint takes connections.
/// struct Connects;
///
/// impl Check for Connects {
///     async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Verdict {
///         match endpoint {
///             Some(endpoint) => {
///                 let address = endpoint.address().authority().to_owned();
///                 tokio::net::TcpStream::connect(address).await.into()
///             }
///             None => Verdict::Skipped,
///         }
///     }
/// }
/// ```
pub trait Check: Send + Sync + 'static {
    /// Checks `endpoint`, which is `None` above a balancer or over a single client.
    fn check(&self, endpoint: Option<Arc<Endpoint>>) -> impl Future<Output = Verdict> + Send;

    /// Returns why this check can never work for `endpoint`, and what to do about it.
    ///
    /// If there is a problem, nothing is checked, and every call through that gate is refused with
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) and this text. Default: `None`.
    fn problem(&self, endpoint: Option<&Endpoint>) -> Option<String> {
        let _ = endpoint;
        None
    }
}

pub(super) const NO_ENDPOINT: &str = "this health check needs an endpoint, so it can only stand below a \
                           balancer; use `check_upstream(|| ..)` here";

/// Creates a check that calls a closure with each endpoint, for a gate below a balancer.
///
/// The closure returns a future of a [`Verdict`], a `bool`, a `Result` or a [`HealthStatus`].
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use tower_upstream::{Endpoint, HealthGateLayer, health::check_fn};
///
/// let layer = HealthGateLayer::new(check_fn(|endpoint: Arc<Endpoint>| async move {
///     tokio::net::TcpStream::connect(endpoint.address().authority()).await
/// }));
/// # let _ = layer;
/// ```
pub fn check_fn<F, R, V>(check: F) -> CheckFn<F>
where
    F: Fn(Arc<Endpoint>) -> R + Send + Sync + 'static,
    R: Future<Output = V> + Send,
    V: Into<Verdict>,
{
    CheckFn { check }
}

/// Check of each endpoint by a closure. See [`check_fn`].
///
/// ```
/// use std::sync::Arc;
/// use tower_upstream::{Endpoint, health::{CheckFn, Verdict, check_fn}};
/// type Ping = fn(Arc<Endpoint>) -> std::future::Ready<bool>;
/// let check: CheckFn<Ping> = check_fn(|_| std::future::ready(true));
/// # let _ = check;
/// ```
#[derive(Clone, Copy)]
pub struct CheckFn<F> {
    check: F,
}

impl<F, R, V> Check for CheckFn<F>
where
    F: Fn(Arc<Endpoint>) -> R + Send + Sync + 'static,
    R: Future<Output = V> + Send,
    V: Into<Verdict>,
{
    async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Verdict {
        match endpoint {
            Some(endpoint) => (self.check)(endpoint).await.into(),
            None => Verdict::Skipped,
        }
    }

    fn problem(&self, endpoint: Option<&Endpoint>) -> Option<String> {
        endpoint.is_none().then(|| NO_ENDPOINT.to_owned())
    }
}

impl<F> fmt::Debug for CheckFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CheckFn").field(&TypeName::<F>::new()).finish()
    }
}

/// Creates a check that calls a closure for the upstream as a whole, for a gate above a balancer or over
/// a single client.
///
/// The closure returns what that of [`check_fn`] does.
///
/// # Example
/// ```
/// use tower_upstream::{HealthGateLayer, health::check_upstream};
/// # async fn ping() -> Result<(), std::io::Error> { Ok(()) }
/// let layer = HealthGateLayer::new(check_upstream(|| async { ping().await }));
/// # let _ = layer;
/// ```
pub fn check_upstream<F, R, V>(check: F) -> CheckUpstream<F>
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = V> + Send,
    V: Into<Verdict>,
{
    CheckUpstream { check }
}

/// Check of an upstream as a whole by a closure. See [`check_upstream`].
///
/// ```
/// use tower_upstream::health::{CheckUpstream, check_upstream};
/// type Ping = fn() -> std::future::Ready<bool>;
/// let check: CheckUpstream<Ping> = check_upstream(|| std::future::ready(true));
/// # let _ = check;
/// ```
#[derive(Clone, Copy)]
pub struct CheckUpstream<F> {
    check: F,
}

impl<F, R, V> Check for CheckUpstream<F>
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = V> + Send,
    V: Into<Verdict>,
{
    async fn check(&self, _: Option<Arc<Endpoint>>) -> Verdict {
        (self.check)().await.into()
    }
}

impl<F> fmt::Debug for CheckUpstream<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CheckUpstream").field(&TypeName::<F>::new()).finish()
    }
}

/// Check of each endpoint by a service, for a gate below a balancer: `Ok` is healthy, and `Err` is
/// unhealthy.
///
/// Timeouts, retries or credentials can be layers around the service.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use tower::service_fn;
/// use tower_upstream::{Endpoint, HealthGateLayer, health::CheckService};
///
/// let ping = service_fn(|endpoint: Arc<Endpoint>| async move {
///     tokio::net::TcpStream::connect(endpoint.address().authority()).await
/// });
/// let layer = HealthGateLayer::new(CheckService::new(ping));
/// # let _ = layer;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct CheckService<S> {
    service: S,
}

impl<S> CheckService<S> {
    /// Creates a check that calls a clone of `service` each time.
    ///
    /// ```
    /// use std::{convert::Infallible, sync::Arc};
    /// use tower_upstream::{Endpoint, health::CheckService};
    /// let ping = tower::service_fn(async |_: Arc<Endpoint>| Ok::<_, Infallible>(()));
    /// let check = CheckService::new(ping);
    /// # let _ = check;
    /// ```
    pub const fn new(service: S) -> Self {
        Self { service }
    }
}

impl<S> Check for CheckService<S>
where
    S: Service<Arc<Endpoint>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Into<BoxError> + Send + 'static,
{
    async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Verdict {
        let Some(endpoint) = endpoint else {
            return Verdict::Skipped;
        };
        let mut service = self.service.clone();
        match std::future::poll_fn(|cx| service.poll_ready(cx)).await {
            Ok(()) => service.call(endpoint).await.into(),
            Err(error) => Err::<(), _>(error).into(),
        }
    }

    fn problem(&self, endpoint: Option<&Endpoint>) -> Option<String> {
        endpoint.is_none().then(|| NO_ENDPOINT.to_owned())
    }
}

pub(super) type Checking = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// A check whose type is forgotten, so that a gate is one type whatever checks it.
pub(super) trait AnyCheck: Send + Sync {
    fn begin(self: Arc<Self>, endpoint: Option<Arc<Endpoint>>) -> Checking;
    fn problem_with(&self, endpoint: Option<&Endpoint>) -> Option<String>;
}

impl<C: Check> AnyCheck for C {
    fn begin(self: Arc<Self>, endpoint: Option<Arc<Endpoint>>) -> Checking {
        Box::pin(async move { self.check(endpoint).await })
    }

    fn problem_with(&self, endpoint: Option<&Endpoint>) -> Option<String> {
        self.problem(endpoint)
    }
}

/// Which check a target has that goes by a config.
pub(super) type Checks = Arc<dyn Fn(&HealthConfig) -> Arc<dyn AnyCheck> + Send + Sync>;

/// One check, whatever the config.
pub(super) fn always(check: impl Check) -> Checks {
    let check: Arc<dyn AnyCheck> = Arc::new(check);
    Arc::new(move |_| check.clone())
}
