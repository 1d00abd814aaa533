//! Reads what nobody wants, so that its connection can be used again.

use std::{
    future::poll_fn,
    panic::catch_unwind,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Buf;
use futures_util::future::select;
use http_body::Body;
use tokio::{runtime::Handle, time::sleep};

use super::Upstream;

/// What is read of a body that nobody wants, at most.
const MAX_DRAINED: usize = 64 << 10;
/// How long that may take.
const DRAIN: Duration = Duration::from_millis(50);
/// How many at once, for each endpoint.
const MAX_DRAINS: u32 = 64;

/// The bodies of one endpoint that are being drained.
#[derive(Debug, Default)]
pub(super) struct Drains {
    count: AtomicU32,
    /// There was a runtime without timers, of which one can only hear in a panic: once is enough.
    have_no_timers: AtomicBool,
}

#[cold]
pub(super) fn drain<B: Body + Send + Unpin + 'static>(mut body: B, from: Arc<Upstream>) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    if body.size_hint().lower() > MAX_DRAINED as u64 {
        return;
    }
    let Some(place) = Place::take(from) else {
        return;
    };
    runtime.spawn(async move {
        let Ok(time) = catch_unwind(|| sleep(DRAIN)) else {
            place.drains().have_no_timers.store(true, Ordering::Relaxed);
            return;
        };
        let read = async {
            let mut left = MAX_DRAINED;
            while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Buf::remaining));
                if left == 0 {
                    return;
                }
            }
        };
        // Late makes no difference: the connection closes.
        select(pin!(read), pin!(time)).await;
    });
}

/// One of the bodies that are drained at once.
struct Place(Arc<Upstream>);

impl Place {
    fn take(from: Arc<Upstream>) -> Option<Self> {
        // Relaxed: each is a value of its own.
        if from.drains.have_no_timers.load(Ordering::Relaxed) {
            return None;
        }
        let free = |count| (count < MAX_DRAINS).then_some(count + 1);
        let count = &from.drains.count;
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        Some(Self(from))
    }

    fn drains(&self) -> &Drains {
        &self.0.drains
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.drains().count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[test]
    fn without_timers_a_body_just_drops_and_no_task_panics() {
        let upstream = Arc::new(Upstream::default());
        let body = || Full::new(bytes::Bytes::from_static(b"x"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            drain(body(), upstream.clone());
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            assert!(upstream.drains.have_no_timers.load(Ordering::Relaxed), "it was caught");
            assert_eq!(Arc::strong_count(&upstream), 1);
            drain(body(), upstream.clone());
            assert_eq!(Arc::strong_count(&upstream), 1, "once is enough");
        });
        assert_eq!(upstream.drains.count.load(Ordering::Relaxed), 0);
    }
}
