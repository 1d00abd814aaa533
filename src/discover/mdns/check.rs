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
    if !passed {
        tracing::debug!(key = endpoint.key(), "an instance is not used: its check has failed");
    }
    (endpoint, passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    #[tokio::test(start_paused = true)]
    async fn a_check_has_five_seconds() {
        for (millis, passes) in [(0, true), (4_999, true), (5_001, false), (u64::MAX, false)] {
            let takes = Duration::from_millis(millis);
            let check: Check = Arc::new(move |_| {
                async move {
                    tokio::time::sleep(takes).await;
                    true
                }
                .boxed()
            });
            let (endpoint, start) = (Arc::new(Endpoint::new("a:1").unwrap()), time::now());
            let (checked, passed) = run(check, endpoint.clone()).await;
            assert_eq!((checked, passed), (endpoint, passes), "{millis}");
            let took = time::now().saturating_duration_since(start);
            assert_eq!(took, takes.min(Duration::from_secs(5)));
        }
    }

    #[tokio::test]
    async fn what_says_no_or_has_no_port_has_not_passed() {
        let refuses: Check = Arc::new(|_| std::future::ready(false).boxed());
        let endpoint = Arc::new(Endpoint::new("http://127.0.0.1").unwrap());
        assert!(!run(refuses, endpoint.clone()).await.1);
        assert!(!run(listens(), endpoint).await.1);
    }
}
