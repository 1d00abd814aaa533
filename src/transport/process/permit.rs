//! The right to make a call, where their number is limited.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The right of one service to make a call.
pub(super) enum Permit {
    None,
    Waiting(Acquire),
    /// Always with a permit: the semaphore is never closed.
    Ready(Option<OwnedSemaphorePermit>),
}

/// Boxed, since it is for those alone that have to wait.
type Acquire =
    Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync>>;

impl Permit {
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        permits: impl FnOnce() -> Arc<Semaphore>,
    ) -> Poll<()> {
        if let Self::None = self {
            let permits = permits();
            *self = match permits.clone().try_acquire_owned() {
                Ok(permit) => Self::Ready(Some(permit)),
                Err(_) => Self::Waiting(Box::pin(permits.acquire_owned())),
            };
        }
        if let Self::Waiting(acquire) = self {
            // A semaphore of ours is never closed.
            *self = Self::Ready(ready!(acquire.as_mut().poll(cx)).ok());
        }
        Poll::Ready(())
    }

    pub(super) fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        match mem::replace(self, Self::None) {
            Self::Ready(permit) => permit,
            _ => None,
        }
    }
}
