//! Answers that go on until the server stops.

use std::{
    future::pending,
    sync::{Arc, OnceLock},
};

use tokio::sync::watch;

/// Extension of a response whose body has no end of its own: through it, the server tells the body that it
/// stops. A server of others does not; there the body ends with its connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Endless(Arc<OnceLock<watch::Receiver<bool>>>);

impl Endless {
    /// Has the body end once `stop` says so.
    pub(super) fn until(&self, stop: &watch::Receiver<bool>) {
        let _ = self.0.set(stop.clone());
    }

    /// Completes when the server stops. First polled with the body.
    #[cfg_attr(not(feature = "grpc"), allow(dead_code, reason = "only its answers are endless"))]
    pub(super) async fn stopped(self) {
        let Some(stop) = self.0.get() else { return pending().await };
        // A server that was dropped has stopped as well.
        let _ = stop.clone().wait_for(|stop| *stop).await;
    }
}
