//! One making at a time, for all that wait for it.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    error::{BoxError, Error, Kind},
    sync::{WaitList, lock},
};

/// Makes a service, as often as it is asked to.
pub(super) type Make<S> = Arc<dyn Fn() -> Making<S> + Send + Sync>;
type Making<S> = Pin<Box<dyn Future<Output = Result<S, Error>> + Send>>;

/// What the clones of one endpoint's service share.
pub(super) struct Shared<S> {
    pub(super) key: Arc<str>,
    /// The service that was made last, until it is dead. Changed under the lock of `state`, and read without.
    newest: ArcSwapOption<Numbered<S>>,
    state: Mutex<State>,
    /// Those that wait for the making that runs.
    pub(super) waiting: WaitList,
    make: Make<S>,
    /// Where services are made: the runtime of the set.
    runtime: Option<Handle>,
}

/// A service, and the making that it comes from, from 1.
pub(super) struct Numbered<S> {
    pub(super) service: S,
    pub(super) number: u64,
}

#[derive(Default)]
struct State {
    begun: u64,
    /// Makings up to this one have ended in a service or in an error.
    ended: u64,
    is_making: bool,
    /// The number of `newest`.
    newest: Option<u64>,
    /// The last making that failed, if no service has been made since.
    failure: Option<(u64, Error)>,
    task: Option<AbortHandle>,
}

/// What a call finds that has no service.
pub(super) enum Found {
    Newest,
    Failure(Error),
    /// The making with this number runs.
    Making(u64),
    Nothing,
}

/// The error of a call whose service was not there.
pub(super) fn unmade<E: Into<BoxError> + 'static>(error: E) -> Error {
    match Error::outline(&error).kind() {
        Kind::Service => Error::unsent(error),
        _ => Error::from_service(error).never_sent(),
    }
}

impl<S> Shared<S> {
    pub(super) fn new(key: Arc<str>, make: Make<S>) -> Self {
        Self {
            key,
            newest: ArcSwapOption::empty(),
            state: Mutex::default(),
            waiting: WaitList::default(),
            make,
            runtime: Handle::try_current().ok(),
        }
    }

    /// A clone of the newest service, which may be dead since.
    #[inline]
    pub(super) fn newest(&self) -> Option<Numbered<S>>
    where
        S: Clone,
    {
        let newest = self.newest.load();
        let Numbered { service, number } = &**newest.as_ref()?;
        Some(Numbered { service: service.clone(), number: *number })
    }

    /// `waits_for` is the making that the call waits for: the error of that one or of a later one is
    /// its own, and no earlier one is.
    pub(super) fn look(&self, waits_for: Option<u64>) -> Found {
        let state = lock(&self.state);
        match &state.failure {
            _ if state.newest.is_some() => Found::Newest,
            Some((number, error)) if waits_for.is_some_and(|waits_for| waits_for <= *number) => {
                Found::Failure(error.clone())
            }
            _ if state.is_making => Found::Making(state.begun),
            _ => Found::Nothing,
        }
    }

    /// A making has ended.
    fn end(&self, number: u64, made: Result<S, Error>) {
        let (service, failure) = match made {
            Ok(service) => (Some(Arc::new(Numbered { service, number })), None),
            Err(error) => (None, Some((number, error))),
        };
        let mut state = lock(&self.state);
        (state.is_making, state.ended) = (false, number);
        state.newest = service.as_ref().map(|_| number);
        let before = (self.newest.swap(service), std::mem::replace(&mut state.failure, failure));
        drop(state);
        // Of others, so it is dropped outside the lock.
        drop(before);
        self.waiting.wake_all();
    }

    /// A making was dropped with its runtime. The first of those that wait begins another one.
    fn abandon(&self) {
        lock(&self.state).is_making = false;
        self.waiting.wake_all();
    }

    /// The service with this number is dead. If it was replaced meanwhile, the new one stays.
    pub(super) fn bury(&self, number: u64) {
        let mut state = lock(&self.state);
        if state.newest == Some(number) {
            state.newest = None;
            let dead = self.newest.swap(None);
            drop(state);
            drop(dead);
        }
    }

    /// For `Debug`: whether there is a service, whether one is being made, and why there is none.
    pub(super) fn show(&self) -> (bool, bool, Option<Kind>) {
        let state = lock(&self.state);
        let failure = state.failure.as_ref().map(|(_, error)| error.kind());
        (state.newest.is_some(), state.is_making, failure)
    }
}

impl<S: Send + Sync + 'static> Shared<S> {
    /// Begins a making, unless one runs.
    ///
    /// # Errors
    /// `Unavailable` without a runtime.
    #[cold]
    pub(super) fn begin(self: &Arc<Self>) -> Result<u64, Error> {
        for runtime in [self.runtime.clone(), Handle::try_current().ok()].into_iter().flatten() {
            let mut state = lock(&self.state);
            if state.is_making {
                return Ok(state.begun);
            }
            (state.is_making, state.begun) = (true, state.begun + 1);
            let number = state.begun;
            drop(state);
            // Made here and moved into the task, so that it drops even if the runtime ends before the
            // task is polled for the first time.
            let running = Running { shared: Arc::downgrade(self), number: Some(number) };
            let task = runtime.spawn(running.run(self.make.clone(), self.key.clone()));
            let mut state = lock(&self.state);
            // A runtime that has ended drops it at once.
            if !task.is_finished() || state.ended >= number {
                state.task = Some(task.abort_handle());
                return Ok(number);
            }
        }
        Err(Error::refused(Kind::Unavailable))
    }
}

/// Nothing wants the service any more.
impl<S> Drop for Shared<S> {
    fn drop(&mut self) {
        if let Some(task) = &lock(&self.state).task {
            task.abort();
        }
    }
}

/// A making, in its task.
struct Running<S> {
    shared: Weak<Shared<S>>,
    /// `None` once it has ended.
    number: Option<u64>,
}

impl<S> Running<S> {
    async fn run(mut self, make: Make<S>, key: Arc<str>) {
        let made = AssertUnwindSafe(async { make().await }).catch_unwind().await;
        let made = made.unwrap_or_else(|_| {
            tracing::error!(endpoint = &*key, "the maker of a service panicked");
            Err(Error::unsent("the maker of the service panicked"))
        });
        if let (Some(shared), Some(number)) = (self.shared.upgrade(), self.number.take()) {
            shared.end(number, made);
        }
    }
}

impl<S> Drop for Running<S> {
    fn drop(&mut self) {
        if let (Some(shared), Some(_)) = (self.shared.upgrade(), self.number) {
            shared.abandon();
        }
    }
}
