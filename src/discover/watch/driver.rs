//! The task that observes a backend for all users of a watch, and ends with the last one.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::runtime::Handle;

use super::{
    super::set::EndpointSet,
    course::{Course, Seen, Verdict},
    published::{gone, with_all_of},
    shared::{Run, Shared},
    source::{Observation, Source},
};
use crate::{
    backoff,
    error::Error,
    sync::{lock, random_fraction},
    time::{self, Instant},
};

/// Between the starts of two observations, so that no backend makes this spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts the driver, unless it runs. Does nothing outside a runtime.
pub(super) fn start<S: Source>(shared: &Arc<Shared<S>>) {
    let Ok(runtime) = Handle::try_current() else { return };
    // Not under a lock: a runtime that ends drops the task at once.
    if let Some(run) = Run::begin(shared) {
        runtime.spawn(async move { Driver::new(run).drive().await });
    }
}

/// What is waited for, beside the last user's leaving.
enum Wake<T> {
    Done(T),
    Due,
    Left,
}

struct Driver<S> {
    run: Run<S>,
    course: Course,
    /// What was believed last.
    base: EndpointSet,
    name: String,
}

impl<S: Source> Driver<S> {
    fn new(run: Run<S>) -> Self {
        let shared = &run.shared;
        let known = shared.sets.borrow().set.clone();
        let answered_at = lock(&shared.health).answered_at;
        Self {
            course: Course::new(shared.config.clone(), answered_at, time::now()),
            base: known.unwrap_or_else(EndpointSet::empty),
            name: shared.source.name(),
            run,
        }
    }

    async fn drive(mut self) {
        while self.watch().await.is_some() {}
    }

    /// Observes until nothing may be remembered any more. `None`: there is no user.
    async fn watch(&mut self) -> Option<()> {
        let shared = self.run.shared.clone();
        let mut state = S::State::default();
        let mut has_told = false;
        loop {
            let began = time::now();
            let observed = {
                let observe = async { shared.source.observe(&mut state).await };
                let observe = pin!(AssertUnwindSafe(observe).catch_unwind());
                // What was due before is done by this observation.
                let later = |due: Option<Instant>| due.filter(|due| *due > began);
                let (doubt, quiet) = (self.course.doubt_until(), self.course.asks_anew_at());
                let anew = time::earlier(later(doubt), later(quiet));
                match self.until(observe, time::earlier(anew, self.course.expires_at())).await {
                    Wake::Done(observed) => observed,
                    Wake::Due => {
                        self.expire();
                        return Some(());
                    }
                    Wake::Left => return None,
                }
            };
            let is_broken = observed.is_err();
            let wait = match observed {
                Ok(Ok(Observation { set: None, .. })) if !has_told => {
                    self.fail(Error::unsent("it is unchanged, but nothing was told before"))
                }
                Ok(Ok(observation)) => {
                    has_told = true;
                    self.take(observation)
                }
                Ok(Err(error)) => self.fail(Error::from_service(error)),
                Err(_) => self.fail(Error::unsent("the source panicked")),
            };
            let next = time::later(time::now(), wait);
            let next = self.course.asks_anew_at().map_or(next, |at| at.min(next));
            let next = next.max(time::later(began, PAUSE));
            let is_stale = self.rest(next).await?;
            let is_doubted = self.course.doubt_until().is_some_and(|due| due <= time::now());
            if is_broken || is_stale || is_doubted {
                return Some(());
            }
        }
    }

    /// Waits for the next observation. Tells whether what was known is too old.
    async fn rest(&mut self, next: Instant) -> Option<bool> {
        let mut is_stale = false;
        while time::now() < next {
            let due = time::earlier(Some(next), self.course.expires_at());
            if let Wake::Left = self.until(pin!(pending::<Infallible>()), due).await {
                return None;
            }
            is_stale |= self.expire();
        }
        Some(is_stale)
    }

