//! Calls in flight on a member: one that is counted, and one that also tells how it ended.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use super::{ending::Ending, member::Member};
use crate::{
    error::{BoxError, Error, Fault, Kind},
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
pub struct InFlight(Arc<Member>);

impl Member {
    /// Counts a call as in flight until the guard drops.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.load().take_off();
        InFlight(self.clone())
    }
}

impl InFlight {
    /// Keeps counting a call that was begun already, when its first guard drops.
    #[cfg(feature = "http")]
    pub(crate) fn go_on(member: Arc<Member>) -> Self {
        member.load().fly_on();
        Self(member)
    }

    /// Returns the member.
    #[inline]
    pub fn member(&self) -> &Arc<Member> {
        &self.0
    }
}

impl Drop for InFlight {
    #[inline]
    fn drop(&mut self) {
        self.0.load().land();
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.0.key()).finish()
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
    /// When the call was first pending, in nanoseconds of the member's clock.
    began: u64,
}

/// Not pending yet: a call that is ready at once never reads a clock.
const NOT_YET: u64 = 0;
const LANDED: u64 = u64::MAX;
// Beside it, for those that ended otherwise.
const FAILED: u64 = LANDED - 1;
const THROTTLED: u64 = LANDED - 2;
const IGNORED: u64 = LANDED - 3;

/// What a failed call counts for in the latency estimate, at least: failing fast must not look
/// like being fast. The figure is linkerd's.
const FAILURE_PENALTY: Duration = Duration::from_secs(5);

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

    /// Polls the call, and lands when it ends. An error names the member from then on.
    // Always: on its own it costs each call eleven instructions.
    #[inline(always)]
    pub(crate) fn poll<F, T, E>(
        &mut self,
        call: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Error>>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<BoxError> + 'static,
    {
        let Poll::Ready(result) = call.poll(cx) else {
            self.pend();
            return Poll::Pending;
        };
        Poll::Ready(match result {
            Ok(response) => {
                self.land();
                Ok(response)
            }
            Err(error) => Err(self.failed(error)),
        })
    }

    #[inline]
    fn pend(&mut self) {
        if self.began == NOT_YET {
            self.began = self.member().nanos().clamp(1, IGNORED - 1);
        }
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
        self.member().observe(self.elapsed());
    }

    fn elapsed(&self) -> Duration {
        match self.began {
            NOT_YET => Duration::ZERO,
            began => Duration::from_nanos(self.member().nanos().saturating_sub(began)),
        }
    }

    #[cold]
    fn failed<E: Into<BoxError> + 'static>(&mut self, error: E) -> Error {
        self.fail(Error::from_service(error))
    }

    fn fail(&mut self, error: Error) -> Error {
        let error = if self.member().is_client() { error.confirm_unsent() } else { error };
        let end = self.count(&error);
        self.began = match end {
            CallEnd::Succeeded => LANDED,
            CallEnd::Failed => FAILED,
            CallEnd::Throttled => THROTTLED,
            CallEnd::Ignored => IGNORED,
        };
        self.member().load().land();
        error.or_at_endpoint(self.member().shared_key())
    }

    /// Counts what an error says of the member.
    fn count(&self, error: &Error) -> CallEnd {
        let is_timed = self.began != NOT_YET;
        match error.fault() {
            // It answered: that is its work.
            Fault::Endpoint if error.kind() == Kind::Plugin => {
                if is_timed {
                    self.observe();
                }
                return CallEnd::Succeeded;
            }
            Fault::Endpoint => {
                let is_overload = error.kind() == Kind::RateLimited;
                self.observe_failure(is_overload);
                return if is_overload { CallEnd::Throttled } else { CallEnd::Failed };
            }
            Fault::Cancelled if is_timed => self.observe_abandoned(),
            _ => {}
        }
        self.member().count_neutral();
        CallEnd::Ignored
    }

    /// How the call ended, once it has.
    pub(crate) fn end(&self) -> Option<CallEnd> {
        match self.began {
            LANDED => Some(CallEnd::Succeeded),
            FAILED => Some(CallEnd::Failed),
            THROTTLED => Some(CallEnd::Throttled),
            IGNORED => Some(CallEnd::Ignored),
            _ => None,
        }
    }

    #[cold]
    fn abandon(&self) {
        let is_timed = self.began != NOT_YET;
        if is_timed && Ending::of_flight(self.member()) == Ending::TimedOut {
            self.observe_failure(false);
        } else {
            if is_timed {
                self.observe_abandoned();
            }
            self.member().count_neutral();
        }
        self.member().load().land();
    }

    fn observe_failure(&self, is_overload: bool) {
        self.member().count_failure(is_overload);
        self.member().observe(self.elapsed().max(FAILURE_PENALTY));
    }

    /// A call that was given up can worsen the estimate, never improve it.
    fn observe_abandoned(&self) {
        self.member().observe_if_worse(self.elapsed());
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
        fails.failed(BoxError::from("broken"));
        assert_eq!(member.latency(), Some(FAILURE_PENALTY));
        assert_eq!((member.failures(), member.in_flight(), member.calls()), (1, 0, 4));
    }
}
