use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    gates::{Gates, Watch},
    word::{IDLE, LATE, MISUSED, NAMED, NO_RUNTIME, UNHEALTHY},
};
use crate::{
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    error::{BoxError, Error, Kind},
    guard::{Avoiding, Hedging, Pass, Plain, ResponseFuture},
    member::Member,
};

/// Service and connector of a [`HealthGateLayer`](super::HealthGateLayer).
///
/// Above a balancer, or alone, it is ready without asking the inner service while it is shut, and
/// refuses. Below a balancer it lets every call pass: the balancer skips the unhealthy member, unless
/// it is in a panic.
///
/// # Errors
/// Above a balancer, or alone, [`Kind::Unhealthy`] while it is shut, and [`Kind::Unavailable`] if
/// there is no tokio runtime to check in. In both places [`Kind::InvalidConfig`] if the check can
/// never work here. Otherwise the errors of the inner service.
///
/// # Cancel safety
/// A gate holds nothing for a call: dropping the future drops the inner call.
///
/// # Example
/// ```
/// use tower::Layer;
/// use tower_upstream::{HealthGateLayer, health::{HealthGate, check_upstream}};
/// let gate: HealthGate<&str> = HealthGateLayer::new(check_upstream(|| async { true })).layer("inner");
/// assert_eq!(gate.into_inner(), "inner");
/// ```
pub struct HealthGate<S> {
    inner: S,
    watch: Arc<Watch>,
    /// Why the next call is refused, as `poll_ready` found; 0 if it is not.
    refusal: u32,
}

impl<S> HealthGate<S> {
    pub(super) fn new(inner: S, watch: Arc<Watch>) -> Self {
        Self { inner, watch, refusal: 0 }
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service. Calls through it pass no gate.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service, without the gate.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Why to refuse, where the word says that something is to be done.
    #[inline]
    fn look(&self, word: u32) -> u32 {
        if word & (IDLE | MISUSED) != 0 {
            return self.look_closer(word);
        }
        // Below a balancer the veto does the work.
        if self.watch.gate.member.is_some() { 0 } else { word }
    }

    /// The same where it is not checked.
    #[cold]
    fn look_closer(&self, word: u32) -> u32 {
        if word & MISUSED != 0 {
            return MISUSED;
        }
        let is_checked = self.watch.enlist();
        match self.watch.gate.member {
            // What stands above says that there is no runtime.
            Some(_) => 0,
            None if is_checked => word & (UNHEALTHY | NAMED | LATE),
            None => NO_RUNTIME,
        }
    }

    #[inline(always)]
    fn pass<Req, P: Pass<S, Req>>(&mut self, request: Req, way: P) -> ResponseFuture<P::Future> {
        match self.refusal {
            0 => ResponseFuture::called(way.pass(&mut self.inner, request)),
            _ => ResponseFuture::refused(self.refuse()),
        }
    }

    #[cold]
    fn refuse(&self) -> Error {
        match self.refusal {
            UNHEALTHY => Error::refused(Kind::Unhealthy),
            bit => self.watch.gate.refuse(bit),
        }
    }
}

/// A clone starts unready.
impl<S: Clone> Clone for HealthGate<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.watch.clone())
    }
}

impl<S> HealthGate<S> {
    fn of_member<C>(connector: &C, gates: &Arc<Gates>, member: &Arc<Member>) -> Self
    where
        C: Connect<Service = S>,
    {
        let watch = gates.watch_member(member);
        let gate = Self::new(connector.connect(member), watch);
        let word = gate.watch.gate.word();
        if word != 0 {
            gate.look(word);
        }
        gate
    }
}

/// The connector alone, which has no gate beside those of the members.
#[cfg(feature = "config")]
#[derive(Clone)]
pub(crate) struct EachHealthGate<S> {
    pub(super) inner: S,
    pub(super) gates: Arc<Gates>,
}

#[cfg(feature = "config")]
impl<S: Connect> Connect for EachHealthGate<S> {
    type Service = HealthGate<S::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        HealthGate::of_member(&self.inner, &self.gates, member)
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S: Connect> Connect for HealthGate<S> {
    type Service = HealthGate<S::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        HealthGate::of_member(&self.inner, &self.watch.gates, member)
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S, Req> Service<Req> for HealthGate<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.refusal = 0;
        let word = self.watch.gate.word();
        if word != 0 {
            self.refusal = self.look(word);
            if self.refusal != 0 {
                return Poll::Ready(Ok(()));
            }
        }
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.pass(request, Plain)
    }
}

impl<S, Req> Choose<Req> for HealthGate<S>
where
    S: Choose<Req>,
    S::Error: Into<BoxError> + 'static,
{
    type Choosing = ResponseFuture<S::Choosing>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.pass(request, Avoiding(tried))
    }

    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        self.pass(request, Hedging(tried)).hedge()
    }
}

impl<S: Chooses> Chooses for HealthGate<S> {
    inner_chooses!();
}

impl<S: fmt::Debug> fmt::Debug for HealthGate<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthGate")
            .field("inner", &self.inner)
            .field("gate", &self.watch)
            .finish_non_exhaustive()
    }
}
