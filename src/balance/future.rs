use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tower_service::Service;

use super::{
    Pick, Strategy,
    set::{Connected, Set},
    waiting::{Waiting, Won},
};
use crate::{
    choose::{Chosen, Tried},
    error::{BoxError, Error, Fault, Kind},
    member::{Ending, Member},
};

pin_project! {
    /// The response of a [`Balance`](super::Balance).
    ///
    /// Where the service that was chosen was ready, it has been called already. Where it was not,
    /// this drives it and others to readiness, then calls the first that is. Dropping it at any
    /// point takes the call out of what is in flight.
    pub struct ResponseFuture<S, P, Req>
    where
        S: Service<Req>,
        P: Strategy,
    {
        #[pin]
        state: State<S::Future>,
        // These stand beside the state, not in it: what lives in an enum is moved about.
        flight: Option<Flight>,
        unsent: Option<Box<Unsent<S, P, Req>>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // No service is ready yet, and the request is still here.
        Choosing,
        Calling { #[pin] inner: F },
        Refused { error: Option<Error> },
    }
}

impl<S, P, Req> ResponseFuture<S, P, Req>
where
    S: Service<Req>,
    P: Strategy,
{
    #[inline]
    pub(super) fn calling(flight: Flight, inner: S::Future) -> Self {
        Self { state: State::Calling { inner }, flight: Some(flight), unsent: None }
    }

    pub(super) fn choosing(flight: Option<Flight>, unsent: Unsent<S, P, Req>) -> Self {
        Self { state: State::Choosing, flight, unsent: Some(Box::new(unsent)) }
    }

    #[cold]
    pub(super) fn refused(error: Error) -> Self {
        Self { state: State::Refused { error: Some(error) }, flight: None, unsent: None }
    }
}

impl<S, P, Req> Future for ResponseFuture<S, P, Req>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    P: Pick<Req>,
{
    type Output = Result<S::Response, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Calling { inner } => {
                    let Poll::Ready(result) = inner.poll(cx) else {
                        if let Some(flight) = this.flight {
                            flight.pend();
                        }
                        return Poll::Pending;
                    };
                    return Poll::Ready(match result {
                        Ok(response) => {
                            if let Some(flight) = this.flight {
                                flight.land();
                            }
                            Ok(response)
                        }
                        Err(error) => Err(failed(this.flight, error)),
                    });
                }
                StateProj::Choosing => {
                    let Some(unsent) = this.unsent else {
                        return Poll::Pending;
                    };
                    match ready!(unsent.poll_send(this.flight, cx)) {
                        Ok(inner) => this.state.set(State::Calling { inner }),
                        Err(error) => {
                            *this.flight = None;
                            return Poll::Ready(Err(error));
                        }
                    }
                    *this.unsent = None;
                }
                StateProj::Refused { error } => {
                    return match error.take() {
                        Some(error) => Poll::Ready(Err(error)),
                        None => Poll::Pending,
                    };
                }
            }
        }
    }
}

/// A call for which no service was ready.
pub(super) struct Unsent<S, P: Strategy, Req> {
    set: Arc<Set<S, P>>,
    request: Option<Req>,
    tried: Tried,
    /// Who was chosen first, until it is one of those who are waited for.
    first: Option<Connected<S>>,
    /// Of what the first one's service died.
    died: Option<Error>,
    waiting: Option<Waiting<S, P>>,
}

impl<S, P: Strategy, Req> Unsent<S, P, Req> {
    pub(super) fn new(
        set: Arc<Set<S, P>>,
        request: Req,
        tried: Tried,
        first: Option<Connected<S>>,
        died: Option<Error>,
    ) -> Self {
        Self { set, request: Some(request), tried, first, died, waiting: None }
    }

