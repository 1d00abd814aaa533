//! Calls in flight on a member: one that is counted, and one that also tells how it ended.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use super::{ending::Ending, member::Member, oldest::Batch};
use crate::{
    error::{BoxError, Error, Kind},
    outcome::{Classify, Outcome, judge_error},
    rules::CallEnd,
};

/// Counts a call as in flight on a member until this drops. Made by [`Member::begin`].
///
/// ```
/// use tower_upstream::{Endpoint, member::Member};
/// let member = Member::new("a:1".parse::<Endpoint>()?);
/// let call = member.begin();
/// assert_eq!(member.in_flight(), 1);
/// drop(call);
/// assert_eq!(member.in_flight(), 0);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub struct InFlight {
    member: Arc<Member>,
    /// The call has ended, and its body has not.
    is_tracked: bool,
}

impl Member {
    /// Counts a call as in flight until the guard drops.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.load().take_off();
        InFlight { member: self.clone(), is_tracked: false }
    }
}

impl InFlight {
    /// Keeps counting a call that was begun already, when its first guard drops.
    #[cfg(feature = "http")]
    pub(crate) fn go_on(member: Arc<Member>) -> Self {
        member.load().fly_on();
        Self { member, is_tracked: true }
    }

    /// Returns the member.
    #[inline]
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }
}

impl Drop for InFlight {
    #[inline]
    fn drop(&mut self) {
        match self.is_tracked {
            false => self.member.load().land(),
            true => self.member.load().land_on(),
        }
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.member.key()).finish()
    }
}

/// What a call holds of the member that it goes to.
pub(crate) trait OfMember {
    fn member(&self) -> &Arc<Member>;
}

impl OfMember for Arc<Member> {
    #[inline]
    fn member(&self) -> &Arc<Member> {
        self
    }
}

/// A call in flight whose end counts: its latency, its failure, or that it was given up. The member stays
/// readable when it has landed.
pub(crate) struct Flight<M: OfMember = Arc<Member>> {
    held: M,
    /// When the call was first pending, in nanoseconds of the member's clock, above a bit for whether its time is
    /// added up, and two for the batch that it waits in.
    began: u64,
}

/// Not pending yet: a call that is ready at once never reads a clock.
const NOT_YET: u64 = 0;
const LANDED: u64 = u64::MAX;
const MARKS: u32 = 3;
const WORKS: u64 = 4;
// Beside it, for those that ended otherwise.
const FAILED: u64 = LANDED - 1;
const THROTTLED: u64 = LANDED - 2;
const IGNORED: u64 = LANDED - 3;

impl<M: OfMember> Flight<M> {
    #[inline]
    pub(crate) fn begin(held: M) -> Self {
        held.member().load().take_off();
        Self { held, began: NOT_YET }
    }

    #[inline]
    pub(crate) fn held(&self) -> &M {
        &self.held
    }

    #[inline]
    pub(crate) fn member(&self) -> &Arc<Member> {
        self.held.member()
    }

    /// Polls the call, and lands when it ends: `classify` judges that, once. An error names the member
    /// from then on.
    // Always: on its own it costs each call eleven instructions.
    #[inline(always)]
    pub(crate) fn poll<F, T, E, C>(
        &mut self,
        call: Pin<&mut F>,
        cx: &mut Context<'_>,
        classify: &C,
    ) -> Poll<Result<T, Error>>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<BoxError> + 'static,
        C: Classify<T, E>,
    {
        let Poll::Ready(result) = call.poll(cx) else {
            self.pend();
            return Poll::Pending;
        };
        Poll::Ready(match result {
            Ok(response) => {
                match classify.classify(Ok(&response)) {
                    Outcome::Success | Outcome::Slow => self.land(),
                    outcome => self.end(Some(outcome), None),
                }
                Ok(response)
            }
            Err(error) => Err(self.failed(error, classify)),
        })
    }

    #[inline]
    fn pend(&mut self) {
        if self.began == NOT_YET {
            self.wait();
        }
    }

    #[inline(never)]
    fn wait(&mut self) {
        // 36 years, so that it is never `LANDED`.
        let now = self.member().nanos().clamp(1, LANDED >> (MARKS + 1));
        let load = self.member().load();
        let batch = match load.wait(now) {
            None => 0,
            Some(Batch::First) => 1,
            Some(Batch::Second) => 2,
        };
        let works = if load.work(now) { WORKS } else { 0 };
        self.began = now << MARKS | works | batch;
    }

    #[inline]
    fn land(&mut self) {
        if self.began != NOT_YET {
            self.observe();
        }
        self.began = LANDED;
        self.member().load().land();
    }

    // Out of line, so that a call that is ready at once carries no clock with it.
    #[inline(never)]
    fn observe(&self) {
        self.member().observe(self.end_wait());
    }

