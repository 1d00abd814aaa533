//! A call for which no service is ready yet: it waits for several, and calls whichever is first.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::runtime::Handle;
use tower_service::Service;

use super::{
    contender::{Contender, Timers},
    explain::{self, Told},
    group::{Choice, Connected},
    marks::Marks,
    set::Set,
    snapshot::Snapshot,
    strategy::{Pick, Strategy},
};
use crate::{
    choose::Tried,
    decision::Regime,
    error::{BoxError, Error, Kind},
    member::{Flight, Member},
    sync::WaitKey,
    time::{self, Instant},
};

/// How many more are waited for at a time, and how long until then.
const STEP: usize = 3;
const STEP_AFTER: Duration = Duration::from_millis(10);

/// How many are asked at once while all that were asked are spent for longer than the call may wait. The rest
/// are asked step by step.
const ASKED_AT_ONCE: usize = 64;

/// A call that was made, and what is to do at its end; or why it was not.
type Called<F> = Result<(F, Marks), Error>;

/// The wait of one call. Dropping it leaves nothing behind but connections that are being made.
pub(super) struct Waiting<S, P: Strategy, Req> {
    pub(super) set: Arc<Set<S, P>>,
    request: Option<Req>,
    pub(super) tried: Tried,
    /// Those waited for. At first the one that was chosen, which was not ready.
    pub(super) contenders: Vec<Contender<S>>,
    /// Of the snapshot that the contenders are of.
    version: u64,
    key: WaitKey,
    /// `None` before the first poll.
    pub(super) timers: Option<Timers>,
    /// Whether there is any left to widen to.
    widening: bool,
    /// Whether the call waits for the endpoint of its session, and for others only if that takes long.
    is_loyal: bool,
    pub(super) last_error: Option<Error>,
    pub(super) told: Told,
}

impl<S, P, Req> Waiting<S, P, Req>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    P: Pick<Req>,
{
    pub(super) fn new(set: Arc<Set<S, P>>, request: Req, tried: Tried, told: Told) -> Self {
        Self {
            set,
            request: Some(request),
            tried,
            contenders: Vec::new(),
            version: 0,
            key: WaitKey::default(),
            timers: None,
            widening: true,
            is_loyal: false,
            last_error: None,
            told,
        }
    }

    /// `first` was chosen but is not ready, or has `died` of an error.
    pub(super) fn with_first(
        mut self,
        first: Choice<S>,
        service: S,
        died: Option<S::Error>,
    ) -> Self {
        self.add(first, service);
        if let Some(error) = died {
            self.bury(0, error);
        }
        self
    }

    fn add(&mut self, choice: Choice<S>, service: S) {
        self.contenders.push(Contender::new(choice, service));
    }

