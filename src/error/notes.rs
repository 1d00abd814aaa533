//! What is noted of an error on its way.

use std::{sync::Arc, time::Duration};

use super::{
    code::Code,
    error::{BoxError, Error, Rest},
    kind::Kind,
    word::Word,
};
use crate::{
    decision::Decision,
    time::{self, Instant},
};

impl Error {
    /// Gives it a rarer code than its kind has.
    pub(crate) fn coded(mut self, code: Option<Code>) -> Self {
        if code.is_some_and(|code| code != self.code()) {
            self.rest_mut().code = code;
        }
        self
    }

    /// Names the guard that says no. A guard makes its refusal once and clones it, which costs one shared
    /// count; without a name there is nothing to count.
    pub(crate) fn by(mut self, guard: Option<&Arc<str>>) -> Self {
        if let Some(guard) = guard {
            self.rest_mut().guard = Some(guard.clone());
        }
        self
    }

    pub(crate) fn at_endpoint(mut self, key: &Arc<str>) -> Self {
        self.rest_mut().endpoint = Some(key.clone());
        self
    }

    /// Names the endpoint, unless something nearer to it did.
    pub(crate) fn or_at_endpoint(self, key: &Arc<str>) -> Self {
        if self.endpoint_key().is_some() { self } else { self.at_endpoint(key) }
    }

    /// Says what happened better than the kind does. Only in words of ours: what another crate says is a
    /// [cause](Self::caused_by).
    pub(crate) fn message(mut self, message: impl Into<Box<str>>) -> Self {
        self.rest_mut().message = Some(message.into());
        self
    }

    /// Says why the call was not sent again.
    pub(crate) fn note(mut self, note: &'static str) -> Self {
        self.rest_mut().note = Some(note);
        self
    }

