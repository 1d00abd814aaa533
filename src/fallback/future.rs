use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::Substitute;
use crate::{
    choose::Chosen,
    decision::Decision,
    error::{BoxError, Error, Fault, Kind},
    member::Member,
    outcome::{Classify, fault},
    sync::Lease,
};

/// What the services of one layer have in common.
pub(super) struct Policy<A, C> {
    pub(super) substitute: A,
    pub(super) classify: C,
}

/// [`Policy`], as a call holds it.
pub(super) type Held<A, C> = Arc<Lease<Policy<A, C>, ()>>;

pin_project! {
    /// The response of a [`Fallback`](super::Fallback): the service's answer, or that of the substitute.
    ///
    /// # Cancel safety
    /// Dropping it drops the call that runs, that of the service or that of the substitute.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, Req, A, C>
    where
        A: Substitute<Req>,
    {
        #[pin]
        state: State<F, A::Future, A::Response>,
        kept: Option<A::Kept>,
        // None where nothing answers in place of the service.
        policy: Option<Held<A, C>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, G, T> {
        Calling { #[pin] inner: F },
        // The answer of the service is kept, if it gave one: the substitute may have none.
        Substituting { #[pin] inner: G, answer: Option<T> },
    }
}

impl<F, Req, A, C> ResponseFuture<F, Req, A, C>
where
    A: Substitute<Req>,
{
    #[inline]
    pub(super) fn new(inner: F, kept: Option<A::Kept>, policy: Option<Held<A, C>>) -> Self {
        Self { state: State::Calling { inner }, kept, policy }
    }
}

impl<F, Req, A, C, E> Future for ResponseFuture<F, Req, A, C>
where
    F: Future<Output = Result<A::Response, E>>,
    E: Into<BoxError> + 'static,
    A: Substitute<Req>,
    C: Classify<A::Response, E>,
{
    type Output = Result<A::Response, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let StateProj::Calling { inner } = this.state.as_mut().project() {
            let result = ready!(inner.poll(cx));
            let Some(policy) = this.policy.as_ref().map(|held| held.core()) else {
                return Poll::Ready(result.map_err(Error::from_service));
            };
            let (error, answer) = match result {
                Ok(answer) if !policy.classify.classify(Ok(&answer)).is_failure() => {
                    if let Some(kept) = this.kept.take() {
                        policy.substitute.observe(kept, &answer);
                    }
                    return Poll::Ready(Ok(answer));
                }
                Ok(answer) => (judged_a_failure(), Some(answer)),
                Err(error) if falls_back(&error, &policy.classify) => {
                    (Error::from_service(error), None)
                }
                Err(error) => return Poll::Ready(Err(Error::from_service(error))),
            };
            // It is there until the substitute is asked.
            let Some(kept) = this.kept.take() else {
                return Poll::Ready(answer.ok_or(error));
            };
            tracing::debug!(%error, "falling back");
            let inner = policy.substitute.substitute(kept, error);
            this.state.set(State::Substituting { inner, answer });
        }
        match this.state.project() {
            StateProj::Substituting { inner, answer } => {
                let result = ready!(inner.poll(cx));
                Poll::Ready(result.or_else(|error| answer.take().ok_or(error)))
            }
            StateProj::Calling { .. } => Poll::Pending,
        }
    }
}

/// Whether the substitute answers for a call that ended in `error`. Rules judge what an endpoint did, here
/// as elsewhere. Of a refusal, of a call whose time was over and of a dead connection no answer came; and what
/// else the caller did would be wrong for the substitute, too.
#[cold]
fn falls_back<T, E: 'static>(error: &E, classify: &impl Classify<T, E>) -> bool {
    match fault(error) {
        Fault::Guard | Fault::Connection | Fault::Cancelled => true,
        Fault::Endpoint => classify.classify(Err(error)).is_failure(),
        // Whether its time passed before anything was sent, or on the way, makes no difference to its caller.
        Fault::Caller => Error::find(error).is_some_and(Error::is_timeout),
    }
}

#[cold]
fn judged_a_failure() -> Error {
    Error::failed(Kind::Service).message("the answer was judged a failure")
}

impl<F, Req, A, C> Chosen for ResponseFuture<F, Req, A, C>
where
    F: Chosen,
    A: Substitute<Req>,
{
    /// None once the substitute answers, which belongs to no member.
    fn chosen(&self) -> Option<&Arc<Member>> {
        match &self.state {
            State::Calling { inner } => inner.chosen(),
            State::Substituting { .. } => None,
        }
    }

    fn is_unsent(&self) -> bool {
        match &self.state {
            State::Calling { inner } => inner.is_unsent(),
            State::Substituting { .. } => false,
        }
    }

    fn decision(&self) -> Option<Arc<Decision>> {
        match &self.state {
            State::Calling { inner } => inner.decision(),
            State::Substituting { .. } => None,
        }
    }
}

impl<F, Req, A, C> fmt::Debug for ResponseFuture<F, Req, A, C>
where
    A: Substitute<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fell_back = matches!(self.state, State::Substituting { .. });
        f.debug_struct("ResponseFuture").field("fell_back", &fell_back).finish_non_exhaustive()
    }
}
