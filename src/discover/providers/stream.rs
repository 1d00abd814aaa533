use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

use super::{super::set::EndpointSet, overlay::Overlay, seen::Seen};
use crate::sync::lock;

pub(super) type Sets = BoxStream<'static, EndpointSet>;

/// Stream of the sets of a [`Provider`](super::Provider).
pub struct ProviderStream {
    sets: Sets,
}

enum News {
    Found(EndpointSet),
    Own,
}

impl ProviderStream {
    /// What is `found`, with what is registered here. It does not keep that announced.
    ///
    /// What comes first is what another user has found, so that all see the same.
    pub(super) fn of(
        found: Sets,
        mut own: watch::Receiver<Overlay>,
        seen: Arc<Mutex<Seen>>,
    ) -> Self {
        let mut last = lock(&seen).found.clone();
        let first = Some(own.borrow_and_update().clone()).filter(|own| own.len() > 0);
        let first = stream::iter(first.map(|_| News::Own));
        let found = found.map(News::Found).chain(stream::pending());
        let changed = stream::unfold(own.clone(), |mut own| async move {
            if own.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            Some((News::Own, own))
        });
        let mut told = None::<EndpointSet>;
        let sets = first.chain(stream::select(found, changed)).filter_map(move |news| {
            let mut seen = lock(&seen);
            if let News::Found(set) = news {
                seen.found = Some(set.clone());
                last = Some(set);
            }
            let set = own.borrow().over(last.as_ref());
            let set = set.filter(|set| told.as_ref().is_none_or(|told| **told != **set));
            if let Some(set) = &set {
                seen.see(set);
                told = Some(set.clone());
            }
            std::future::ready(set)
        });
        Self { sets: sets.boxed() }
    }
}

impl Stream for ProviderStream {
    type Item = EndpointSet;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EndpointSet>> {
        self.sets.poll_next_unpin(cx)
    }
}

impl fmt::Debug for ProviderStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderStream").finish_non_exhaustive()
    }
}
