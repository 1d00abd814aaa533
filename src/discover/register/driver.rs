//! The task that calls a backend for all registrations of a registry, and ends with the last one.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::runtime::Handle;

use super::{
    course::{Course, Step},
    entry::Ticket,
    registrar::{Kept, Registrar},
    shared::{Run, Shared},
};
use crate::{
    error::{BoxError, Error, Kind},
    sync::random_fraction,
    time::{self, Instant},
};

/// Starts the driver, unless it runs.
pub(super) fn start<R: Registrar>(runtime: &Handle, shared: &Arc<Shared>, backend: &Arc<R>) {
    // Not under a lock: a runtime that ends drops the task at once.
    if let Some(run) = Run::begin(shared) {
        let (backend, session) = (backend.clone(), R::Session::default());
        let driver = Driver { timeout: backend.timeout(), backend, session, run };
        runtime.spawn(driver.drive());
    }
}

struct Driver<R: Registrar> {
    backend: Arc<R>,
    session: R::Session,
    /// Of each call.
    timeout: Duration,
    run: Run,
}

/// What became of a call.
enum Called<T> {
    Done(Result<T, Error>),
    /// It panicked, or was dropped: nothing is known of the session.
    Broken(Error),
}

impl<R: Registrar> Driver<R> {
    async fn drive(mut self) {
        loop {
            let step = self.run.shared.note(|course| course.next(time::now()));
            let backend = self.backend.clone();
            match step {
                Step::Put(ticket) => {
                    let session = &mut self.session;
                    let put = async { backend.put(session, &ticket.instance).await };
                    let called = call(self.timeout, put).await;
                    self.did("announced", &ticket, called, Course::put);
                }
                Step::Remove(ticket) => {
                    let session = &mut self.session;
                    let remove = async { backend.remove(session, &ticket.instance).await };
                    let called = call(self.timeout, remove).await;
                    self.did("deregistered", &ticket, called, Course::removed);
                }
                Step::KeepAlive(instances) => {
                    let session = &mut self.session;
                    let keep_alive = async { backend.keep_alive(session, &instances).await };
                    let called = call(self.timeout, keep_alive).await;
                    self.kept(called);
                }
                Step::End => {
                    let session = std::mem::take(&mut self.session);
                    let called = call(self.timeout, async { backend.end(session).await }).await;
                    if let Called::Done(Err(error)) | Called::Broken(error) = called {
                        tracing::warn!(registry = %self.run.shared.name, %error, "the session has to expire");
                    }
                    self.run.shared.note(Course::lose);
                }
                Step::Wait(until) => {
                    let wanted = self.run.shared.wanted();
                    match until {
                        Some(until) => drop(tokio::time::timeout_at(until, wanted).await),
                        None => wanted.await,
                    }
                }
                Step::Done if self.run.end_if_over() => return,
                Step::Done => {}
            }
        }
    }

    /// Notes what became of a call about one instance.
    fn did(
        &mut self,
        done: &str,
        ticket: &Ticket,
        called: Called<()>,
        note: fn(&mut Course, &Ticket, Result<(), Error>, f64, Instant),
    ) {
        let (result, is_broken) = match called {
            Called::Done(result) => (result, false),
            Called::Broken(error) => (Err(error), true),
        };
        let (registry, id) = (&self.run.shared.name, ticket.instance.id());
        match &result {
            Ok(()) => tracing::debug!(%registry, id, "{done}"),
            Err(error) => tracing::warn!(%registry, id, %error, "not {done}; tried again soon"),
        }
        self.run.shared.note(|course| {
            if is_broken {
                course.lose();
            }
            note(course, ticket, result, random_fraction(), time::now());
        });
        if is_broken {
            self.session = R::Session::default();
        }
    }

    fn kept(&mut self, called: Called<Kept>) {
        let registry = &self.run.shared.name;
        match &called {
            Called::Done(Ok(Kept::Alive)) => {}
            Called::Done(Ok(Kept::Lost)) => {
                tracing::warn!(%registry, "the session is lost; everything is announced again");
            }
            Called::Done(Err(error)) | Called::Broken(error) => {
                tracing::warn!(%registry, %error, "the session is not kept alive; tried again soon");
            }
        }
        let is_lost = matches!(called, Called::Done(Ok(Kept::Lost)) | Called::Broken(_));
        if is_lost {
            self.session = R::Session::default();
        }
        self.run.shared.note(|course| match called {
            Called::Done(result) => course.kept(result, random_fraction(), time::now()),
            Called::Broken(_) => course.lose(),
        });
    }
}

/// `call` calls the backend when it is polled, so that it may panic as it likes.
async fn call<T>(timeout: Duration, call: impl Future<Output = Result<T, BoxError>>) -> Called<T> {
    match tokio::time::timeout(timeout, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(result)) => Called::Done(result.map_err(Error::from_service)),
        Ok(Err(_)) => Called::Broken(Error::unsent("the registrar panicked")),
        Err(_) => {
            let text = format!("the registrar has not answered within {timeout:?}");
            Called::Broken(Error::failed(Kind::Timeout).message(text))
        }
    }
}
