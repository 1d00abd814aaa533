//! Accepts connections until a server stops, and sees them to their end.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};

use super::listener::Listener;
use crate::dial::Socket;

/// How long after one failed the next connection is accepted, such as without file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a connection, until the server stops. Boxed once for each connection, so that a server has a
/// type that can be written.
pub(super) type Serve = Box<dyn Fn(Socket, watch::Receiver<bool>) -> Serving + Send + Sync>;
pub(super) type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many connections there may be, and how long they may take to end once the server stops.
pub(super) struct Terms {
    pub(super) max_connections: usize,
    pub(super) drain_timeout: Duration,
}

/// Serves connections until `stop` completes, then those that have connected by then, and waits until all
/// have ended.
pub(super) async fn serve_until(
    listener: Listener,
    serve: Serve,
    terms: Terms,
    stop: impl Future<Output = ()>,
) {
    let (stopping, is_stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let mut accepting = pin!(listener.accept());
        let accepted = poll_fn(|cx| {
            if stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            while let Poll::Ready(Some(ended)) = connections.poll_join_next(cx) {
                note(ended);
            }
            if connections.len() >= terms.max_connections {
                // One that is accepted may send a call. The end of another wakes this.
                return Poll::Pending;
            }
            accepting.as_mut().poll(cx).map(Some)
        });
        match accepted.await {
            None => break,
            Some(Ok(Some(socket))) => {
                connections.spawn(serve(socket, is_stopping.clone()));
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
                if connections.len() >= terms.max_connections {
                    connections.join_next().await.into_iter().for_each(note);
                }
                if let Some(socket) = accepted {
                    connections.spawn(serve(socket, is_stopping.clone()));
                }
            }
        }
        while let Some(ended) = connections.join_next().await {
            note(ended);
        }
    };
    if timeout(terms.drain_timeout, drained).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "dropped calls that took longer than `drain_timeout`"
        );
        connections.shutdown().await;
    }
}

fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a plugin panicked");
    }
}
