//! Reads what was not asked for, so that its connection can be used again.

use std::{
    future::poll_fn,
    panic::catch_unwind,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bytes::Buf;
use futures_util::future::select;
use http_body::Body;
use tokio::{runtime::Handle, time::sleep};

use super::upstream::{Place, Upstream};

/// Most bytes that are read of a body.
const MAX_DRAINED: usize = 64 << 10;
/// Longest time that reading may take.
const DRAIN: Duration = Duration::from_millis(50);

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
            place.has_no_timers();
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
            assert!(!upstream.has_timers(), "it was caught");
            assert_eq!(Arc::strong_count(&upstream), 1);
            drain(body(), upstream.clone());
            assert_eq!(Arc::strong_count(&upstream), 1, "once is enough");
        });
        assert_eq!(upstream.drains(), 0);
    }
}
