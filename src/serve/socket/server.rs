use std::{fmt, sync::Arc};

use super::{bind::url, channel, config::BridgeConfig, plugin::Answers};
use crate::serve::{
    accept::{Serve, Serving, Terms, serve_until},
    listener::Listener,
    stop::terminated,
};

/// Plugin that listens on a socket, of a [`SocketServe`](super::SocketServe).
///
/// Callers that connect wait until it runs.
///
/// # Example
/// ```
/// use tower::service_fn;
/// use tower_upstream::{Call, Reply, serve};
///
/// # #[tokio::main] async fn main() -> Result<(), tower_upstream::Error> {
/// let plugin = service_fn(|call: Call<u64>| async move {
///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
/// });
/// let server = serve::tcp(plugin, "127.0.0.1:0").listen().await?;
/// println!("listening on {}", server.address());
/// server.run_until(async { /* a signal of yours */ }).await;
/// # Ok(())
/// # }
/// ```
#[must_use = "a server answers nothing until it runs"]
pub struct SocketServer {
    listener: Listener,
    config: Arc<BridgeConfig>,
    serve: Serve,
}

impl SocketServer {
    pub(super) fn new(listener: Listener, plugin: impl Answers, config: BridgeConfig) -> Self {
        let (plugin, config) = (Arc::new(plugin), Arc::new(config));
        let settings = config.clone();
        let serve = Box::new(move |socket, stop| {
            let (plugin, config) = (plugin.clone(), settings.clone());
            Box::pin(channel::serve(socket, plugin, config, stop)) as Serving
        });
        Self { listener, config, serve }
    }

    /// Returns the address for a [`SocketTransport`](crate::transport::SocketTransport), such as
    /// `unix:/run/tax.sock` or `tcp://127.0.0.1:9000`.
    pub fn address(&self) -> String {
        url(&self.listener)
    }

    /// Serves the plugin until the process is asked to stop; see [`terminated`](crate::serve::terminated()).
    ///
    /// Then it stops as [`run_until`](Self::run_until) does.
    pub async fn run(self) {
        self.run_until(terminated()).await;
    }

    /// Serves the plugin until `stop` completes, and stops.
    ///
    /// To stop is to take away the socket's file, to accept no more than those that wait already, to close
    /// the connections without a call, and to wait until the others have their answers, for at most
    /// [`drain_timeout`](BridgeConfig::drain_timeout). A message that had come by then is answered.
    ///
    /// # Cancel safety
    /// Dropping the future stops without waiting, and drops the calls.
    pub async fn run_until(self, stop: impl Future<Output = ()>) {
        let Self { listener, config, serve } = self;
        let (max_connections, drain_timeout) = (config.max_channels, config.drain_timeout);
        serve_until(listener, serve, Terms { max_connections, drain_timeout }, stop).await;
    }
}

impl fmt::Debug for SocketServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketServer")
            .field("address", &self.address())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
