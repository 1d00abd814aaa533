//! A call whose first choice was not ready: it waits for several, and takes whichever is first.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Sleep;
use tower_service::Service;

use super::{
    Pick, Strategy,
    set::{Choice, Connected, Set, Snapshot},
};
use crate::{
    choose::Tried,
    error::{BoxError, Error, Kind},
    member::Member,
    sync::WaitKey,
    time,
};

/// How many more are waited for at a time, and how long until then.
const STEP: usize = 3;
const STEP_AFTER: Duration = Duration::from_millis(10);

/// The wait of one call. Dropping it leaves nothing behind but connections that are being made.
pub(super) struct Waiting<S, P: Strategy> {
    set: Arc<Set<S, P>>,
    contenders: Vec<Contender<S>>,
    tried: Tried,
    /// Of the snapshot that the contenders are of.
    version: u64,
    key: WaitKey,
    widen: Pin<Box<Sleep>>,
    /// Whether there is anybody left to widen to.
    widening: bool,
    end: Pin<Box<Sleep>>,
    last_error: Option<Error>,
}

struct Contender<S> {
    member: Arc<Member>,
    connected: Connected<S>,
    /// Its service said it is dead.
    dead: bool,
}

/// The one that was ready first.
pub(super) struct Won<S> {
    pub(super) member: Arc<Member>,
    pub(super) service: S,
}