    /// Ends the wait, and tells how long it was.
    fn end_wait(&self) -> Duration {
        match self.began & 3 {
            1 => self.member().load().wait_no_more(Batch::First),
            2 => self.member().load().wait_no_more(Batch::Second),
            _ => {}
        }
        if self.began == NOT_YET {
            return Duration::ZERO;
        }
        let now = self.member().nanos();
        if self.began & WORKS != 0 {
            self.member().load().busy.end(now);
        }
        Duration::from_nanos(now.saturating_sub(self.began >> MARKS))
    }

    #[cold]
    fn failed<T, E, C>(&mut self, error: E, classify: &C) -> Error
    where
        E: Into<BoxError> + 'static,
        C: Classify<T, E>,
    {
        let judged = judge_error(classify, &error);
        let error = Error::from_service(error);
        self.end(
            match judged {
                Some(Outcome::Failure) if error.kind() == Kind::RateLimited => {
                    Some(Outcome::Overload { retry_after: None })
                }
                judged => judged,
            },
            // Whatever the rule knows of it, it may ask for a while.
            error.retry_after(),
        );
        let member = self.member();
        let error = if member.is_client() { error.confirm_unsent() } else { error };
        error.or_at_endpoint(member.shared_key())
    }

    /// Begins a call that is made elsewhere, and is timed from now on.
    pub(crate) fn begin_elsewhere(held: M) -> Self {
        let mut flight = Self::begin(held);
        flight.pend();
        flight
    }

    /// Ends a call that was judged elsewhere.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        self.end(Some(outcome), None);
    }

    /// Lands, whatever judged the end: all that is learned of a call is learned here. `None` is a call that
    /// was given up; `asked` is how long the endpoint asks to be left alone.
    #[cold]
    fn end(&mut self, outcome: Option<Outcome>, asked: Option<Duration>) {
        let (elapsed, is_timed, member) = (self.end_wait(), self.began != NOT_YET, self.member());
        let (end, landed) = match outcome {
            Some(Outcome::Success | Outcome::Slow) => {
                if is_timed {
                    member.observe(elapsed);
                }
                (CallEnd::Succeeded, LANDED)
            }
            Some(Outcome::Failure) => {
                member.observe_failure(elapsed, asked);
                (CallEnd::Failed, FAILED)
            }
            Some(Outcome::Overload { retry_after }) => {
                member.observe_failure(elapsed, retry_after.or(asked));
                (CallEnd::Throttled, THROTTLED)
            }
            Some(Outcome::Ignored) => (CallEnd::Ignored, IGNORED),
            None => {
                // It can worsen the estimate, never improve it.
                if is_timed {
                    member.observe_if_worse(elapsed);
                }
                (CallEnd::Ignored, IGNORED)
            }
        };
        member.count(end);
        member.load().land();
        self.began = landed;
    }

    /// How the call ended, once it has.
    pub(crate) fn ended(&self) -> Option<CallEnd> {
        match self.began {
            LANDED => Some(CallEnd::Succeeded),
            FAILED => Some(CallEnd::Failed),
            THROTTLED => Some(CallEnd::Throttled),
            IGNORED => Some(CallEnd::Ignored),
            _ => None,
        }
    }

    #[cold]
    fn abandon(&mut self) {
        let has_begun = self.began != NOT_YET;
        let timed_out = has_begun && Ending::of_flight(self.member()) == Ending::TimedOut;
        self.end(timed_out.then_some(Outcome::Failure), None);
    }
}

impl<M: OfMember> Drop for Flight<M> {
    #[inline]
    fn drop(&mut self) {
        if self.began < IGNORED {
            self.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_call_only_worsens_and_a_failure_is_slow() {
        let member = Member::new(Endpoint::new("a:1").unwrap());
        let advance = |millis| tokio::time::advance(Duration::from_millis(millis));
        let pending = || {
            let mut flight = Flight::begin(member.clone());
            flight.pend();
            flight
        };
        assert_eq!(member.latency(), None);
        // Where the clock of a member begins, a moment is none.
        advance(1).await;
        let mut good = pending();
        advance(20).await;
        good.land();
        advance(60_000).await;
        let short = pending();
        advance(1).await;
        drop(short);
        assert_eq!(member.latency(), Some(Duration::from_millis(20)));
        let long = pending();
        advance(30).await;
        drop(long);
        assert_eq!(member.latency(), Some(Duration::from_millis(30)));
        let mut fails = pending();
        fails.failed::<(), _, _>(BoxError::from("broken"), &crate::outcome::ErrIsFailure);
        // What a failure costs where no peer is known.
        assert_eq!(member.latency(), Some(Duration::from_secs(1)));
        assert_eq!((member.failures(), member.in_flight(), member.calls()), (1, 0, 4));
    }
}
