use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
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
    error::{BoxError, Error, Kind},
    member::Member,
    outcome::is_refusal,
};

pin_project! {
    /// The response of a [`Balance`](super::Balance).
    ///
    /// It drives the service that it chose to readiness, then calls it. Dropping it at any point
    /// takes the call out of what is in flight.
    pub struct ResponseFuture<S, P, Req>
    where
        S: Service<Req>,
        P: Strategy,
    {
        #[pin]
        state: State<S::Future>,
        // These stand beside the state, not in it: what lives in an enum is moved about.
        flight: Option<Flight>,
        service: Option<Connected<S>>,
        request: Option<Req>,
        set: Option<Arc<Set<S, P>>>,
        seldom: Option<Box<Seldom<S, P>>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // The service is not ready yet, and the request is still here.
        Choosing,
        Calling { #[pin] inner: F },
        Refused { error: Option<Error> },
    }
}

enum Seldom<S, P: Strategy> {
    Tried(Tried),
    Waiting(Waiting<S, P>),
}

impl<S, P, Req> ResponseFuture<S, P, Req>
where
    S: Service<Req>,
    P: Strategy,
{
    #[inline]
    pub(super) fn new(
        set: Arc<Set<S, P>>,
        request: Req,
        first: Option<(Arc<Member>, Connected<S>)>,
        tried: &Tried,
    ) -> Self {
        let (flight, service) = match first {
            Some((member, connected)) => (Some(Flight::begin(member)), Some(connected)),
            None => (None, None),
        };
        let seldom = (!tried.is_empty()).then(|| Box::new(Seldom::Tried(tried.clone())));
        let (request, set) = (Some(request), Some(set));
        Self {
            state: State::Choosing,
            flight,
            service,
            request,
            set,
            seldom,
        }
    }

    #[cold]
    pub(super) fn refused(error: Error) -> Self {
        Self {
            state: State::Refused { error: Some(error) },
            flight: None,
            service: None,
            request: None,
            set: None,
            seldom: None,
        }
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
                    if let Some(flight) = this.flight {
                        match &result {
                            Ok(_) => flight.land(),
                            Err(error) => flight.fail(is_refusal(error)),
                        }
                    }
                    return Poll::Ready(result.map_err(Error::from_service));
                }
                StateProj::Choosing => {
                    // Ready at once, as it is nearly always.
                    let mut died = None;
                    if let Some(connected) = this.service.as_mut() {
                        match connected.service.poll_ready(cx) {
                            Poll::Ready(Ok(())) => {
                                if let Some(request) = this.request.take() {
                                    let inner = connected.service.call(request);
                                    this.state.set(State::Calling { inner });
                                    *this.service = None;
                                    continue;
                                }
                            }
                            Poll::Ready(Err(error)) => died = Some(Error::from_service(error)),
                            Poll::Pending => {}
                        }
                    }
                    let (Some(set), Some(request)) = (this.set.as_ref(), this.request.as_ref())
                    else {
                        return Poll::Pending;
                    };
                    let first = (this.service.take(), died);
                    let chosen = choose(set, request, first, this.flight, this.seldom, cx);
                    match chosen {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Err(error)) => {
                            *this.flight = None;
                            return Poll::Ready(Err(error));
                        }
                        Poll::Ready(Ok(mut service)) => {
                            if let Some(request) = this.request.take() {
                                let inner = service.call(request);
                                this.state.set(State::Calling { inner });
                                *this.seldom = None;
                            }
                        }
                    }
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

/// Waits until one of the candidates is ready. Its load counts from then on instead of the first's.
#[cold]
#[inline(never)]
fn choose<S, P, Req>(
    set: &Arc<Set<S, P>>,
    request: &Req,
    (first, died): (Option<Connected<S>>, Option<Error>),
    flight: &mut Option<Flight>,
    seldom: &mut Option<Box<Seldom<S, P>>>,
    cx: &mut Context<'_>,
) -> Poll<Result<S, Error>>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    P: Pick<Req>,
{
    let tried = match seldom.as_deref() {
        Some(Seldom::Waiting(_)) => None,
        Some(Seldom::Tried(tried)) => Some(tried.clone()),
        None => Some(Tried::default()),
    };
    if let Some(tried) = tried {
        // It takes timers to wait.
        if Handle::try_current().is_err() {
            return Poll::Ready(Err(Error::refused(Kind::Unavailable)));
        }
        let first = flight
            .as_ref()
            .map(|flight| flight.member.clone())
            .zip(first);
        let waiting = Waiting::new(set.clone(), tried, first, died);
        *seldom = Some(Box::new(Seldom::Waiting(waiting)));
    }
    let Some(Seldom::Waiting(waiting)) = seldom.as_deref_mut() else {
        return Poll::Pending;
    };
    match waiting.poll(request, cx) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Ready(Ok(Won { member, service })) => {
            let is_first = flight
                .as_ref()
                .is_some_and(|f| Arc::ptr_eq(&f.member, &member));
            if !is_first {
                *flight = Some(Flight::begin(member));
            }
            Poll::Ready(Ok(service))
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

/// A call in flight on a member. The member stays readable when it has landed.
struct Flight {
    member: Arc<Member>,
    /// When the call was first pending, in nanoseconds of the member's clock.
    began: u64,
}

/// Not pending yet: a call that is ready at once never reads a clock.
const NOT_YET: u64 = 0;
const LANDED: u64 = u64::MAX;

impl Flight {
    #[inline]
    fn begin(member: Arc<Member>) -> Self {
        member.take_off();
        Self {
            member,
            began: NOT_YET,
        }
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
            self.member.observe(self.elapsed());
        }
        self.began = LANDED;
        self.member.land();
    }

    #[cold]
    fn fail(&mut self, refused: bool) {
        if !refused {
            self.member.observe_failure(self.elapsed());
        }
        self.began = LANDED;
        self.member.land();
    }
}

impl Drop for Flight {
    #[inline]
    fn drop(&mut self) {
        if self.began == LANDED {
            return;
        }
        if self.began != NOT_YET {
            self.member.observe_abandoned(self.elapsed());
        }
        self.member.land();
    }
}
