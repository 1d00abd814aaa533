//! What becomes of one call: it is made at once, or waits.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tower_service::Service;

use super::{
    future::ResponseFuture,
    set::Set,
    snapshot::{Choice, Connected, Snapshot},
    strategy::{Pick, Strategy},
    waiting::Waiting,
};
use crate::{choose::Tried, error::BoxError, member::Flight};

/// A call, and what it takes to make it.
pub(super) struct Dispatch<'a, S, P: Strategy, C, Req> {
    pub(super) set: &'a Arc<Set<S, P>>,
    pub(super) classify: &'a C,
    pub(super) request: Req,
    pub(super) tried: &'a Tried,
}

impl<S, P, C, Req> Dispatch<'_, S, P, C, Req>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    P: Pick<Req>,
    C: Clone,
{
    /// Chooses, and calls at once if the service that was chosen is ready, as it nearly always is.
    /// Then the response holds nothing but that call. If not, the response waits.
    #[inline(always)]
    pub(super) fn first(self, snapshot: &Snapshot<S, P::Table>) -> ResponseFuture<S, P, Req, C> {
        let (sole, candidates) = (&snapshot.sole, snapshot.candidates(Tried::NONE));
        let index = self.set.strategy.pick(&sole.table, candidates, &self.request);
        match index.and_then(|index| sole.candidate(index)) {
            Some(connected) => self.call(connected),
            None => self.further(snapshot, index.is_some()),
        }
    }

    /// A pick of the candidates brought none, or one on probation: look further, or wait.
    #[cold]
    #[inline(never)]
    fn further(
        self,
        snapshot: &Snapshot<S, P::Table>,
        is_picked: bool,
    ) -> ResponseFuture<S, P, Req, C> {
        let claimed = if is_picked { snapshot.sole.claim(Tried::NONE) } else { None };
        let choose = || snapshot.choose(&self.set.strategy, Tried::NONE, &self.request);
        let choice = claimed.or_else(choose);
        self.call_choice(choice)
    }

    /// Another attempt of a call.
    #[cold]
    #[inline(never)]
    pub(super) fn again(self) -> ResponseFuture<S, P, Req, C> {
        if !self.set.is_up() {
            return self.wait_or_fail();
        }
        let snapshot = self.set.snapshot.load();
        let strategy = &self.set.strategy;
        let choice = snapshot.choose_again(strategy, self.tried, self.tried, &self.request);
        self.call_choice(choice)
    }

    /// Calls what a look beyond the candidates brought, or waits.
    fn call_choice(self, choice: Option<Choice<S>>) -> ResponseFuture<S, P, Req, C> {
        match choice {
            Some(Choice { connected, probe: None }) => self.call(connected),
            // It waits for its readiness as others do that are not ready, and is called then.
            first => self.wait(first),
        }
    }

    #[inline(always)]
    fn call(self, connected: Arc<Connected<S>>) -> ResponseFuture<S, P, Req, C> {
        let mut service = connected.service.clone();
        let flight = Flight::begin(connected);
        // None to wake: a call that waits asks again, with a waker.
        let died = match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                let inner = service.call(self.request);
                return ResponseFuture::calling(flight, inner, self.classify.clone());
            }
            Poll::Pending => None,
            Poll::Ready(Err(error)) => Some(error),
        };
        self.wait_for(flight, service, died)
    }

    /// Waits for `service` that was chosen, and for others.
    #[cold]
    #[inline(never)]
    fn wait_for(
        self,
        flight: Flight<Arc<Connected<S>>>,
        service: S,
        died: Option<S::Error>,
    ) -> ResponseFuture<S, P, Req, C> {
        let first = Choice { connected: flight.held().clone(), probe: None };
        let waiting = Waiting::new(self.set.clone(), self.request, self.tried.clone());
        let waiting = waiting.with_first(first, service, died);
        ResponseFuture::waiting(Some(flight), waiting, self.classify.clone())
    }

    /// Waits for what was chosen, if anything was, and for others.
    #[cold]
    #[inline(never)]
    fn wait(self, first: Option<Choice<S>>) -> ResponseFuture<S, P, Req, C> {
        let mut waiting = Waiting::new(self.set.clone(), self.request, self.tried.clone());
        if let Some(first) = first {
            let service = first.connected.service.clone();
            waiting = waiting.with_first(first, service, None);
        }
        ResponseFuture::waiting(None, waiting, self.classify.clone())
    }

    /// None to choose: for long already, or may the call wait? What the last snapshot has may be of a
    /// runtime that died, so the call waits for the next.
    #[cold]
    #[inline(never)]
    pub(super) fn wait_or_fail(self) -> ResponseFuture<S, P, Req, C> {
        let refusal = match self.set.is_failing_fast() {
            true => self.set.snapshot.load().refusal.clone(),
            false => match self.set.ensure_running() {
                Ok(()) => return self.wait(None),
                Err(error) => error,
            },
        };
        ResponseFuture::refused(refusal, self.classify.clone())
    }
}
