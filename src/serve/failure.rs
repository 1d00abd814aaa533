//! What callers are told of an error of a plugin.

use std::time::Duration;

use crate::error::{BoxError, Error, Kind};

/// What callers are told.
pub(super) struct Failure {
    pub(super) text: String,
    /// The refusal of a guard, if it is one.
    pub(super) refusal: Option<Error>,
}

impl Failure {
    pub(super) fn new(error: &BoxError) -> Self {
        let Some(ours) = error.downcast_ref::<Error>() else {
            return Self { text: error.to_string(), refusal: None };
        };
        let text = match (ours.kind(), std::error::Error::source(ours)) {
            (Kind::Service, Some(source)) => source.to_string(),
            // What another plugin answered is meant for callers.
            (Kind::Plugin, Some(said)) => format!("[{}] {}: {said}", ours.code(), ours.what()),
            // Where the plugin's endpoints are is its own business.
            _ => ours.public_text(),
        };
        Self { text, refusal: ours.is_refused().then(|| ours.clone()) }
    }

    /// The status of a refusal, where there is none but in the answer itself. As over HTTP.
    pub(super) fn status(&self) -> Option<u16> {
        let refusal = self.refusal.as_ref()?;
        Some(if refusal.kind() == Kind::RateLimited { 429 } else { 503 })
    }

    /// When to come back, likewise.
    pub(super) fn retry_after_ms(&self) -> Option<u64> {
        let millis =
            |wait: Duration| u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        self.refusal.as_ref()?.retry_after().map(millis)
    }
}

/// The text of an error, which must have one, or else it would be none.
pub(super) fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "the plugin failed, and does not say why" } else { text }
}
