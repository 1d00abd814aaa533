//! Asks the service and the health of a plugin, whatever the question came over.

use std::{future::poll_fn, time::SystemTime};

use tower_service::Service;

use crate::{
    error::BoxError,
    plugin::{Call, HealthStatus, Reply},
    time,
};

/// Makes a call once the plugin is ready for it.
pub(super) async fn execute<S, T, U>(mut service: S, call: Call<T>) -> Result<Reply<U>, BoxError>
where
    S: Service<Call<T>, Response = Reply<U>>,
    S::Error: Into<BoxError>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
    service.call(call).await.map_err(Into::into)
}

/// Asks for the health, and notes when, unless it tells that itself.
pub(super) async fn check(health: impl Future<Output = HealthStatus>) -> HealthStatus {
    let start = time::now();
    let health = health.await;
    if health.last_check.is_some() {
        return health;
    }
    let took = time::now().saturating_duration_since(start);
    health.checked_at(SystemTime::now(), took)
}
