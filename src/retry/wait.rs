use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::time::{self, Timer};

/// Future of the wait before a retry.
///
/// # Cancel safety
/// Dropping it ends the call.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct RetryWait {
    timer: Option<Timer>,
}

impl RetryWait {
    pub(super) fn of(wait: Duration) -> Self {
        let timer = (!wait.is_zero()).then(|| Timer::at(time::later(time::now(), wait)));
        Self { timer }
    }
}

impl Future for RetryWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.timer {
            Some(timer) if timer.can_wake() => timer.poll(cx),
            // Without a runtime there is nothing that would wake this, so then it does not wait.
            _ => Poll::Ready(()),
        }
    }
}
