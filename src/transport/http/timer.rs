//! The time limit of an exchange.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Sleep, sleep_until},
};

use crate::{
    dial::is_running,
    error::{Error, Kind},
    time::Instant,
};

pin_project! {
    #[project = TimerProj]
    pub(super) enum Timer {
        // On the caller's runtime.
        Here { #[pin] sleep: Sleep },
        // On the one that was given, in a task: a timer of another runtime panics when that ends.
        There { task: Task },
    }
}

pub(super) struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Timer {
    /// On `given` while it runs, so that callers need no timers, nor a runtime; otherwise on the caller's.
    pub(super) fn at(until: Instant, given: Option<&Handle>) -> Result<Self, Error> {
        let is_inside = Handle::try_current().is_ok();
        match given {
            Some(given) if is_inside || is_running(given) => {
                let task = given.spawn(async move { sleep_until(until).await });
                Ok(Self::There { task: Task(task) })
            }
            _ if is_inside => Ok(Self::here(until)),
            _ => Err(Error::not_sent(Kind::Unavailable)),
        }
    }

    fn here(until: Instant) -> Self {
        Self::Here { sleep: sleep_until(until) }
    }

    /// Polls for `until`. An error if there is no runtime any more.
    pub(super) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        until: Instant,
    ) -> Poll<Result<(), Error>> {
        if let TimerProj::There { task } = self.as_mut().project() {
            match ready!(Pin::new(&mut task.0).poll(cx)) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(_) if Handle::try_current().is_ok() => self.set(Self::here(until)),
                Err(_) => return Poll::Ready(Err(Error::failed(Kind::Unavailable))),
            }
        }
        match self.project() {
            TimerProj::Here { sleep } => sleep.poll(cx).map(Ok),
            TimerProj::There { .. } => Poll::Pending,
        }
    }
}