impl<S, P> Waiting<S, P>
where
    S: Clone + Send + Sync + 'static,
    P: Strategy,
{
    /// Begins with `first`, which was not ready, or is dead of an error.
    pub(super) fn new(
        set: Arc<Set<S, P>>,
        tried: Tried,
        first: Option<(Arc<Member>, Connected<S>)>,
        died: Option<Error>,
    ) -> Self {
        let start = time::now();
        let end = time::later(start, set.config.fail_fast_after);
        let mut contenders = Vec::new();
        let mut last_error = None;
        if let Some((member, connected)) = first {
            let dead = died.is_some();
            if let Some(error) = died {
                set.report_dead(member.clone(), connected.number);
                last_error = Some(error.at_endpoint(member.shared_key()));
            }
            contenders.push(Contender { member, connected, dead });
        }
        Self {
            version: set.snapshot.load().version,
            set,
            contenders,
            tried,
            key: WaitKey::default(),
            widen: Box::pin(tokio::time::sleep_until(time::later(start, STEP_AFTER))),
            widening: true,
            end: Box::pin(tokio::time::sleep_until(end)),
            last_error,
        }
    }

    /// Ready with the service that was ready first; it is the very value that said so.
    ///
    /// # Errors
    /// A refusal that says why there is nobody, or that nobody got ready in time.
    pub(super) fn poll<Req>(
        &mut self,
        request: &Req,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Won<S>, Error>>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
        P: Pick<Req>,
    {
        // Before looking: what changes from here on wakes this task.
        self.set.waiting.wait(&mut self.key, cx.waker());
        if !self.set.is_up() {
            if let Err(error) = self.set.ensure_running() {
                return Poll::Ready(Err(error));
            }
        }
        let snapshot = self.set.snapshot.load_full();
        if snapshot.version != self.version {
            self.version = snapshot.version;
            self.keep_those_in(&snapshot);
            self.widen_to(&snapshot, request);
        }
        loop {
            if let Some(won) = self.poll_contenders(cx) {
                return Poll::Ready(Ok(won));
            }
            let nobody_left = self.contenders.iter().all(|contender| contender.dead);
            let due = self.widening && self.widen.as_mut().poll(cx).is_ready();
            if !(due || nobody_left) || !self.widen_to(&snapshot, request) {
                break;
            }
            let next = time::later(time::now(), STEP_AFTER);
            self.widen.as_mut().reset(next);
        }
        if snapshot.members.is_empty() && self.set.is_failing_fast() {
            return Poll::Ready(Err(self.explain(snapshot.verdict.error())));
        }
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(self.too_late(&snapshot)));
        }
        Poll::Pending
    }

    fn poll_contenders<Req>(&mut self, cx: &mut Context<'_>) -> Option<Won<S>>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
    {
        for index in 0..self.contenders.len() {
            let contender = &mut self.contenders[index];
            if contender.dead {
                continue;
            }
            match contender.connected.service.poll_ready(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => {
                    let Contender { member, connected, .. } = self.contenders.swap_remove(index);
                    return Some(Won { member, service: connected.service });
                }
                Poll::Ready(Err(error)) => {
                    contender.dead = true;
                    let (member, number) = (contender.member.clone(), contender.connected.number);
                    let error = Error::from_service(error).at_endpoint(member.shared_key());
                    self.last_error = Some(error);
                    self.set.report_dead(member, number);
                }
            }
        }
        None
    }

    /// A new snapshot: who is no candidate any more, or was connected anew, is waited for no more.
    fn keep_those_in(&mut self, snapshot: &Snapshot<S, P::Table>) {
        self.widening = true;
        self.contenders.retain(|contender| {
            let found = snapshot.find(&contender.member);
            found.is_some_and(|(_, connected)| connected.number == contender.connected.number)
        });
    }

    /// Waits for up to [`STEP`] more. `false` if there are no more.
    fn widen_to<Req>(&mut self, snapshot: &Snapshot<S, P::Table>, request: &Req) -> bool
    where
        P: Pick<Req>,
    {
        // Without a task the snapshot is of the past, and so may be its connections. Whoever changes
        // that wakes this call, so there is no timer to look again by.
        if !self.set.is_up() {
            self.widening = false;
            return false;
        }
        let mut added = false;
        for _ in 0..STEP {
            let Some((member, connected)) = self.next_choice(snapshot, request) else {
                self.widening = false;
                break;
            };
            let contender =
                Contender { member: member.clone(), connected: connected.clone(), dead: false };
            self.contenders.push(contender);
            added = true;
        }
        added
    }

    /// First whom the strategy chooses among the others; then those that are busy, since their
    /// services know when they are not; and if that leaves nobody, those tried for this call.
    fn next_choice<'a, Req>(
        &self,
        snapshot: &'a Snapshot<S, P::Table>,
        request: &Req,
    ) -> Option<Choice<'a, S>>
    where
        P: Pick<Req>,
    {
        let mut passed_over = self.tried.clone();
        for contender in &self.contenders {
            passed_over.insert(contender.member.clone());
        }
        let strategy = &self.set.strategy;
        let chosen = if self.tried.is_empty() {
            let index = strategy.pick(&snapshot.table, snapshot.candidates(&passed_over), request);
            index.and_then(|index| snapshot.candidate(index))
        } else {
            snapshot.choose_again(strategy, &self.tried, &passed_over, request)
        };
        let waited_for =
            |member: &Arc<Member>| self.contenders.iter().any(|c| Arc::ptr_eq(&c.member, member));
        let mut candidates = snapshot.members.iter();
        chosen
            .filter(|(member, _)| !passed_over.contains(member))
            .or_else(|| {
                let busy = candidates.clone().position(|member| !passed_over.contains(member));
                snapshot.candidate(busy?)
            })
            .or_else(|| {
                let nobody = self.contenders.iter().all(|contender| contender.dead);
                snapshot.candidate(candidates.position(|m| nobody && !waited_for(m))?)
            })
    }

    #[cold]
    fn too_late(&mut self, snapshot: &Snapshot<S, P::Table>) -> Error {
        let verdict = snapshot.verdict;
        let error = if snapshot.members.is_empty() {
            verdict.error()
        } else {
            Error::refused(Kind::AllEndpointsDown).message(format!(
                "none of {} endpoints got ready within `fail_fast_after`, {:?}",
                self.contenders.len(),
                self.set.config.fail_fast_after
            ))
        };
        self.explain(error)
    }

    fn explain(&mut self, error: Error) -> Error {
        match self.last_error.take() {
            Some(cause) => error.caused_by(cause),
            None => error,
        }
    }
}

impl<S, P: Strategy> Drop for Waiting<S, P> {
    fn drop(&mut self) {
        self.set.waiting.leave(&mut self.key);
    }
}
