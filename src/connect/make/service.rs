use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::making::{Found, Numbered, Shared, unmade};
use crate::{
    error::{BoxError, Error, Kind},
    guard::ResponseFuture,
    sync::WaitKey,
};

/// The service of a [`ConnectMake`](super::ConnectMake): of one endpoint, made when it is first wanted.
///
/// # Readiness
/// Pending while the service is made, then as that service is. Never `Err`: if the service could not be made,
/// it is ready, and `call` fails.
pub struct Made<S> {
    shared: Arc<Shared<S>>,
    /// This clone's own of the newest service, with its number.
    own: Option<Numbered<S>>,
    /// Why the next call fails.
    failure: Option<Error>,
    waits: WaitKey,
    /// The making that is waited for.
    waits_for: Option<u64>,
    /// A service was dead, and another one has been made for this call.
    remade: bool,
}

impl<S> Made<S> {
    pub(super) fn new(shared: Arc<Shared<S>>) -> Self {
        let (own, failure, waits) = (None, None, WaitKey::default());
        Self { shared, own, failure, waits, waits_for: None, remade: false }
    }

    /// Ready with the service that was made, or with why there is none.
    #[cold]
    fn poll_made(&mut self, cx: &mut Context<'_>) -> Poll<Result<Numbered<S>, Error>>
    where
        S: Clone + Send + Sync + 'static,
    {
        let made = loop {
            self.shared.waiting.wait(&mut self.waits, cx.waker());
            match self.shared.look(self.waits_for) {
                Found::Newest => {
                    if let Some(newest) = self.shared.newest() {
                        break Ok(newest);
                    }
                }
                Found::Failure(error) => break Err(error),
                Found::Making(number) => {
                    self.waits_for.get_or_insert(number);
                    return Poll::Pending;
                }
                Found::Nothing => match self.shared.begin() {
                    Ok(number) => {
                        self.waits_for.get_or_insert(number);
                    }
                    Err(error) => break Err(error),
                },
            }
        };
        self.shared.waiting.leave(&mut self.waits);
        self.waits_for = None;
        Poll::Ready(made)
    }

    /// A service was dead that had been made. The first time another one is made at once: the connection may
    /// have been idle for long.
    #[cold]
    fn bury<E: Into<BoxError> + 'static>(&mut self, error: E) {
        if let Some(dead) = self.own.take() {
            self.shared.bury(dead.number);
        }
        if std::mem::replace(&mut self.remade, true) {
            self.failure = Some(unmade(error));
        }
    }
}

impl<S, Req> Service<Req> for Made<S>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.failure.is_none() {
            if self.own.is_none() {
                self.own = self.shared.newest();
            }
            let Some(own) = &mut self.own else {
                match ready!(self.poll_made(cx)) {
                    Ok(own) => self.own = Some(own),
                    Err(error) => self.failure = Some(error),
                }
                continue;
            };
            match ready!(own.service.poll_ready(cx)) {
                Ok(()) => break,
                Err(error) => self.bury(error),
            }
        }
        self.remade = false;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match (self.failure.take(), &mut self.own) {
            (None, Some(own)) => ResponseFuture::called(own.service.call(request)),
            (Some(error), _) => ResponseFuture::refused(error),
            (None, None) => ResponseFuture::refused(
                Error::blameless(Kind::InvalidConfig).message("called before it was ready"),
            ),
        }
    }
}

/// A clone starts unready, and takes the newest service when it is polled.
impl<S> Clone for Made<S> {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl<S> Drop for Made<S> {
    fn drop(&mut self) {
        self.shared.waiting.leave(&mut self.waits);
    }
}

impl<S> fmt::Debug for Made<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (made, making, failure) = self.shared.show();
        f.debug_struct("Made")
            .field("endpoint", &self.shared.key)
            .field("made", &made)
            .field("making", &making)
            .field("failure", &failure)
            .finish()
    }
}