    async fn until<F: Future>(
        &self,
        mut future: std::pin::Pin<&mut F>,
        due: Option<Instant>,
    ) -> Wake<F::Output> {
        let mut timer = pin!(due.map(tokio::time::sleep_until));
        loop {
            let mut left = pin!(self.run.shared.sets.closed());
            let wake = poll_fn(|cx| {
                if left.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Wake::Left);
                }
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(Wake::Done(output));
                }
                match timer.as_mut().as_pin_mut().map(|timer| timer.poll(cx)) {
                    Some(Poll::Ready(())) => Poll::Ready(Wake::Due),
                    _ => Poll::Pending,
                }
            });
            match wake.await {
                Wake::Left if !self.run.end_without_users() => {}
                wake => return wake,
            }
        }
    }

    /// Takes over an answer, and tells how long to wait.
    fn take(&mut self, observation: Observation) -> Duration {
        let now = time::now();
        let verdict = match observation.set {
            None => {
                self.course.confirmed(now);
                None
            }
            Some(set) => {
                let set = set.sharing(&self.base);
                let seen = Seen {
                    known: self.base.len(),
                    gone: gone(&self.base, &set),
                    found: set.len(),
                    is_certain: observation.is_certain,
                };
                let is_first_doubt = self.course.doubt_until().is_none();
                let verdict = self.course.answered(seen, now);
                match verdict {
                    Verdict::Believe => {
                        self.publish(set.clone());
                        self.base = set.clone();
                    }
                    Verdict::DoubtUntil(_) => {
                        let Seen { known, gone, .. } = seen;
                        if is_first_doubt {
                            tracing::warn!(
                                source = %self.name, known, gone,
                                "too many endpoints are gone at once; they stay until that is confirmed"
                            );
                        }
                        self.publish(with_all_of(&self.base, &set));
                    }
                }
                self.run.answered(set);
                Some(verdict)
            }
        };
        let doubt_until = self.course.doubt_until();
        let mut health = lock(&self.run.shared.health);
        let failures = std::mem::take(&mut health.failures);
        (health.answered_at, health.error, health.doubt_until) = (Some(now), None, doubt_until);
        drop(health);
        if failures > 0 {
            tracing::info!(source = %self.name, failures, "discovery works again");
        }
        let spread =
            backoff::spread(observation.again_after.min(time::FAR), 1.0, 1.1, random_fraction());
        match verdict {
            Some(Verdict::DoubtUntil(due)) => spread.min(due.saturating_duration_since(now)),
            _ => spread,
        }
    }

    /// Notes a failure, and tells how long to wait.
    fn fail(&mut self, error: Error) -> Duration {
        let backoff = self.course.failed(
            self.run.shared.source.max_backoff(),
            random_fraction(),
            time::now(),
        );
        let wait = error.retry_after().unwrap_or_default().max(backoff);
        let mut health = lock(&self.run.shared.health);
        health.failures = health.failures.saturating_add(1);
        let is_first = health.failures == 1;
        health.error = Some(error.clone());
        drop(health);
        if is_first {
            tracing::warn!(
                source = %self.name, %error,
                "discovery failed; the last endpoints stay in use"
            );
        } else {
            tracing::debug!(source = %self.name, %error, ?wait, "discovery failed again");
        }
        wait
    }

    /// Empties the set if it is too old.
    fn expire(&mut self) -> bool {
        let is_stale = self.course.expire(time::now());
        if is_stale {
            tracing::error!(
                source = %self.name,
                "discovery has failed for longer than `max_stale`; the endpoints are removed"
            );
            self.base = EndpointSet::empty();
            self.publish(self.base.clone());
            lock(&self.run.shared.health).doubt_until = None;
        }
        is_stale
    }

    fn publish(&self, set: EndpointSet) {
        let sets = &self.run.shared.sets;
        let is_known = sets.borrow().set.as_ref().is_some_and(|known| **known == *set);
        if !is_known {
            sets.send_modify(|published| {
                published.set = Some(set);
                published.number += 1;
            });
        }
    }
}
