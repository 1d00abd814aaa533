use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{channel, config::BridgeConfig, listener::Listener, plugin::Answers, stop::terminated};
use crate::dial::Socket;

/// How long after one failed the next connection is accepted, such as without file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

/// Serves a connection, until the server stops. Boxed once for each connection, so that a server has a
/// type that can be written.
type Serve = Box<dyn Fn(Socket, watch::Receiver<bool>) -> Serving + Send + Sync>;
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

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
        self.listener.address()
    }

    /// Serves the plugin until the process is asked to stop; see [`terminated`](super::terminated()).
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
        let (stopping, is_stopping) = watch::channel(false);
        let mut channels = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let mut accepting = pin!(listener.accept());
            let accepted = poll_fn(|cx| {
                if stop.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                while let Poll::Ready(Some(ended)) = channels.poll_join_next(cx) {
                    note(ended);
                }
                if channels.len() >= config.max_channels {
                    // One that is accepted may send a call. The end of another wakes this.
                    return Poll::Pending;
                }
                accepting.as_mut().poll(cx).map(Some)
            });
            match accepted.await {
                None => break,
                Some(Ok(Some(socket))) => {
                    channels.spawn(serve(socket, is_stopping.clone()));
                }
                Some(Ok(None)) => {}
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot accept a connection to a plugin");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let _ = stopping.send(true);
        let drained = async {
            if let Ok(backlog) = listener.into_backlog() {
                // Those that have connected may have sent a call.
                while let Some(accepted) = backlog.accept() {
                    if channels.len() >= config.max_channels {
                        channels.join_next().await.into_iter().for_each(note);
                    }
                    if let Some(socket) = accepted {
                        channels.spawn(serve(socket, is_stopping.clone()));
                    }
                }
            }
            while let Some(ended) = channels.join_next().await {
                note(ended);
            }
        };
        if timeout(config.drain_timeout, drained).await.is_err() {
            tracing::warn!(
                calls = channels.len(),
                "dropped calls that took longer than `drain_timeout`"
            );
            channels.shutdown().await;
        }
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a plugin panicked");
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
