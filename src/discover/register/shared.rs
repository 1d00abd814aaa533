//! What the registrations of one registry, and its driver, share.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

use super::course::{Course, Pace};
use crate::{
    error::{Error, Kind},
    sync::lock,
};

/// Starts the driver in a runtime, unless it runs.
pub(super) type Start = dyn Fn(&Handle, &Arc<Shared>) + Send + Sync;

pub(super) struct Shared {
    /// Of the backend.
    pub(super) name: Box<str>,
    start: Box<Start>,
    state: Mutex<State>,
    /// Wakes the driver.
    wanted: Notify,
    /// Wakes those that wait for the driver.
    progress: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    course: Course,
    runs: Runs,
}

#[derive(Debug, Default)]
struct Runs {
    current: Option<u64>,
    count: u64,
}

impl Shared {
    pub(super) fn new(name: String, pace: Pace, start: Box<Start>) -> Self {
        let state = State { course: Course::new(pace), runs: Runs::default() };
        Self {
            name: name.into(),
            start,
            state: Mutex::new(state),
            wanted: Notify::new(),
            progress: watch::Sender::new(()),
        }
    }

    /// Looks at the course.
    pub(super) fn look<T>(&self, at: impl FnOnce(&Course) -> T) -> T {
        at(&lock(&self.state).course)
    }

    /// Wants something else. Inside a runtime a driver does it, even if that of the last one has ended.
    pub(super) fn want<T>(self: &Arc<Self>, change: impl FnOnce(&mut Course) -> T) -> T {
        let result = change(&mut lock(&self.state).course);
        self.wanted.notify_one();
        if let Ok(runtime) = Handle::try_current() {
            (self.start)(&runtime, self);
        }
        result
    }

    /// Something was done.
    pub(super) fn note<T>(&self, change: impl FnOnce(&mut Course) -> T) -> T {
        let result = change(&mut lock(&self.state).course);
        self.progress.send_replace(());
        result
    }

    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Waits until the course `is_so`, for at most `timeout`. `false`: it is not.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] outside a runtime.
    pub(super) async fn until(
        self: &Arc<Self>,
        timeout: Duration,
        is_so: impl Fn(&Course) -> bool,
    ) -> Result<bool, Error> {
        let runtime = Handle::try_current().map_err(|_| Error::not_sent(Kind::Unavailable))?;
        (self.start)(&runtime, self);
        let mut progress = self.progress.subscribe();
        let come = progress.wait_for(|()| self.look(&is_so));
        Ok(matches!(tokio::time::timeout(timeout, come).await, Ok(Ok(_))))
    }

    pub(super) fn timeout(&self, what: &str, timeout: Duration, cause: Option<Error>) -> Error {
        let text = format!("{} has not {what} within {timeout:?}", self.name);
        let error = Error::not_sent(Kind::Timeout).message(text);
        match cause {
            Some(cause) => error.caused_by(cause),
            None => error,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, state, .. } = self;
        f.debug_struct("Shared").field("name", name).field("state", state).finish_non_exhaustive()
    }
}

/// The right to drive a registry. There is one at a time.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    number: u64,
}

impl Run {
    /// `None`: another drives, or there is nothing to do.
    pub(super) fn begin(shared: &Arc<Shared>) -> Option<Self> {
        let mut state = lock(&shared.state);
        if state.runs.current.is_some() || state.course.is_over() {
            return None;
        }
        let runs = &mut state.runs;
        runs.count += 1;
        runs.current = Some(runs.count);
        Some(Self { shared: shared.clone(), number: runs.count })
    }

    /// Ends unless something is wanted again: it either finds that this drives, or begins itself.
    pub(super) fn end_if_over(&self) -> bool {
        let mut state = lock(&self.shared.state);
        let ends = state.course.is_over();
        if ends && state.runs.current == Some(self.number) {
            state.runs.current = None;
        }
        ends
    }
}

/// Also if its runtime ends, and the session with it.
impl Drop for Run {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        if state.runs.current == Some(self.number) {
            state.runs.current = None;
            state.course.lose();
        }
    }
}
