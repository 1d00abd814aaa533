//! What is known of a Service, and what is told of it.

use std::time::Duration;

use super::{
    super::{set::EndpointSet, watch::Observation},
    book::{Book, TooMany},
    event::Event,
    query::KubernetesQuery,
    server::Failure,
};
use crate::{
    endpoint::Endpoint,
    error::{Error, Kind},
    time::{self, Instant},
};

/// How long it is tried to open a watch before all is listed anew.
const SHUT: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Known {
    pub(super) book: Book,
    /// The name that the Service stands for, if it has no endpoints.
    pub(super) external: Option<Endpoint>,
    /// Up to which all is known. Only the server knows what it means.
    pub(super) version: String,
    /// Whether the watch broke and nothing else is wrong: what is missed can be had from `version` on.
    pub(super) can_resume: bool,
    /// How many watches from `version` on, one after the other, were over without a word.
    silent: u32,
    /// Since when no watch begins.
    pub(super) shut_since: Option<Instant>,
    /// Until then a set may lack endpoints since the cluster is not well, as after it was cut off.
    pub(super) unsure_until: Option<Instant>,
    /// What was told last.
    told: Option<EndpointSet>,
    /// What is wrong with it, which is told next.
    pub(super) problem: Option<Error>,
}

/// What an event was.
pub(super) struct Taken {
    /// Whether it changes anything.
    pub(super) is_new: bool,
    pub(super) is_bookmark: bool,
    /// Whether a watch has told more with it than that there is one: what has changed, or up to where.
    pub(super) leads_on: bool,
}

impl Known {
    /// Takes over an event.
    pub(super) fn take(&mut self, event: Event, query: &KubernetesQuery) -> Result<Taken, TooMany> {
        let is_bookmark = matches!(event, Event::Bookmark(_));
        let (version, is_new) = match event {
            Event::Put(mut slice) => {
                let version = slice.metadata.resource_version.take();
                let is_new = self.book.put(*slice, query)?;
                if !self.book.is_empty() {
                    self.external = None;
                }
                (version, is_new)
            }
            Event::Deleted(of) => {
                let is_new = self.book.delete(&of);
                (of.resource_version, is_new)
            }
            Event::Bookmark(of) => (of.resource_version, false),
            _ => (None, false),
        };
        let version = version.filter(|version| !version.is_empty() && *version != self.version);
        let leads_on = is_new || is_bookmark || version.is_some();
        if let Some(version) = version {
            self.version = version;
        }
        Ok(Taken { is_new, is_bookmark, leads_on })
    }

    /// All is listed, up to a version.
    pub(super) fn list(&mut self, book: Book, external: Option<Endpoint>, version: String) {
        (self.book, self.external, self.version) = (book, external, version);
        (self.silent, self.shut_since) = (0, None);
    }

    /// A watch broke, or has ended at once. It can go on where it stood; but if it does so without a word once more, that
    /// may be what a server makes of a version that it does not keep.
    pub(super) fn cut(&mut self, has_told: bool) {
        self.silent = if has_told { 0 } else { self.silent.saturating_add(1) };
        self.can_resume = self.silent < 2;
    }

    /// A watch does not begin. What must not be watched may be listed; and so may what is asked for on a way that lets
    /// nothing through but lists, as one that holds an answer back until there is more of it. Another failure may be about
    /// the version, which would be asked for without an end.
    pub(super) fn not_opened(&mut self, failure: &Failure) {
        let now = time::now();
        // A server that is away shuts no way: all would list anew the moment that it comes back.
        self.shut_since = (!failure.is_of_all()).then(|| self.shut_since.unwrap_or(now));
        let is_shut =
            self.shut_since.is_some_and(|since| now.saturating_duration_since(since) >= SHUT);
        self.can_resume = failure.may_pass() && !failure.is_denied() && !is_shut;
    }

    /// What is known, as an answer. After events it is certain, unless something else is not.
    pub(super) fn told(&mut self, is_by_events: bool) -> Result<Observation, Error> {
        let set = match &self.external {
            Some(external) if self.book.is_empty() => {
                EndpointSet::new([external.clone()], &*self.version)?
            }
            _ => self.book.set(&self.version)?,
        };
        let now = time::now();
        self.unsure_until = self.unsure_until.filter(|until| now < *until);
        let is_certain = is_by_events && self.unsure_until.is_none();
        if let Some(problem) = self.book.problem() {
            let text = format!("no endpoint of the Service can be used: {problem}");
            let error = Error::failed(Kind::InvalidConfig).message(text);
            let has_left = |told: &EndpointSet| told.iter().any(|of| set.get(of.key()).is_none());
            if !is_certain || !self.told.as_ref().is_some_and(has_left) {
                return Err(error);
            }
            // What has left leaves all the same, and then it is told what is wrong.
            self.problem = Some(error);
        }
        self.told = Some(set.clone());
        let observation = Observation::of(set);
        Ok(if is_certain { observation.certain() } else { observation })
    }
}
