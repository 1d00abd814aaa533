//! One check, within its time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::timeout;

use super::check::{AnyCheck, Checking, Verdict};
use crate::{endpoint::Endpoint, time};

tokio::task_local! {
    /// How long the check that is running may take.
    static LIMIT: Duration;
}

/// How long the check that asks may take; the default outside of a gate or monitor. For checks of ours,
/// which share it among the addresses of a host.
#[cfg(feature = "net")]
pub(super) fn limit() -> Duration {
    LIMIT.try_with(|limit| *limit).unwrap_or_else(|_| super::HealthConfig::default().timeout)
}

/// What one check found.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) verdict: Verdict,
    pub(super) latency: Duration,
    /// Whether it ran into its time limit.
    pub(super) is_late: bool,
}

/// One check, with how long it took. It never takes longer than `limit`, and never panics.
pub(super) async fn probe(
    check: Arc<dyn AnyCheck>,
    endpoint: Option<Arc<Endpoint>>,
    limit: Duration,
) -> Probed {
    let began = time::now();
    let check = Caught(catch_unwind(AssertUnwindSafe(|| check.begin(endpoint))).ok());
    let (verdict, is_late) = match timeout(limit, LIMIT.scope(limit, check)).await {
        Ok(verdict) => (verdict, false),
        Err(_) => (Verdict::Unhealthy(format!("no answer within {limit:?}").into()), true),
    };
    Probed { verdict, latency: time::now().saturating_duration_since(began), is_late }
}

/// A check that panics neither when it is polled nor when it is dropped. `None` if it panicked.
struct Caught(Option<Checking>);

impl Future for Caught {
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        let check = self.0.as_mut();
        let polled = check.map(|check| catch_unwind(AssertUnwindSafe(|| check.as_mut().poll(cx))));
        match polled {
            Some(Ok(polled)) => polled,
            _ => Poll::Ready(Verdict::Unhealthy("the check panicked".into())),
        }
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        let check = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(check))).is_err() {
            tracing::error!("a check panicked while it was given up");
        }
    }
}

#[cfg(all(test, feature = "net"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_knows_how_long_it_may_take() {
        let wanted = Duration::from_millis(1_234);
        let check = super::super::check_upstream(move || std::future::ready(limit() == wanted));
        let probed = probe(Arc::new(check), None, wanted).await;
        assert_eq!((probed.verdict, probed.is_late), (Verdict::Healthy, false));
        assert!(!limit().is_zero(), "outside of one");
    }
}
