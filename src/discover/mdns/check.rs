//! The check that an instance has to pass before it is used.

use std::{sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::{net::TcpStream, time::timeout};

use crate::endpoint::Endpoint;

pub(super) type Check = Arc<dyn Fn(Arc<Endpoint>) -> BoxFuture<'static, bool> + Send + Sync>;

/// Longest time of one check.
const LIMIT: Duration = Duration::from_secs(5);

/// Something listens at the address of the endpoint.
pub(super) fn listens() -> Check {
    Arc::new(|endpoint| {
        async move {
            let address = endpoint.address();
            let Some(port) = address.port() else { return false };
            // As the system writes a zone.
            let host = address.host().replacen("%25", "%", 1);
            TcpStream::connect((host, port)).await.is_ok()
        }
        .boxed()
    })
}

/// Checks `endpoint`, for a limited time.
pub(super) async fn run(check: Check, endpoint: Arc<Endpoint>) -> (Arc<Endpoint>, bool) {
    let passed = timeout(LIMIT, check(endpoint.clone())).await.unwrap_or(false);
    (endpoint, passed)
}
