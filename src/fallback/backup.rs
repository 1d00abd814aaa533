use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::Substitute;
use crate::{
    error::{BoxError, Error},
    replay::{ByReplay, ReplayFn, ReplayPolicy},
    time,
};

/// A substitute that sends the request to another service.
///
/// The first service consumes the request, so the second gets a copy, made before: requests implement
/// [`Replay`](crate::replay::Replay), as [`Call`](crate::plugin::Call) and `http::Request` do; for others there
/// is [`with_replay`](Self::with_replay).
///
/// The copy is sent if that is safe: if the request was never sent, or is idempotent. Otherwise, and if
/// it could not be copied or its deadline has passed, the call ends as it would without a fallback.
///
/// # Errors
/// `RetryExhausted` with both errors in its [`history`](Error::history), if the other service fails, too.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{error::BoxError, fallback::{Backup, FallbackLayer}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let backup = Backup::new(service_fn(async |n: u32| Ok::<_, BoxError>(n + 1)))
///     .with_replay(|n: &u32| Some(*n));
/// let service = ServiceBuilder::new()
///     .layer(FallbackLayer::new(backup))
///     .service(service_fn(async |_: u32| Err::<u32, BoxError>("broken".into())));
/// assert_eq!(service.oneshot(1).await?, 2);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy)]
pub struct Backup<S, R = ByReplay> {
    service: S,
    replay: R,
}

impl<S> Backup<S> {
    /// Sends what the first service could not do to `service`, of which each such call gets a clone.
    pub const fn new(service: S) -> Self {
        Self { service, replay: ByReplay }
    }
}

impl<S, R> Backup<S, R> {
    /// Makes copies with `copy`: `Some` for requests that may be sent twice.
    ///
    /// For requests that do not implement [`Replay`](crate::replay::Replay).
    #[must_use]
    pub fn with_replay<F>(self, copy: F) -> Backup<S, ReplayFn<F>> {
        Backup { service: self.service, replay: ReplayFn::new(copy) }
    }
}

impl<S, R, Req> Substitute<Req> for Backup<S, R>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    R: ReplayPolicy<Req>,
{
    type Response = S::Response;
    /// The copy; `None` if there is none.
    type Kept = Option<Req>;
    type Future = BackupFuture<S, Req>;

    #[inline]
    fn keep(&self, request: &Req) -> Option<Req> {
        self.replay.replay(request)
    }

    fn substitute(&self, copy: Option<Req>, error: Error) -> Self::Future {
        let is_in_time = |request: &Req| {
            self.replay.deadline(request).is_none_or(|deadline| time::now() < deadline)
        };
        let state = match copy.filter(|copy| self.replay.is_whole(copy)) {
            None => State::Declined { note: Some(NOT_COPIED) },
            Some(mut request)
                if is_in_time(&request)
                    && (error.is_unsent() || self.replay.is_idempotent(&request)) =>
            {
                self.replay.begin_attempt(&mut request, 2);
                let service = self.service.clone();
                State::Readying { service, request: Some(request) }
            }
            Some(_) => State::Declined { note: None },
        };
        BackupFuture { state, first: Some(error) }
    }
}

/// Why a call that could have gone to the other service did not.
const NOT_COPIED: &str = "no fallback: the request cannot be copied (bodies that stream need a \
                          `ReplayBodyLayer` above, and longer ones its `with_cap`; other requests \
                          `Backup::with_replay`)";

pin_project! {
    /// The answer of a [`Backup`].
    ///
    /// # Cancel safety
    /// Dropping it drops the call to the other service.
    #[must_use = "futures do nothing unless polled"]
    pub struct BackupFuture<S, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S, S::Future, Req>,
        // Of the first service.
        first: Option<Error>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, Req> {
        // The request is not sent twice.
        Declined { note: Option<&'static str> },
        // The request is here until the service is ready.
        Readying { service: S, request: Option<Req> },
        Calling { #[pin] inner: F },
    }
}

impl<S, Req> Future for BackupFuture<S, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
{
    type Output = Result<S::Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let failed = loop {
            match this.state.as_mut().project() {
                StateProj::Declined { note } => {
                    let Some(first) = this.first.take() else {
                        return Poll::Pending;
                    };
                    return Poll::Ready(Err(match note {
                        Some(note) => first.note(note),
                        None => first,
                    }));
                }
                StateProj::Readying { service, request } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        break error;
                    }
                    let Some(request) = request.take() else {
                        return Poll::Pending;
                    };
                    let inner = service.call(request);
                    this.state.set(State::Calling { inner });
                }
                StateProj::Calling { inner } => match ready!(inner.poll(cx)) {
                    Ok(response) => return Poll::Ready(Ok(response)),
                    Err(error) => break error,
                },
            }
        };
        let last = Error::from_service(failed);
        Poll::Ready(Err(match this.first.take() {
            Some(first) => {
                let attempts = first.attempts().saturating_add(last.attempts());
                Error::exhausted(vec![first], last).after_attempts(attempts, None)
            }
            None => last,
        }))
    }
}

impl<S: fmt::Debug, R: fmt::Debug> fmt::Debug for Backup<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup")
            .field("service", &self.service)
            .field("replay", &self.replay)
            .finish()
    }
}

impl<S, Req> fmt::Debug for BackupFuture<S, Req>
where
    S: Service<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupFuture").field("first", &self.first).finish_non_exhaustive()
    }
}
