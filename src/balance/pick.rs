//! Choosing here and calling elsewhere.

use std::{fmt, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::{runtime::Handle, time::sleep_until};

use super::{
    group::{Choice, Connected},
    marks::Bound,
    probation::Probe,
    service::Balance,
    set::Set,
    snapshot::Snapshot,
    strategy::{Pick, Strategy},
};
use crate::{
    choose::Tried,
    endpoint::Endpoint,
    error::{Error, Kind},
    member::{Flight, Member},
    outcome::Outcome,
    sync::WaitKey,
    time,
};

/// How long until [`Balance::ready_pick`] looks again whether a candidate is free: a guard that has a free
/// place again tells no one.
const LOOK_AFTER: Duration = Duration::from_millis(10);

/// Choice of an endpoint by [`Balance::pick`], for a call that is made elsewhere.
///
/// The call counts as in flight, and is timed, from the choice until this is reported or drops.
///
/// # Cancel safety
/// Dropped without a [`report`](Self::report), it is a call that was given up: it can worsen the latency
/// estimate of the endpoint, never improve it, and counts as neither a success nor a failure.
///
/// # Example
/// See [`Balance::pick`].
#[must_use = "dropping it counts as a call that was given up"]
pub struct Picked<S> {
    flight: Flight<Arc<Connected<S>>>,
    /// If the endpoint is on probation: the place of this call.
    probe: Option<Probe>,
    /// If the session of the call is not known to belong to the endpoint.
    binding: Option<Bound>,
}

impl<S> Picked<S> {
    fn new(Choice { connected, probe }: Choice<S>, binding: Option<Bound>) -> Self {
        Self { flight: Flight::begin_elsewhere(connected), probe, binding }
    }

    /// Returns what discovery says of the endpoint now.
    pub fn endpoint(&self) -> Arc<Endpoint> {
        self.member().endpoint()
    }

    /// Returns the member of the set that was chosen.
    pub fn member(&self) -> &Arc<Member> {
        self.flight.member()
    }

    /// Returns a clone of the service that was connected for the endpoint. Poll it until it is ready before
    /// you call it.
    pub fn service(&self) -> S
    where
        S: Clone,
    {
        self.flight.held().service.clone()
    }

    /// Tells the balancer how the call ended: its latency, or its failure, counts as that of a call through
    /// the balancer does.
    ///
    /// [`Outcome::Ignored`] counts as nothing. With a strategy that keeps [sessions](crate::session), the session of
    /// the request belongs to the endpoint from a success on. Where the response has a body, report at the end of it if
    /// the call is to be in flight until then.
    pub fn report(mut self, outcome: Outcome) {
        self.flight.settle(outcome);
        Probe::settle(self.probe.take(), self.flight.ended());
        Bound::settle(self.binding.take(), self.flight.ended(), false);
    }
}

impl<S> fmt::Debug for Picked<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Picked").field(&self.member().key()).finish()
    }
}

