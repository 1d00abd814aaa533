use std::{
    fmt,
    future::{Ready, ready as at_once},
    io,
    marker::PhantomData,
    sync::Arc,
};

use futures_util::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tower_service::Service;

use super::{config::StdioConfig, plugin::Plugin, run::run, streams::Taken};
use crate::{
    error::{BoxError, Error, Kind},
    plugin::{Call, HealthStatus, MULTIPLEX, PluginInfo, Reply},
    serve::terminated,
};

/// Serves `plugin` over the stdin and stdout of this process, which its host has started.
///
/// Each line of stdin is a question, answered by a line of stdout, in the order in which the answers come.
///
/// | method | result |
/// |---|---|
/// | `execute` | the reply of the plugin |
/// | `health` | a [`HealthStatus`] |
/// | `info` | the [`PluginInfo`], with the capability [`MULTIPLEX`](crate::plugin::MULTIPLEX) |
///
/// The call has the request id, headers, metadata, timeout and retries of its question. The timeout becomes
/// its deadline, which the plugin has to obey. Each call goes to a clone of `plugin`, which is driven to
/// readiness first. Empty lines are skipped.
///
/// While it runs, what the process prints goes to stderr, which hosts log, and its stdin is empty for all
/// others. Unix only.
///
/// # Errors
/// | error | answer |
/// |---|---|
/// | of the plugin | its text in `error` |
/// | of this crate | its code and what that stands for; endpoints and causes are left out |
/// | a refusal of a guard of this crate | the same, with `status` 429 for a rate limit, otherwise 503, and `retry_after_ms` |
/// | the plugin panics | an error that says so |
/// | a line that is no question, or too long | an error that says so, with its `id` where that is known |
///
/// # Bounds
/// Those of [`StdioConfig`].
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
/// serve::stdio(plugin).await
/// # }
/// ```
pub fn stdio<S, T>(plugin: S) -> StdioServe<S, T> {
    let health = || at_once(HealthStatus::healthy());
    let plugin = Plugin {
        service: plugin,
        health: health as _,
        info: PluginInfo::default(),
        types: PhantomData,
    };
    StdioServe { plugin, config: StdioConfig::default() }
}

/// Plugin to be served over stdin and stdout; see [`stdio`](super::stdio()).
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
/// serve::stdio(plugin).info(info).run().await
/// # }
/// ```
#[must_use = "a plugin answers nothing until it runs"]
pub struct StdioServe<S, T, H = fn() -> Ready<HealthStatus>> {
    plugin: Plugin<S, T, H>,
    config: StdioConfig,
}

impl<S, T, H> StdioServe<S, T, H> {
    /// Replaces the settings.
    pub fn config(mut self, config: StdioConfig) -> Self {
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
    pub fn health<G, F>(self, health: G) -> StdioServe<S, T, G>
    where
        G: Fn() -> F,
        F: Future<Output = HealthStatus>,
    {
        let Plugin { service, info, types, .. } = self.plugin;
        StdioServe { plugin: Plugin { service, health, info, types }, config: self.config }
    }
}

impl<S, T, U, H, F> StdioServe<S, T, H>
where
    S: Service<Call<T>, Response = Reply<U>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    T: DeserializeOwned + Send + 'static,
    U: Serialize + Send + 'static,
    H: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = HealthStatus> + Send,
{
    /// Serves the plugin until stdin ends, or the process is asked to stop; see
    /// [`terminated`](super::super::terminated()).
    ///
    /// Then nothing more is read, and the calls that were read are answered, for at most
    /// [`drain_timeout`](StdioConfig::drain_timeout). Calls that were not read stay in the pipe: a
    /// [`ProcessTransport`](crate::transport::ProcessTransport) gives them to the next process.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for settings that cannot be, and with the code `RPC_2002` if a handshake is
    /// required and is not right. [`Kind::Connection`] if stdin or stdout broke.
    ///
    /// # Cancel safety
    /// Dropping the future drops the calls, and gives stdin and stdout back.
    pub async fn run(self) -> Result<(), Error> {
        self.config.validate()?;
        if self.config.require_handshake {
            self.config.handshake.check(|name| std::env::var(name).ok())?;
        }
        let (_taken, input, output) = Taken::new().map_err(broke)?;
        self.run_over(input, output, terminated()).await
    }

    /// Serves the plugin over other streams, until `input` ends, or `stop` completes. The environment is not
    /// looked at.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for settings that cannot be, [`Kind::Connection`] if a stream broke.
    ///
    /// # Cancel safety
    /// Dropping the future drops the calls.
    ///
    /// # Example
    /// ```
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// use tower::service_fn;
    /// use tower_upstream::{Call, Reply, serve};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::BoxError> {
    /// let plugin = service_fn(|call: Call<u64>| async move {
    ///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
    /// });
    /// let (input, output) = (&b"{\"id\":\"r\",\"method\":\"execute\",\"payload\":7}\n"[..], Vec::new());
    /// let mut output = std::io::Cursor::new(output);
    /// serve::stdio(plugin).run_over(input, &mut output, std::future::pending()).await?;
    /// assert_eq!(output.into_inner(), b"{\"id\":\"r\",\"result\":14}\n");
    /// # Ok(()) }
    /// ```
    pub async fn run_over<R, W>(
        self,
        input: R,
        output: W,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let Self { mut plugin, config } = self;
        config.validate()?;
        if !plugin.info.capabilities.iter().any(|of| of == MULTIPLEX) {
            plugin.info.capabilities.push(MULTIPLEX.to_owned());
        }
        let plugin = Arc::new(plugin);
        let spawn = |tasks: &mut JoinSet<Vec<u8>>, line: String| {
            let plugin = plugin.clone();
            tasks.spawn(async move { plugin.answer(&line).await });
        };
        run(input, output, &config, spawn, stop).await.map_err(broke)
    }
}

/// Is [`StdioServe::run`], with its errors and its cancel safety.
impl<S, T, U, H, F> IntoFuture for StdioServe<S, T, H>
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

fn broke(error: io::Error) -> Error {
    Error::failed(Kind::Connection).message("cannot serve over these streams").caused_by(error)
}

impl<S: fmt::Debug, T, H> fmt::Debug for StdioServe<S, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdioServe")
            .field("plugin", &self.plugin.service)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