    /// Waits until one of the contenders is ready, and calls it. From then on its load counts instead of
    /// the first's. If it is on probation, its place comes with the call.
    ///
    /// # Errors
    /// A refusal that says why there is none, or that none got ready in time.
    #[cold]
    #[inline(never)]
    pub(super) fn poll_call(
        &mut self,
        flight: &mut Option<Flight<Arc<Connected<S>>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Called<S::Future>> {
        if self.timers.is_none() {
            // It takes timers to wait.
            if Handle::try_current().is_err() {
                return Poll::Ready(Err(self.set.refusal(Kind::Unavailable)));
            }
            self.start();
        }
        let ready = match ready!(self.poll_ready(cx)) {
            Ok(ready) => ready,
            Err(error) => return Poll::Ready(Err(self.decided(error))),
        };
        let Contender { connected, mut service, probe, .. } = ready;
        if !flight.as_ref().is_some_and(|flight| Arc::ptr_eq(flight.held(), &connected)) {
            *flight = Some(Flight::begin(connected.clone()));
        }
        match self.request.take() {
            // It is the very value that said it is ready.
            Some(request) => {
                let marks = Marks::of(
                    &self.set,
                    &connected,
                    &request,
                    probe,
                    self.told.take(),
                    &self.tried,
                );
                Poll::Ready(Ok((service.call(request), marks)))
            }
            None => Poll::Pending,
        }
    }

    fn start(&mut self) {
        let fail_fast_after = self.set.config().fail_fast_after;
        let snapshot = self.set.snapshot.load();
        self.version = snapshot.version;
        let first = self.contenders.first().map(|first| &first.connected.member);
        self.is_loyal = first.is_some_and(|first| self.is_home(&snapshot, first));
        self.timers = Some(Timers::new(STEP_AFTER, fail_fast_after));
        self.widen_later();
    }

    /// Whether the session of the call belongs to `member`.
    fn is_home(&self, snapshot: &Snapshot<S, P::Table>, member: &Arc<Member>) -> bool {
        let table = &snapshot.sole.table;
        let home = self.request.as_ref().and_then(|of| self.set.strategy.home(table, of));
        home.is_some_and(|home| Arc::ptr_eq(home, member))
    }

    fn widen_later(&mut self) {
        let is_alone = self.is_loyal && self.contenders.len() == 1;
        if let Some(timers) = &mut self.timers {
            let after = if is_alone { timers.fail_fast_after / 2 } else { STEP_AFTER };
            timers.widen.as_mut().reset(time::later(time::now(), after));
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<Contender<S>, Error>> {
        // Before looking: what changes from here on wakes this task.
        self.set.waiting.wait(&mut self.key, cx.waker());
        if !self.set.is_up() {
            self.set.ensure_running()?;
        }
        let snapshot = self.set.snapshot.load_full();
        if snapshot.version != self.version {
            self.version = snapshot.version;
            self.keep_those_in(&snapshot);
            if !self.is_loyal || self.contenders.is_empty() {
                self.widen_to(&snapshot);
                self.widen_later();
            }
        }
        loop {
            if let Some(ready) = self.poll_contenders(cx) {
                return Poll::Ready(Ok(ready));
            }
            if let Some(free_at) = self.spent_beyond_end(&snapshot) {
                return Poll::Ready(Err(self.spent(free_at)));
            }
            if !(self.is_to_widen(cx) && self.widen_to(&snapshot)) {
                break;
            }
            self.widen_later();
        }
        let waits_for_none = self.contenders.iter().all(|contender| contender.dead);
        if !snapshot.has_candidates() && waits_for_none && self.set.is_failing_fast() {
            return Poll::Ready(Err(self.with_cause(snapshot.refusal.clone())));
        }
        let Some(timers) = &mut self.timers else { return Poll::Pending };
        ready!(timers.end.as_mut().poll(cx));
        let after = timers.fail_fast_after;
        Poll::Ready(Err(self.too_late(&snapshot, after)))
    }

    fn poll_contenders(&mut self, cx: &mut Context<'_>) -> Option<Contender<S>> {
        for index in 0..self.contenders.len() {
            let contender = &mut self.contenders[index];
            if contender.dead {
                continue;
            }
            match contender.service.poll_ready(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => return Some(self.contenders.swap_remove(index)),
                Poll::Ready(Err(error)) => self.bury(index, error),
            }
        }
        None
    }

    /// The service of a contender died of `error`.
    fn bury(&mut self, index: usize, error: S::Error) {
        let Some(contender) = self.contenders.get_mut(index) else { return };
        contender.dead = true;
        let connected = contender.connected.clone();
        let key = connected.member.shared_key();
        self.last_error = Some(Error::from_service(error).at_endpoint(key));
        self.set.report_dead(connected);
    }

    /// A new snapshot: a member that is no candidate any more, or was connected again, is waited for no more.
    fn keep_those_in(&mut self, snapshot: &Snapshot<S, P::Table>) {
        self.widening = true;
        self.contenders.retain(|contender| snapshot.has(&contender.connected));
    }

    /// When the first of all candidates has a token again, where each is spent by its own rate limit until
    /// after this call has to give up.
    fn spent_beyond_end(&self, snapshot: &Snapshot<S, P::Table>) -> Option<Instant> {
        let end = self.timers.as_ref()?.end.deadline();
        self.are_spent_beyond(end).then(|| snapshot.all_spent(end)).flatten()
    }

    /// Whether those that were asked, at least, are.
    fn are_spent_beyond(&self, end: Instant) -> bool {
        !self.contenders.is_empty() && self.contenders.iter().all(|c| c.is_spent_beyond(end))
    }

    /// Whether it is time for more, or all contenders are dead, or have no token in time.
    fn is_to_widen(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = self.timers.as_mut().filter(|_| self.widening);
        let is_due = timer.is_some_and(|timers| timers.widen.as_mut().poll(cx).is_ready());
        let end = self.timers.as_ref().map(|timers| timers.end.deadline());
        is_due
            || self.contenders.iter().all(|contender| contender.dead)
            || self.contenders.len() < ASKED_AT_ONCE
                && end.is_some_and(|end| self.are_spent_beyond(end))
    }

    /// Waits for up to [`STEP`] more, or at first for the endpoint of its session alone. `false` if there are no more.
    fn widen_to(&mut self, snapshot: &Snapshot<S, P::Table>) -> bool {
        // Without a task the snapshot is of the past, and so may be its connections. A change of
        // that wakes this call, so there is no timer to look again by.
        if !self.set.is_up() {
            self.widening = false;
            return false;
        }
        for added in 0..STEP {
            let Some(choice) = self.next_choice(snapshot) else {
                self.widening = false;
                return added > 0;
            };
            let is_first = self.contenders.is_empty();
            self.is_loyal &= !is_first;
            self.is_loyal |= is_first && self.is_home(snapshot, &choice.connected.member);
            let service = choice.connected.service.clone();
            self.add(choice, service);
            if is_first && self.is_loyal {
                break;
            }
        }
        true
    }

    /// First what the strategy chooses among the others; then those that are busy, since their
    /// services know when they are not; and if that leaves none, those tried for this call.
    fn next_choice(&mut self, snapshot: &Snapshot<S, P::Table>) -> Option<Choice<S>> {
        let request = self.request.as_ref()?;
        let mut passed_over = self.tried.clone();
        for contender in &self.contenders {
            passed_over.insert(contender.connected.member.clone());
        }
        let (strategy, told) = (&self.set.strategy, &mut self.told);
        let chosen = if self.tried.is_empty() {
            snapshot.choose(strategy, &passed_over, request, told)
        } else {
            snapshot.choose_again(strategy, &self.tried, &passed_over, request, told)
        };
        let waited_for = |member: &Arc<Member>| {
            self.contenders.iter().any(|c| Arc::ptr_eq(&c.connected.member, member))
        };
        let chosen = chosen.filter(|choice| !passed_over.contains(&choice.connected.member));
        if chosen.is_some() {
            return chosen;
        }
        let next = snapshot.any_candidate(|busy| !passed_over.contains(busy)).or_else(|| {
            let none = self.contenders.iter().all(|contender| contender.dead);
            snapshot.any_candidate(|member| none && !waited_for(member))
        })?;
        explain::take(told, &next.connected.member, Regime::Random);
        Some(next)
    }
}

impl<S, P: Strategy, Req> Drop for Waiting<S, P, Req> {
    fn drop(&mut self) {
        self.set.waiting.leave(&mut self.key);
    }
}