impl<S, P, C> Balance<S, P, C>
where
    S: Clone + Send + Sync + 'static,
    P: Strategy,
{
    /// Chooses an endpoint for a call that is made elsewhere, such as by a client of another crate.
    ///
    /// Never waits. The choice is that of a first attempt. No guard below the balancer is asked before the
    /// [`service`](Picked::service) of the choice is polled and called; the choice itself knows those that
    /// bar their endpoint, such as a health gate or an open circuit.
    ///
    /// # Errors
    /// Unsent, all of them:
    /// * `NoEndpoints` before the first set of endpoints is known, and if that set is empty. The first
    ///   choice inside a runtime begins to watch the source; [`ready_pick`](Self::ready_pick) waits for it.
    /// * `AllEndpointsDown` or `CircuitOpen` if there is no endpoint to choose.
    /// * `Unavailable` outside a tokio runtime, unless the set is watched already.
    ///
    /// # Example
    /// ```
    /// use tower::{ServiceBuilder, service_fn};
    /// use tower_upstream::{BalanceLayer, BoxError, Endpoint, LeastRequest, Outcome, connect_fn, discover};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
    /// let endpoints = discover::fixed(["10.0.0.1:5432", "10.0.0.2:5432"])?;
    /// let balance = ServiceBuilder::new()
    ///     .layer(BalanceLayer::new(endpoints, LeastRequest::new()))
    ///     .service(connect_fn(|_: &Endpoint| service_fn(async |(): ()| Ok::<_, BoxError>(()))));
    /// let handle = balance.handle();
    ///
    /// balance.ready_pick(&()).await?.report(Outcome::Ignored);
    /// let picked = balance.pick(&())?;
    /// assert_eq!(handle.stats().in_flight, Some(1));
    /// let address = picked.endpoint().address().to_string();
    /// // ... a call to `address`, with a client of your own
    /// picked.report(Outcome::Success);
    /// assert_eq!(handle.stats().in_flight, Some(0));
    /// # let _ = address;
    /// # Ok(()) }
    /// ```
    pub fn pick<Req>(&self, request: &Req) -> Result<Picked<S>, Error>
    where
        P: Pick<Req>,
    {
        let set = self.set();
        if !set.is_up() {
            let picked = set.homes().and_then(|homes| {
                let choice = homes.choose_home(&set.strategy, Tried::NONE, request, &mut None)?;
                Some(picked(set, &homes, choice, request))
            });
            return picked.ok_or_else(|| self.nothing_to_pick());
        }
        let kept = self.kept().and_then(|snapshot| choose(set, snapshot, request));
        match kept.or_else(|| choose(set, &set.snapshot.load(), request)) {
            Some(picked) => Ok(picked),
            None => Err(set.refusal(Kind::AllEndpointsDown).message("all endpoints are busy")),
        }
    }

    /// Chooses an endpoint as [`pick`](Self::pick) does, but waits for one at most
    /// [`fail_fast_after`](super::BalanceConfig::fail_fast_after).
    ///
    /// # Errors
    /// As those of [`pick`](Self::pick), once there has been no endpoint to choose for as long, and at once
    /// outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping it chooses nothing, and counts nothing.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::{Error, LeastRequest, balance::{Balance, Picked}};
    ///
    /// async fn choose<S>(balance: &Balance<S, LeastRequest>) -> Result<Picked<S>, Error>
    /// where
    ///     S: Clone + Send + Sync + 'static,
    /// {
    ///     balance.ready_pick(&()).await
    /// }
    /// ```
    pub async fn ready_pick<Req>(&self, request: &Req) -> Result<Picked<S>, Error>
    where
        P: Pick<Req>,
    {
        match self.pick(request) {
            Err(_) if Handle::try_current().is_ok() => {}
            picked => return picked,
        }
        let now = time::now();
        let mut end = pin!(sleep_until(time::later(now, self.set().config().fail_fast_after)));
        let mut again = pin!(sleep_until(now));
        let mut waits = Waits { set: self.set(), key: WaitKey::default() };
        poll_fn(move |cx| {
            // Before looking: what changes from here on wakes this task.
            waits.set.waiting.wait(&mut waits.key, cx.waker());
            loop {
                let error = match self.pick(request) {
                    Ok(picked) => return Poll::Ready(Ok(picked)),
                    Err(error) => error,
                };
                if waits.set.is_failing_fast() || end.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(error));
                }
                if !waits.set.is_up() || again.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                again.as_mut().reset(time::later(time::now(), LOOK_AFTER));
            }
        })
        .await
    }

    /// Why there is nothing to choose from. Sees to it that there will be.
    #[cold]
    fn nothing_to_pick(&self) -> Error {
        if let Err(error) = self.set().ensure_running() {
            return error;
        }
        let snapshot = self.set().snapshot.load();
        if snapshot.version > 1 || self.set().is_failing_fast() {
            return snapshot.refusal.clone();
        }
        let refusal = self.set().explained(snapshot.refusal.clone());
        refusal.message("no set of endpoints is known yet: `ready_pick` waits for one")
    }
}

fn choose<S, P, Req>(
    set: &Set<S, P>,
    snapshot: &Snapshot<S, P::Table>,
    request: &Req,
) -> Option<Picked<S>>
where
    P: Pick<Req>,
{
    // A choice that is not free could only be waited for.
    let choice = snapshot.choose(&set.strategy, Tried::NONE, request, &mut None)?;
    Some(picked(set, snapshot, choice, request))
}

fn picked<S, P, Req>(
    set: &Set<S, P>,
    snapshot: &Snapshot<S, P::Table>,
    choice: Choice<S>,
    request: &Req,
) -> Picked<S>
where
    P: Pick<Req>,
{
    let binding = Bound::of(set, snapshot, &choice.connected.member, request);
    Picked::new(choice, binding)
}

/// A place in the list of those that wait for a set.
struct Waits<'a, S, P: Strategy> {
    set: &'a Arc<Set<S, P>>,
    key: WaitKey,
}

impl<S, P: Strategy> Drop for Waits<'_, S, P> {
    fn drop(&mut self) {
        self.set.waiting.leave(&mut self.key);
    }
}
