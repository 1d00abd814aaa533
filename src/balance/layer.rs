use std::sync::Arc;

use tokio::runtime::Handle;
use tower_layer::Layer;

use super::{Balance, BalanceConfig, Strategy, set::Set, task::Starter};
use crate::{connect::Connect, discover::Discover};

/// Balances calls over the endpoints that a source of them finds.
///
/// What stands below it is a [connector](Connect): it makes the service for each endpoint. Each
/// [`layer`](Layer::layer) makes a set of its own, which starts to watch the source with the first
/// `poll_ready` inside a tokio runtime, never before.
///
/// # Example
/// ```
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     BoxError, Endpoint,
///     balance::{BalanceLayer, LeastRequest},
///     connect_fn, discover,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let endpoints = discover::fixed(["http://10.0.0.1:8080", "http://10.0.0.2:8080"])?;
/// let service = ServiceBuilder::new()
///     .layer(BalanceLayer::new(endpoints, LeastRequest::default()))
///     .service(connect_fn(|endpoint: &Endpoint| {
///         let key = endpoint.key().to_owned();
///         service_fn(move |n: u32| std::future::ready(Ok::<_, BoxError>(format!("{n} by {key}"))))
///     }));
///
/// let answer = service.clone().oneshot(7).await?;
/// assert!(answer.starts_with("7 by http://10.0.0."));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct BalanceLayer<D, P> {
    discover: Arc<D>,
    strategy: P,
    config: BalanceConfig,
    runtime: Option<Handle>,
}

impl<D: Discover, P: Strategy> BalanceLayer<D, P> {
    /// Balances over what `discover` finds, as `strategy` chooses.
    pub fn new(discover: D, strategy: P) -> Self {
        Self {
            discover: Arc::new(discover),
            strategy,
            config: BalanceConfig::default(),
            runtime: None,
        }
    }

    /// Sets what happens when endpoints are missing. Values out of range become the nearest sane
    /// ones; see [`BalanceConfig::validate`].
    #[must_use]
    pub fn with_config(mut self, config: BalanceConfig) -> Self {
        self.config = config;
        self
    }

    /// Runs the background task of each set on `runtime`, and so connects there.
    ///
    /// Default: the runtime of the call that starts it. Set this where that one may stop being driven
    /// while the service lives on, such as a current-thread runtime whose `block_on` has returned: its
    /// tasks are neither run nor dropped, and the set would stay as it is for good. Once `runtime` has
    /// been shut down, the task runs where it is used.
    ///
    /// ```
    /// use tower_upstream::{BalanceLayer, LeastRequest, discover};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::Error> {
    /// let layer = BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new())
    ///     .runtime(tokio::runtime::Handle::current());
    /// # let _ = layer;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }
}

impl<D, P, C> Layer<C> for BalanceLayer<D, P>
where
    D: Discover,
    P: Strategy + Clone,
    C: Connect + Send + Sync + 'static,
    C::Service: Clone + Send + Sync + 'static,
{
    type Service = Balance<C::Service, P>;

    fn layer(&self, connect: C) -> Self::Service {
        let starter = Starter { discover: self.discover.clone(), connect: Arc::new(connect) };
        let (strategy, config) = (self.strategy.clone(), self.config.clone());
        Balance::new(Set::new(strategy, config, self.runtime.clone(), Box::new(starter)))
    }
}

impl<D, P: Clone> Clone for BalanceLayer<D, P> {
    fn clone(&self) -> Self {
        Self {
            discover: self.discover.clone(),
            strategy: self.strategy.clone(),
            config: self.config.clone(),
            runtime: self.runtime.clone(),
        }
    }
}