    pub(crate) fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.rest_mut().source = Some(Arc::new(source.into()));
        self
    }

    /// The same failure, of which the endpoint is not the cause. See [`Fault`](super::Fault) for whose it is then.
    pub(crate) fn without_blame(mut self) -> Self {
        self.word = self.word.with(Word::BLAMELESS);
        self
    }

    /// The error comes from the client of the endpoint itself: what its type says holds.
    pub(crate) fn confirm_unsent(self) -> Self {
        let is_by_type = self.word.sending() == Word::UNSENT_BY_TYPE;
        if is_by_type { self.with_sending(Word::UNSENT) } else { self }
    }

    /// The error does not come from the client of the endpoint: what its type says does not hold.
    pub(crate) fn forget_unsent_by_type(self) -> Self {
        if self.word.sending() == Word::UNSENT_BY_TYPE { self.maybe_sent() } else { self }
    }

    /// Nothing was sent, whatever the error says of itself.
    pub(crate) fn never_sent(self) -> Self {
        if self.is_unsent() { self } else { self.with_sending(Word::UNSENT) }
    }

    /// The call may have been sent after all.
    pub(crate) fn maybe_sent(self) -> Self {
        self.with_sending(0)
    }

    fn with_sending(mut self, sending: u64) -> Self {
        self.word = self.word.with_sending(sending);
        self
    }

    /// Come back at `instant`, which is at most [`LONGEST_WAIT`](Self::LONGEST_WAIT) from now.
    pub(crate) fn retry_at(self, instant: Instant) -> Self {
        self.retry_at_stamp(time::stamp(instant))
    }

    /// The same for a moment that was kept as a stamp.
    #[inline]
    pub(crate) fn retry_at_stamp(mut self, stamp: i64) -> Self {
        self.word = self.word.at_stamp(stamp);
        self
    }

    /// Come back `wait` after `now`, or after the longest wait there is.
    pub(crate) fn retry_in(self, now: Instant, wait: Duration) -> Self {
        self.retry_at(time::later(now, wait.min(Self::LONGEST_WAIT)))
    }

    /// Notes the way that a call took. What was noted nearer to the endpoint stays.
    pub(crate) fn after_attempts(mut self, attempts: u32, duration: Option<Duration>) -> Self {
        let rest = self.rest_mut();
        rest.attempts = attempts;
        rest.duration = duration;
        self
    }

    /// Notes why the call went where it failed.
    pub(crate) fn decided(mut self, decision: Arc<Decision>) -> Self {
        self.rest_mut().decision = Some(decision);
        self
    }

    /// Notes the errors of earlier attempts.
    pub(crate) fn with_history(mut self, earlier: Vec<Self>) -> Self {
        if !earlier.iter().all(Self::is_unsent) {
            self = self.maybe_sent();
        }
        self.rest_mut().history = earlier.into();
        self
    }

    /// `last` after other attempts failed too.
    pub(crate) fn exhausted(earlier: Vec<Self>, last: Self) -> Self {
        let endpoint = last.endpoint_key().cloned();
        let last_retry = last.retry_instant();
        let decision = last.rest.as_ref().and_then(|rest| rest.decision.clone());
        let mut all = earlier;
        all.push(last);
        let mut error = Self::failed(Kind::RetryExhausted);
        if all.iter().all(Self::is_unsent) {
            error.word = error.word.with(Word::UNSENT);
        }
        // Nothing but refusals is one, and no evidence for a layer above.
        if all.iter().all(Self::is_refused) {
            error.word = error.word.with(Word::REFUSED);
        }
        if !all.iter().any(Self::is_evidence) {
            error.word = error.word.with(Word::BLAMELESS);
        }
        // Where all refused, the first to be free again is who matters.
        let first = all.iter().filter(|_| error.is_refused()).filter_map(Self::retry_instant).min();
        if let Some(at) = first.or(last_retry) {
            error = error.retry_at(at);
        }
        let rest = error.rest_mut();
        (rest.endpoint, rest.decision) = (endpoint, decision);
        rest.history = all.into();
        error
    }

    /// Moves the error out without counting references, and leaves a bare one of its kind.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Self {
        Self { word: self.word, rest: self.rest.take() }
    }

    fn rest_mut(&mut self) -> &mut Rest {
        Arc::make_mut(self.rest.get_or_insert_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_refusal_costs_one_shared_count_and_one_without_a_name_none() {
        let name = Arc::from("tenant quota");
        let refusal = Error::refused(Kind::RateLimited).by(Some(&name));
        let told = refusal.clone().retry_at(time::now());
        assert_eq!(told.guard(), Some("tenant quota"));
        let shared = |error: &Error| error.rest.as_ref().map(Arc::strong_count);
        assert_eq!((shared(&told), Arc::strong_count(&name)), (Some(2), 2));
        assert!(Error::refused(Kind::RateLimited).by(None).rest.is_none());
    }

    #[test]
    fn a_code_is_kept_only_where_the_kind_has_another() {
        let of_kind = Error::failed(Kind::Plugin).coded(Some(Code::PLUGIN_1206));
        assert!(of_kind.rest.is_none() && of_kind.coded(None).code() == Code::PLUGIN_1206);
        let rare = Error::failed(Kind::Plugin).coded(Some(Code::AUTH_1101));
        assert_eq!(
            (rare.kind(), rare.at_endpoint(&"a".into()).code()),
            (Kind::Plugin, Code::AUTH_1101)
        );
    }

    #[test]
    fn what_all_attempts_say_is_what_the_whole_call_says() {
        let (refused, failed) = (Error::refused(Kind::Overloaded), Error::failed(Kind::Timeout));
        let soon = time::now() + Duration::from_secs(5);
        let all = Error::exhausted(vec![refused.clone().retry_at(soon)], refused.clone());
        assert!(all.is_refused() && all.is_unsent() && !all.is_evidence());
        assert_eq!(all.retry_instant(), Some(soon));
        let mixed = Error::exhausted(vec![refused.retry_at(soon)], failed);
        assert!(!mixed.is_refused() && !mixed.is_unsent() && mixed.is_evidence());
        assert!(mixed.is_timeout() && mixed.retry_instant().is_none());
    }
}
