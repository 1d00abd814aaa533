use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Sleep;
use tower_service::Service;

#[cfg(feature = "config")]
use super::circuit::Circuits;
use super::{
    AtResponse, ResponseFuture, Settle,
    circuit::{Circuit, Shared},
    future::Judging,
    permit::Permit,
};
use crate::{
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    error::{BoxError, Error},
    guard::{Avoiding, Hedging, Pass, Plain},
    member::Member,
    sync::WaitKey,
};

/// The service of a [`CircuitBreakerLayer`](super::CircuitBreakerLayer), and its connector.
///
/// # Readiness
/// While the circuit is open, `poll_ready` is ready at once and `call` refuses, whatever the inner service
/// does. Below a balancer, `poll_ready` is pending instead until the circuit admits a call. There it takes
/// a half-open place when it is ready.
///
/// # Errors
/// [`Kind::CircuitOpen`](crate::error::Kind::CircuitOpen), with the time to come back if the circuit is
/// open; and the errors of the inner service.
///
/// # Cancel safety
/// Dropped without a call, it gives the half-open place back. For a call that is dropped, see
/// [`ResponseFuture`].
pub struct CircuitBreaker<S, C = AtResponse> {
    /// What is seldom needed, so that a clone is small. First, so that a place is given back before the
    /// inner service goes.
    seldom: Option<Box<Seldom>>,
    inner: S,
    shared: Shared,
    settle: C,
    /// `poll_ready` decided to refuse, so `call` will.
    refuses: bool,
}

