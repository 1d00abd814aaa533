//! What is to take the place of a plugin once it knows where to call.

use std::{future::poll_fn, time::Duration};

use tokio::{
    runtime::Handle,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    body::{Request, Response},
    generation::Held,
    passage::Passage,
    slot::Slot,
};
use crate::health::Initial;

/// How long what stands in a place is kept for what finds no endpoints.
const LONGEST: Duration = Duration::from_secs(15);

/// Between two looks at what says that there are none.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether calls to `next` would wait for its first endpoints, while what stands in its place has some.
pub(super) fn waits<Req: Request, Res: Response>(
    slot: &Slot<Req, Res>,
    next: &Held<Req, Res>,
) -> bool {
    let Some(made) = next.core().made() else { return false };
    let health = made.layers.health.handle().config();
    let is_checked_first = health.enabled && health.initial == Initial::Unhealthy;
    let is_asked_for = next.core().plugin.discover.is_some();
    (is_asked_for || is_checked_first)
        && slot
            .current()
            .core()
            .made()
            .is_some_and(|made| made.layers.balance.handle().candidates() > 0)
        && Handle::try_current().is_ok()
}

/// Whether nothing bars one of its endpoints: that all are taken since none is healthy is not enough.
fn has_endpoints<Req, Res>(held: &Held<Req, Res>) -> bool {
    held.core().made().is_some_and(|made| made.layers.balance.handle().eligible() > 0)
}

/// Has `next` find its endpoints, and then `come` to its place: also with the end of its runtime.
pub(super) fn begin<Req: Request, Res: Response>(
    next: Held<Req, Res>,
    come: impl FnOnce() + Send + 'static,
) {
    let coming = Coming { come: Some(come) };
    // Without one it comes now.
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            // Moved here, so that it comes as well if this ends before its time.
            let coming = coming;
            if timeout(LONGEST, is_warm(&next)).await.is_err() {
                let plugin = &next.core().plugin.name;
                tracing::warn!(%plugin, "found no endpoint in {LONGEST:?}, and replaces what had some");
            }
            // It waits for its turn, behind changes that run code of others.
            drop(spawn_blocking(move || drop(coming)));
        });
    }
}

/// Comes when it is dropped.
struct Coming<F: FnOnce()> {
    come: Option<F>,
}

impl<F: FnOnce()> Drop for Coming<F> {
    fn drop(&mut self) {
        if let Some(come) = self.come.take() {
            come();
        }
    }
}

/// Waits until calls can go somewhere, or something else has taken its place.
async fn is_warm<Req: Request, Res: Response>(next: &Held<Req, Res>) {
    loop {
        let mut passage = Passage::new(0, next.clone());
        let is_there = poll_fn(|cx| passage.poll_ready(cx)).await;
        if !matches!(is_there, Ok(true)) || has_endpoints(next) {
            return;
        }
        // It was ready to say that there are none.
        drop(passage);
        sleep(PAUSE).await;
    }
}
