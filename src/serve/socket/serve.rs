use std::{
    fmt,
    future::{Ready, ready as at_once},
    marker::PhantomData,
};

use futures_util::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::{
    bind::{BindAddress, bind},
    config::BridgeConfig,
    plugin::Plugin,
    server::SocketServer,
};
use crate::{
    error::{BoxError, Error},
    plugin::{Call, HealthStatus, PluginInfo, Reply},
};

/// Serves `plugin` over a Unix socket at `path`.
///
/// A file of a socket whose process has ended is replaced. The file is for the user of this process
/// alone, unless [`BridgeConfig::allowed_uids`] names others.
///
/// | message | answer |
/// |---|---|
/// | `execute` | the reply of the plugin |
/// | `health` | a [`HealthStatus`]; with `success` if it is usable |
/// | `info` | the [`PluginInfo`] |
/// | `ping` | `success` |
///
/// The call has the id, headers, metadata and timeout of its message. The timeout becomes its deadline,
/// which the plugin has to obey; a call is dropped when its caller closes the connection. Each call goes
/// to a clone of `plugin`, which is driven to readiness first, so a plugin that is not ready can still
/// report its health.
///
/// # Errors
/// | error | answer |
/// |---|---|
/// | of the plugin | its text in `error` |
/// | of this crate | its code and what that stands for; endpoints and causes are left out |
/// | a refusal of a guard of this crate | the same, with `status` 429 for a rate limit, otherwise 503, and `retry_after_ms` |
/// | `data` that is no request | an error that says so |
/// | what is no message, or too long | an error that says so, and the end of the connection |
///
/// # Bounds
/// Those of [`BridgeConfig`].
///
/// # Example
/// ```no_run
/// use tower::service_fn;
/// use tower_upstream::{Call, Reply, serve};
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let plugin = service_fn(|call: Call<u64>| async move {
///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
/// });
/// serve::unix(plugin, "/run/double.sock").await
/// # }
/// ```
#[cfg(unix)]
pub fn unix<S, T>(plugin: S, path: impl Into<String>) -> SocketServe<S, T> {
    SocketServe::new(plugin, BindAddress::Unix(path.into()), BridgeConfig::default())
}

/// Serves `plugin` over TCP at `address`, such as `127.0.0.1:9000`.
///
/// The messages are those of a Unix socket. Only this host can connect, unless [`BridgeConfig`] allows
/// others, which then have to prove a token.
///
/// # Example
/// ```no_run
/// use tower::service_fn;
/// use tower_upstream::{Call, Reply, serve};
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let plugin = service_fn(|call: Call<u64>| async move {
///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
/// });
/// serve::tcp(plugin, "127.0.0.1:9000").run().await
/// # }
/// ```
pub fn tcp<S, T>(plugin: S, address: impl Into<String>) -> SocketServe<S, T> {
    SocketServe::new(plugin, BindAddress::Tcp(address.into()), BridgeConfig::default())
}

/// Serves `plugin` over TCP where `config` says, and by its settings.
///
/// # Example
/// ```no_run
/// use tower::service_fn;
/// use tower_upstream::{Call, Reply, serve::{self, BridgeConfig}};
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let plugin = service_fn(|call: Call<u64>| async move {
///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
/// });
/// let config = BridgeConfig::default().with_listen_port(9_000).with_max_channels(10);
/// serve::bridge(plugin, config).run().await
/// # }
/// ```
pub fn bridge<S, T>(plugin: S, config: BridgeConfig) -> SocketServe<S, T> {
    let host = config.listen_address.trim_matches(['[', ']']);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let address = BindAddress::Tcp(format!("{host}:{}", config.listen_port));
    SocketServe::new(plugin, address, config)
}

/// Plugin to be served over a socket; see [`unix`](super::unix()), [`tcp`](super::tcp()) and
/// [`bridge`](super::bridge()).
///
/// # Example
/// ```no_run
/// use tower_upstream::{plugin::PluginInfo, serve};
///
/// # async fn example<S>(plugin: S) -> Result<(), tower_upstream::Error>
/// # where
/// #     S: tower::Service<tower_upstream::Call<u64>, Response = tower_upstream::Reply<u64>>,
/// #     S: Clone + Send + Sync + 'static,
/// #     S::Error: Into<tower_upstream::BoxError>,
/// #     S::Future: Send,
/// # {
/// let info = PluginInfo::new("double", "1.0.0");
/// serve::tcp(plugin, "127.0.0.1:9000").info(info).run().await
/// # }
/// ```
#[must_use = "a plugin answers nothing until it runs"]
pub struct SocketServe<S, T, H = fn() -> Ready<HealthStatus>> {
    plugin: Plugin<S, T, H>,
    address: BindAddress,
    config: BridgeConfig,
}

impl<S, T> SocketServe<S, T> {
    fn new(service: S, address: BindAddress, config: BridgeConfig) -> Self {
        let health = || at_once(HealthStatus::healthy());
        let plugin = Plugin {
            service,
            health: health as _,
            info: PluginInfo::default(),
            types: PhantomData,
        };
        Self { plugin, address, config }
    }
}

impl<S, T, H> SocketServe<S, T, H> {
    /// Replaces the settings. Where to listen stays as it is.
    pub fn config(mut self, config: BridgeConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the description that `info` answers. Default: empty.
    pub fn info(mut self, info: PluginInfo) -> Self {
        self.plugin.info = info;
        self
    }

    /// Sets the closure that `health` calls.
    ///
    /// If the health has no time, the time of the call is added. Default: always healthy.
    pub fn health<G, F>(self, health: G) -> SocketServe<S, T, G>
    where
        G: Fn() -> F,
        F: Future<Output = HealthStatus>,
    {
        let Plugin { service, info, types, .. } = self.plugin;
        let plugin = Plugin { service, health, info, types };
        SocketServe { plugin, address: self.address, config: self.config }
    }
}

impl<S, T, U, H, F> SocketServe<S, T, H>
where
    S: Service<Call<T>, Response = Reply<U>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    T: DeserializeOwned + Send + 'static,
    U: Serialize + Send,
    H: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = HealthStatus> + Send,
{
    /// Begins to listen. Callers can connect from then on.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) for settings that cannot be, and for a
    /// place where nothing can listen, such as one where another process does.
    pub async fn listen(self) -> Result<SocketServer, Error> {
        self.config.validate()?;
        let listener = bind(&self.address, &self.config).await?;
        Ok(SocketServer::new(listener, self.plugin, self.config))
    }

    /// Listens, and serves the plugin until the process is asked to stop.
    ///
    /// See [`SocketServer::run`].
    ///
    /// # Errors
    /// Those of [`listen`](Self::listen).
    pub async fn run(self) -> Result<(), Error> {
        self.listen().await?.run().await;
        Ok(())
    }
}

/// Is [`SocketServe::run`], with its errors.
impl<S, T, U, H, F> IntoFuture for SocketServe<S, T, H>
where
    S: Service<Call<T>, Response = Reply<U>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    T: DeserializeOwned + Send + 'static,
    U: Serialize + Send + 'static,
    H: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = HealthStatus> + Send + 'static,
{
    type Output = Result<(), Error>;
    type IntoFuture = BoxFuture<'static, Result<(), Error>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<S: fmt::Debug, T, H> fmt::Debug for SocketServe<S, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketServe")
            .field("plugin", &self.plugin.service)
            .field("address", &self.address)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
