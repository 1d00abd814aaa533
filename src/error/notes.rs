//! What is noted of an error on its way.

use std::{sync::Arc, time::Duration};

use super::{BoxError, Error, Kind, Rest, word::Word};

impl Error {
    pub(crate) fn at_endpoint(mut self, key: &Arc<str>) -> Self {
        self.rest_mut().endpoint = Some(key.clone());
        self
    }

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
        self.rest_mut().source = Some(Arc::from(source.into()));
        self
    }

    /// Notes the way that a call took. What was noted nearer to the endpoint stays.
    pub(crate) fn after_attempts(mut self, attempts: u32, duration: Option<Duration>) -> Self {
        let rest = self.rest_mut();
        rest.attempts = attempts;
        rest.duration = duration;
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
        let mut error = Self::failed(Kind::RetryExhausted);
        if earlier.iter().chain([&last]).all(Self::is_unsent) {
            error.word |= Word::UNSENT;
        }
        // Nothing but refusals is one, and no evidence for whoever stands above.
        if earlier.iter().chain([&last]).all(Self::is_refused) {
            error.word |= Word::REFUSED;
        }
        if !earlier.iter().chain([&last]).any(Self::is_evidence) {
            error.word |= Word::BLAMELESS;
        }
        // Where all refused, the first to be free again is who matters.
        let first = earlier.iter().filter(|_| error.is_refused());
        let at = first.chain([&last]).filter_map(Self::retry_instant).min();
        if let Some(at) = at {
            error = error.retry_at(at);
        }
        let rest = error.rest_mut();
        rest.endpoint = last.endpoint_key().cloned();
        rest.source = Some(Arc::new(last.clone()));
        rest.history = earlier.into_iter().chain([last]).collect();
        error
    }

    /// Names the endpoint, unless something nearer to it did.
    pub(crate) fn or_at_endpoint(self, key: &Arc<str>) -> Self {
        if self.endpoint_key().is_some() { self } else { self.at_endpoint(key) }
    }

    fn rest_mut(&mut self) -> &mut Rest {
        Arc::make_mut(self.rest.get_or_insert_default())
    }
}
