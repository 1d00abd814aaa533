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
        // Apart, so that a call which is made at once is never put together in memory.
        let Self { set, classify, request, tried } = self;
        let index = set.strategy.pick(&sole.table, candidates, &request);
        match index.and_then(|index| sole.candidate(index)) {
            Some(connected) => Self { set, classify, request, tried }.call(connected),
            None => Self { set, classify, request, tried }.further(snapshot),
        }
    }

    /// A pick of the candidates brought none, or one on probation: look further, or wait.
    #[cold]
    #[inline(never)]
    fn further(self, snapshot: &Snapshot<S, P::Table>) -> ResponseFuture<S, P, Req, C> {
        let claimed = snapshot.sole.claim(Tried::NONE);
        let choose = || snapshot.choose(&self.set.strategy, Tried::NONE, &self.request);
        let choice = claimed.or_else(choose);
        self.call_choice(choice)
    }

    /// Another attempt of a call.
    #[cold]
    #[inline(never)]
    pub(super) fn again(self) -> ResponseFuture<S, P, Req, C> {
        if !self.set.is_up() {
            return Self::wait_or_fail(self.set, self.classify, self.request, self.tried);
        }
        let snapshot = self.set.snapshot.load();
        let strategy = &self.set.strategy;
        let choice = snapshot.choose_again(strategy, self.tried, self.tried, &self.request);
        self.call_choice(choice)
    }

    /// Another attempt beside one that is in flight. One that would have to wait is none.
    #[cold]
    pub(super) fn hedge(self) -> Option<ResponseFuture<S, P, Req, C>> {
        let Self { set, classify, request, tried } = self;
        if !set.strategy.hedges() || !set.is_up() {
            return None;
        }
        let connected = set.snapshot.load().choose_hedge(&set.strategy, tried, &request)?;
        let mut service = connected.service.clone();
        // Of one that is dead the next call tells.
        let Poll::Ready(Ok(())) = service.poll_ready(&mut Context::from_waker(Waker::noop()))
        else {
            return None;
        };
        let flight = Flight::begin(connected);
        Some(ResponseFuture::calling(flight, service.call(request), classify.clone()))
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
        let Self { set, classify, request, tried } = self;
        let mut service = connected.service.clone();
        let flight = Flight::begin(connected);
        // None to wake: a call that waits asks again, with a waker.
        let died = match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                return ResponseFuture::calling(flight, service.call(request), classify.clone());
            }
            Poll::Pending => None,
            Poll::Ready(Err(error)) => Some(error),
        };
        Self { set, classify, request, tried }.wait_for(flight, service, died)
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
    pub(super) fn wait_or_fail(
        set: &Arc<Set<S, P>>,
        classify: &C,
        request: Req,
        tried: &Tried,
    ) -> ResponseFuture<S, P, Req, C> {
        if set.is_failing_fast() {
            return ResponseFuture::refused(set.snapshot.load().refusal.clone(), classify.clone());
        }
        match set.ensure_running() {
            Ok(()) => Dispatch { set, classify, request, tried }.wait(None),
            Err(error) => ResponseFuture::refused(error, classify.clone()),
        }
    }
}
