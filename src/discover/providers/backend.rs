//! What a provider finds its endpoints in.

use std::{sync::Arc, time::Duration};

use futures_util::{
    future::{BoxFuture, FutureExt},
    stream::StreamExt,
};
use tokio::time::timeout;

use super::{
    super::{
        discover::Discover,
        set::EndpointSet,
        watch::{Source, Watched},
    },
    stats::ConnectionInfo,
    stream::Sets,
};
use crate::error::BoxError;

#[derive(Clone)]
pub(super) struct Backend {
    pub(super) open: Arc<dyn Fn() -> Sets + Send + Sync>,
    /// The endpoints as they are, if they are known within a time.
    pub(super) now: Arc<Now>,
    /// What it tells of itself.
    pub(super) info: Arc<dyn Fn() -> ConnectionInfo + Send + Sync>,
    /// What it failed with last.
    pub(super) last_error: Arc<dyn Fn() -> Option<BoxError> + Send + Sync>,
    pub(super) tells_status: bool,
}

type Now = dyn Fn(Duration) -> BoxFuture<'static, Option<EndpointSet>> + Send + Sync;

impl Backend {
    pub(super) fn of(name: String, source: impl Discover) -> Self {
        let info = move || ConnectionInfo { source: name.clone(), ..ConnectionInfo::default() };
        let source = Arc::new(source);
        let fails = source.clone();
        let open: Arc<dyn Fn() -> Sets + Send + Sync> = Arc::new(move || source.discover().boxed());
        let opens = open.clone();
        let now = move |limit| {
            let mut sets = opens();
            async move { timeout(limit, sets.next()).await.ok().flatten() }.boxed()
        };
        Self {
            open,
            now: Arc::new(now),
            info: Arc::new(info),
            last_error: Arc::new(move || fails.last_error()),
            tells_status: false,
        }
    }

    pub(super) fn watched<S: Source>(watched: Watched<S>) -> Self {
        let (handle, source) = (watched.handle(), watched.clone());
        let info = move || ConnectionInfo {
            source: source.source().name(),
            registry: None,
            is_running: Some(handle.is_running()),
            staleness: handle.staleness(),
            failures: handle.failures(),
            last_error: handle.last_error(),
        };
        let asked = watched.clone();
        let now = move |limit| {
            let asked = asked.clone();
            async move { asked.current(limit).await }.boxed()
        };
        let fails = watched.clone();
        let open = move || watched.discover().boxed();
        Self {
            open: Arc::new(open),
            now: Arc::new(now),
            info: Arc::new(info),
            last_error: Arc::new(move || fails.last_error()),
            tells_status: true,
        }
    }
}
