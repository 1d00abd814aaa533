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
    Own(Overlay),
}

impl ProviderStream {
    /// What is `found`, with what is registered here. It does not keep that announced.
    pub(super) fn of(
        found: Sets,
        mut own: watch::Receiver<Overlay>,
        seen: Arc<Mutex<Seen>>,
    ) -> Self {
        let mut overlay = own.borrow_and_update().clone();
        let first = stream::iter(overlay.over(None));
        let found = found.map(News::Found).chain(stream::pending());
        let own = stream::unfold(own, |mut own| async move {
            if own.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let now = own.borrow_and_update().clone();
            Some((News::Own(now), own))
        });
        let mut last = None;
        let sets = stream::select(found, own).filter_map(move |news| {
            match news {
                News::Found(set) => last = Some(set),
                News::Own(own) => overlay = own,
            }
            std::future::ready(overlay.over(last.as_ref()))
        });
        let sets = first.chain(sets).inspect(move |set| lock(&seen).see(set));
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
