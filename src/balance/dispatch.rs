//! What becomes of one call: it is made at once, or waits.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tower_service::Service;

use super::{
    explain::{Choices, Told},
    future::ResponseFuture,
    group::{Choice, Connected},
    marks::Marks,
    set::Set,
    snapshot::Snapshot,
    state::State,
    strategy::{Pick, Strategy},
    waiting::Waiting,
};
use crate::{
    choose::Tried,
    decision::Regime,
    error::BoxError,
    member::{Flight, Member},
    sync::random_fraction,
};

/// A call, and what it takes to make it.
pub(super) struct Dispatch<'a, S, P: Strategy, C, Req> {
    set: &'a Arc<Set<S, P>>,
    classify: &'a C,
    request: Req,
    tried: &'a Tried,
}

impl<'a, S, P: Strategy, C, Req> Dispatch<'a, S, P, C, Req> {
    #[inline(always)]
    pub(super) fn new(
        set: &'a Arc<Set<S, P>>,
        classify: &'a C,
        request: Req,
        tried: &'a Tried,
    ) -> Self {
        Self { set, classify, request, tried }
    }
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
        if let Some(home) = set.strategy.home(&sole.table, &request) {
            return Self { set, classify, request, tried }.at_home(snapshot, home);
        }
        let index = set.strategy.pick(&sole.table, candidates, &request);
        match index.and_then(|index| sole.candidate(index)) {
            Some(connected) => Self { set, classify, request, tried }.call(connected, false),
            None => Self { set, classify, request, tried }.further(snapshot),
        }
    }

    /// A pick of the candidates brought none, or one on probation: look further, or wait.
    #[cold]
    #[inline(never)]
    fn further(self, snapshot: &Snapshot<S, P::Table>) -> ResponseFuture<S, P, Req, C> {
        let claimed = snapshot.sole.claim(Tried::NONE);
        let choose = || snapshot.choose(&self.set.strategy, Tried::NONE, &self.request, &mut None);
        let choice = claimed.or_else(choose);
        self.call_choice(choice, None)
    }

    /// The call of a session, to the endpoint that it belongs to, if that is free.
    // Out of line, so that nothing of it is where no strategy has sessions.
    #[inline(never)]
    fn at_home(
        self,
        snapshot: &Snapshot<S, P::Table>,
        home: &Arc<Member>,
    ) -> ResponseFuture<S, P, Req, C> {
        match snapshot.choose_member(home, Tried::NONE) {
            Some(Choice { connected, probe: None }) => self.call(connected, true),
            Some(first) => self.wait(Some(first), None),
            None => {
                let strategy = &self.set.strategy;
                let choice = snapshot.choose(strategy, Tried::NONE, &self.request, &mut None);
                self.call_choice(choice, None)
            }
        }
    }

    /// The first attempt of a call that is to be explained, or for which there is no endpoint.
    #[cold]
    #[inline(never)]
    pub(super) fn explained(self, state: State) -> ResponseFuture<S, P, Req, C> {
        let mut told = self.told(random_fraction() < self.set.config().explain);
        if !state.is_up() {
            return self.without_candidates(told);
        }
        let snapshot = self.set.snapshot.load();
        if told.is_none() {
            return self.first(&snapshot);
        }
        let strategy = &self.set.strategy;
        let choice = snapshot.choose(strategy, Tried::NONE, &self.request, &mut told);
        self.call_choice(choice, told)
    }

    fn told(&self, is_told: bool) -> Told {
        is_told.then(|| Choices::new(self.set.strategy.name()))
    }

    /// Another attempt of a call.
    #[cold]
    #[inline(never)]
    pub(super) fn again(self) -> ResponseFuture<S, P, Req, C> {
        let state = self.set.state.load();
        let mut told = self.told(state.explains());
        if !state.is_up() {
            return self.without_candidates(told);
        }
        let snapshot = self.set.snapshot.load();
        let (strategy, tried) = (&self.set.strategy, self.tried);
        let choice = snapshot.choose_again(strategy, tried, tried, &self.request, &mut told);
        self.call_choice(choice, told)
    }

    /// Another attempt beside one that is in flight. One that would have to wait is none.
    #[cold]
    pub(super) fn hedge(self) -> Option<ResponseFuture<S, P, Req, C>> {
        let state = self.set.state.load();
        if !self.set.strategy.hedges() || !state.is_up() {
            return None;
        }
        let mut told = self.told(state.explains());
        let Self { set, classify, request, tried } = self;
        let snapshot = set.snapshot.load();
        let connected = snapshot.choose_hedge(&set.strategy, tried, &request, &mut told)?;
        let mut service = connected.service.clone();
        // Of one that is dead the next call tells.
        let Poll::Ready(Ok(())) = service.poll_ready(&mut Context::from_waker(Waker::noop()))
        else {
            return None;
        };
        let (member, beside) = (Some(&*connected.member), Some(Regime::Hedge));
        let decision = told.map(|told| snapshot.decide(*told, member, tried, beside));
        let marks = Marks { decision, ..Marks::default() };
        let flight = Flight::begin(connected);
        let inner = service.call(request);
        Some(match marks.is_empty() {
            true => ResponseFuture::calling(flight, inner, classify.clone()),
            false => ResponseFuture::marked(flight, inner, marks, classify.clone()),
        })
    }

    /// Calls what a look beyond the candidates brought, or waits.
    fn call_choice(self, choice: Option<Choice<S>>, told: Told) -> ResponseFuture<S, P, Req, C> {
        match choice {
            Some(Choice { connected, probe: None }) => match told {
                None => self.call(connected, false),
                told => self.call_marked(connected, told),
            },
            // It waits for its readiness as others do that are not ready, and is called then.
            first => self.wait(first, told),
        }
    }

    #[inline(always)]
    fn call(self, connected: Arc<Connected<S>>, is_home: bool) -> ResponseFuture<S, P, Req, C> {
        let Self { set, classify, request, tried } = self;
        if set.strategy.bind(&request, &connected.member, is_home).is_some() {
            return Self { set, classify, request, tried }.call_marked(connected, None);
        }
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

    /// A call for which there is more to do at its end than for most: its session does not belong to the endpoint
    /// yet, or it is explained.
    #[cold]
    #[inline(never)]
    fn call_marked(self, connected: Arc<Connected<S>>, told: Told) -> ResponseFuture<S, P, Req, C> {
        let mut service = connected.service.clone();
        // None to wake, and one that is dead says so again.
        let is_ready =
            service.poll_ready(&mut Context::from_waker(Waker::noop())).map(|ready| ready.is_ok());
        if is_ready != Poll::Ready(true) {
            return self.wait(Some(Choice { connected, probe: None }), told);
        }
        let marks = Marks::of(self.set, &connected, &self.request, None, told, self.tried);
        let flight = Flight::begin(connected);
        let inner = service.call(self.request);
        ResponseFuture::marked(flight, inner, marks, self.classify.clone())
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
        let waiting = Waiting::new(self.set.clone(), self.request, self.tried.clone(), None);
        let waiting = waiting.with_first(first, service, died);
        ResponseFuture::waiting(Some(flight), waiting, self.classify.clone())
    }

    /// Waits for what was chosen, if anything was, and for others.
    #[cold]
    #[inline(never)]
    fn wait(self, first: Option<Choice<S>>, told: Told) -> ResponseFuture<S, P, Req, C> {
        let mut waiting = Waiting::new(self.set.clone(), self.request, self.tried.clone(), told);
        if let Some(first) = first {
            let service = first.connected.service.clone();
            waiting = waiting.with_first(first, service, None);
        }
        ResponseFuture::waiting(None, waiting, self.classify.clone())
    }

    /// None to choose, unless the endpoint of the call's session only drains.
    #[cold]
    #[inline(never)]
    fn without_candidates(self, mut told: Told) -> ResponseFuture<S, P, Req, C> {
        let choice = self.set.homes().and_then(|homes| {
            homes.choose_home(&self.set.strategy, self.tried, &self.request, &mut told)
        });
        match choice {
            None => self.wait_or_fail(told),
            choice => self.call_choice(choice, told),
        }
    }

    /// None to choose: for long already, or may the call wait? What the last snapshot has may be of a
    /// runtime that died, so the call waits for the next.
    #[cold]
    #[inline(never)]
    fn wait_or_fail(self, told: Told) -> ResponseFuture<S, P, Req, C> {
        if self.set.is_failing_fast() {
            let snapshot = self.set.snapshot.load();
            let refusal = snapshot.refusal.clone();
            let refusal = match told {
                Some(told) => refusal.decided(snapshot.decide(*told, None, self.tried, None)),
                None => refusal,
            };
            return ResponseFuture::refused(refusal, self.classify.clone());
        }
        match self.set.ensure_running() {
            Ok(()) => self.wait(None, told),
            Err(error) => ResponseFuture::refused(error, self.classify.clone()),
        }
    }
}