struct Seldom {
    shared: Shared,
    /// A half-open place, taken by `poll_ready` below a balancer.
    place: Option<Permit>,
    waits: WaitKey,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Seldom {
    fn new(shared: Shared) -> Box<Self> {
        Box::new(Self { shared, place: None, waits: WaitKey::default(), sleep: None })
    }
}

impl Drop for Seldom {
    fn drop(&mut self) {
        self.shared.core().waiting.leave(&mut self.waits);
        if let Some(place) = self.place.take() {
            place.give_back();
        }
    }
}

impl<S, C> CircuitBreaker<S, C> {
    pub(super) fn new(inner: S, shared: Shared, settle: C) -> Self {
        Self { seldom: None, inner, shared, settle, refuses: false }
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, to be changed. Calls made through it are not counted.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service alone. A half-open place that `poll_ready` took is given back.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Below a balancer: takes a place, or waits for one. Without a runtime there is nothing to
    /// wait with, and it is `false`.
    #[cold]
    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.seldom.is_none() && Circuit::is_closed_now(&self.shared) {
            return Poll::Ready(true);
        }
        let seldom = self.seldom.get_or_insert_with(|| Seldom::new(self.shared.clone()));
        if seldom.place.as_ref().is_some_and(Permit::is_current) {
            return Poll::Ready(true);
        }
        if let Some(old) = seldom.place.take() {
            old.give_back();
        }
        let circuit = self.shared.core();
        for registered in [false, true] {
            if let Some(ticket) = Circuit::admit(&self.shared) {
                circuit.waiting.leave(&mut seldom.waits);
                if ticket.is_probe() {
                    seldom.place = Some(Permit::new(&self.shared, ticket));
                }
                return Poll::Ready(true);
            }
            if !registered {
                circuit.waiting.wait(&mut seldom.waits, cx.waker());
            }
        }
        // Woken by the next transition, or when the clock brings one.
        if let Some(due) = circuit.due() {
            if tokio::runtime::Handle::try_current().is_err() {
                circuit.waiting.leave(&mut seldom.waits);
                return Poll::Ready(false);
            }
            let sleep = match &mut seldom.sleep {
                Some(sleep) => {
                    sleep.as_mut().reset(due);
                    sleep
                }
                None => seldom.sleep.insert(Box::pin(tokio::time::sleep_until(due))),
            };
            if sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// Not closed, or it matters whether others hang: may a call pass all the same?
    #[inline(never)]
    fn poll_admission(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.shared.core().is_bound() {
            self.poll_place(cx)
        } else {
            Poll::Ready(Circuit::is_passing(&self.shared))
        }
    }

    /// The right to make one call; none if it is refused.
    #[inline]
    fn admit(&mut self) -> Option<Permit> {
        if std::mem::take(&mut self.refuses) {
            return None;
        }
        let word = self.shared.core().word();
        if word.is_passing() && self.seldom.is_none() {
            return Some(Permit::new(&self.shared, word.ticket()));
        }
        self.admit_seldom()
    }

    #[inline(never)]
    fn admit_seldom(&mut self) -> Option<Permit> {
        match self.seldom.as_mut().and_then(|seldom| seldom.place.take()) {
            Some(place) if place.is_current() => return Some(place),
            Some(old) => old.give_back(),
            None => {}
        }
        Some(Permit::new(&self.shared, Circuit::admit(&self.shared)?))
    }

    #[inline(always)]
    fn pass<Req, P>(&mut self, request: Req, way: P) -> ResponseFuture<P::Future, C>
    where
        P: Pass<S, Req>,
        C: Clone,
    {
        match self.admit() {
            Some(permit) => {
                let (inner, permit) = permit.call(|| way.pass(&mut self.inner, request));
                ResponseFuture::holding(Judging::new(permit, self.settle.clone()), inner)
            }
            None => {
                let nothing = Judging::nothing(self.settle.clone());
                ResponseFuture::refused_with(nothing, self.refusal())
            }
        }
    }

    #[inline(never)]
    fn refusal(&self) -> Error {
        self.shared.local().count_refused();
        self.shared.core().refusal()
    }
}

impl<S, C, Req> Service<Req> for CircuitBreaker<S, C>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
    C: Settle<S::Response, S::Error> + Clone,
{
    type Response = C::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let permit = if self.shared.core().word().is_passing() {
            Poll::Ready(true)
        } else {
            self.poll_admission(cx)
        };
        match permit {
            Poll::Pending => Poll::Pending,
            Poll::Ready(false) => {
                self.refuses = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(true) => {
                self.refuses = false;
                self.inner.poll_ready(cx).map_err(Error::from_service)
            }
        }
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.pass(request, Plain)
    }
}

impl<S, C> Connect for CircuitBreaker<S, C>
where
    S: Connect,
    C: Clone,
{
    type Service = CircuitBreaker<S::Service, C>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let shared = self.shared.core().circuits().of_member(member);
        CircuitBreaker::new(self.inner.connect(member), shared, self.settle.clone())
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

/// The connector alone, which has no circuit beside those of the members.
#[cfg(feature = "config")]
#[derive(Clone)]
pub(crate) struct EachCircuitBreaker<S, C> {
    pub(super) inner: S,
    pub(super) circuits: Arc<Circuits>,
    pub(super) settle: C,
}

#[cfg(feature = "config")]
impl<S: Connect, C: Clone> Connect for EachCircuitBreaker<S, C> {
    type Service = CircuitBreaker<S::Service, C>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let shared = self.circuits.of_member(member);
        CircuitBreaker::new(self.inner.connect(member), shared, self.settle.clone())
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S: Chooses, C> Chooses for CircuitBreaker<S, C> {
    inner_chooses!();
}

impl<S, C, Req> Choose<Req> for CircuitBreaker<S, C>
where
    S: Choose<Req>,
    S::Error: Into<BoxError> + 'static,
    C: Settle<S::Response, S::Error> + Clone,
{
    type Choosing = ResponseFuture<S::Choosing, C>;

    #[inline]
    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.pass(request, Avoiding(tried))
    }

    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        self.pass(request, Hedging(tried)).hedge()
    }
}

/// A clone starts unready: it shares the circuit, and neither a decision nor a place.
impl<S: Clone, C: Clone> Clone for CircuitBreaker<S, C> {
    #[inline]
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.shared.clone(), self.settle.clone())
    }
}

impl<S: fmt::Debug, C> fmt::Debug for CircuitBreaker<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("state", &self.shared.core().word().state())
            .field("inner", &self.inner)
            .finish()
    }
}