    /// Waits until one of the candidates is ready, and calls it. From then on its load counts
    /// instead of the first's.
    #[cold]
    #[inline(never)]
    fn poll_send(
        &mut self,
        flight: &mut Option<Flight>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Future, Error>>
    where
        S: Service<Req> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError> + 'static,
        P: Pick<Req>,
    {
        let Some(request) = &self.request else {
            return Poll::Pending;
        };
        let waiting = match &mut self.waiting {
            Some(waiting) => waiting,
            none => {
                // It takes timers to wait.
                if Handle::try_current().is_err() {
                    return Poll::Ready(Err(Error::refused(Kind::Unavailable)));
                }
                let member = flight.as_ref().map(|flight| flight.member.clone());
                let first = member.zip(self.first.take());
                let (set, tried) = (self.set.clone(), self.tried.clone());
                none.insert(Waiting::new(set, tried, first, self.died.take()))
            }
        };
        let Won { member, mut service } = ready!(waiting.poll(request, cx))?;
        let is_first = flight.as_ref().is_some_and(|flight| Arc::ptr_eq(&flight.member, &member));
        if !is_first {
            *flight = Some(Flight::begin(&member));
        }
        match self.request.take() {
            Some(request) => Poll::Ready(Ok(service.call(request))),
            None => Poll::Pending,
        }
    }
}

impl<S, P, Req> Chosen for ResponseFuture<S, P, Req>
where
    S: Service<Req>,
    P: Strategy,
{
    fn chosen(&self) -> Option<&Arc<Member>> {
        self.flight.as_ref().map(|flight| &flight.member)
    }

    fn is_unsent(&self) -> bool {
        !matches!(self.state, State::Calling { .. })
    }
}

impl<S, P, Req> fmt::Debug for ResponseFuture<S, P, Req>
where
    S: Service<Req>,
    P: Strategy,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("chosen", &self.chosen().map(|member| member.key()))
            .field("unsent", &self.is_unsent())
            .finish_non_exhaustive()
    }
}

#[cold]
fn failed<E: Into<BoxError> + 'static>(flight: &mut Option<Flight>, error: E) -> Error {
    let error = Error::from_service(error);
    match flight {
        Some(flight) => flight.fail(error),
        None => error,
    }
}

/// A call in flight on a member. The member stays readable when it has landed.
pub(super) struct Flight {
    member: Arc<Member>,
    /// When the call was first pending, in nanoseconds of the member's clock.
    began: u64,
}

/// Not pending yet: a call that is ready at once never reads a clock.
const NOT_YET: u64 = 0;
const LANDED: u64 = u64::MAX;

impl Flight {
    #[inline]
    pub(super) fn begin(member: &Arc<Member>) -> Self {
        member.take_off();
        Self { member: member.clone(), began: NOT_YET }
    }

    #[inline]
    fn pend(&mut self) {
        if self.began == NOT_YET {
            self.began = self.member.nanos().clamp(1, LANDED - 1);
        }
    }

    fn elapsed(&self) -> Duration {
        match self.began {
            NOT_YET => Duration::ZERO,
            began => Duration::from_nanos(self.member.nanos().saturating_sub(began)),
        }
    }

    #[inline]
    fn land(&mut self) {
        if self.began != NOT_YET {
            self.observe();
        }
        self.began = LANDED;
        self.member.land();
    }

    // Out of line, so that a call that is ready at once carries no clock with it.
    #[inline(never)]
    fn observe(&self) {
        self.member.observe(self.elapsed());
    }

    /// Ended in an error, which names the member from now on.
    fn fail(&mut self, error: Error) -> Error {
        let error = if self.member.is_client() { error.confirm_unsent() } else { error };
        match error.fault() {
            Fault::Endpoint if error.kind() != Kind::Plugin => {
                self.member.observe_failure(self.elapsed());
            }
            Fault::Endpoint if self.began != NOT_YET => self.member.observe(self.elapsed()),
            Fault::Cancelled if self.began != NOT_YET => {
                self.member.observe_abandoned(self.elapsed());
            }
            _ => {}
        }
        self.began = LANDED;
        self.member.land();
        error.or_at_endpoint(self.member.shared_key())
    }

    #[cold]
    fn abandon(&self) {
        if self.began != NOT_YET {
            match Ending::of_flight(&self.member) {
                Ending::TimedOut => self.member.observe_failure(self.elapsed()),
                Ending::Cancelled => self.member.observe_abandoned(self.elapsed()),
            }
        }
        self.member.land();
    }
}

impl Drop for Flight {
    #[inline]
    fn drop(&mut self) {
        if self.began != LANDED {
            self.abandon();
        }
    }
}
