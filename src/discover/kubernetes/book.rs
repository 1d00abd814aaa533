//! The slices of a Service that are known, and the endpoints that they make, as arithmetic: events in, the state and
//! the set out.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    super::set::EndpointSet,
    object::{EndpointSlice, Metadata},
    query::KubernetesQuery,
    slice::{Availability, Candidate, Candidates, candidates},
};
use crate::{
    endpoint::{Address, Endpoint, Status},
    error::Error,
};

/// Most slices of a Service, and most endpoints in them.
const MAX_SLICES: usize = 10_000;
const MAX_ENDPOINTS: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Book {
    slices: BTreeMap<String, Candidates>,
    /// How many endpoints all slices have.
    count: usize,
}

/// There is more than may be kept.
#[derive(Debug, PartialEq)]
pub(super) struct TooMany;

impl Book {
    /// Whether no endpoint can be used. There may be slices all the same, also of a Service that stands for a name
    /// elsewhere.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A slice is there now, in place of what was there by its name. Tells whether that changes anything.
    pub(super) fn put(
        &mut self,
        slice: EndpointSlice,
        query: &KubernetesQuery,
    ) -> Result<bool, TooMany> {
        self.put_after(None, slice, query)
    }

    /// The same, of a slice that is listed anew, after what is known of it in another book.
    pub(super) fn put_after(
        &mut self,
        known: Option<&Self>,
        slice: EndpointSlice,
        query: &KubernetesQuery,
    ) -> Result<bool, TooMany> {
        let name = slice.metadata.name.clone().unwrap_or_default();
        if let Some(problem) = &slice.problem {
            tracing::warn!(slice = name, problem, "a slice cannot be read; its endpoints stay");
        }
        let before = self.slices.get(&name);
        let known = known.map_or(before, |known| known.slices.get(&name));
        let new = candidates(slice, query, known);
        if before == Some(&new) {
            return Ok(false);
        }
        let of_before = before.map_or(0, |before| before.all.len());
        let count = self.count - of_before + new.all.len();
        let slices = self.slices.len() + usize::from(before.is_none());
        if count > MAX_ENDPOINTS || slices > MAX_SLICES {
            return Err(TooMany);
        }
        self.count = count;
        self.slices.insert(name, new);
        Ok(true)
    }

    /// A slice is gone. Tells whether it was there.
    pub(super) fn delete(&mut self, slice: &Metadata) -> bool {
        let gone = self.slices.remove(slice.name.as_deref().unwrap_or_default());
        self.count -= gone.as_ref().map_or(0, |gone| gone.all.len());
        gone.is_some()
    }

    /// Why there is no endpoint, if there should be some; or none but those of which the port is not known any more.
    pub(super) fn problem(&self) -> Option<&str> {
        if self.slices.values().any(|of| !of.all.is_empty() && !of.is_without_port) {
            return None;
        }
        self.slices.values().find_map(|of| of.problem.as_deref())
    }

    /// The endpoints of all slices, each once: by its key, and by its address. The best of several counts.
    ///
    /// Those that end are draining while others are ready, and used if none is. Those of slices without a port are of pods
    /// that do not have the port of the Service, unless that has none.
    pub(super) fn set(&self, version: &str) -> Result<EndpointSet, Error> {
        let mut by_key = HashMap::<&str, &Candidate>::with_capacity(self.count);
        let has_port = self.slices.values().any(|slice| slice.tells_port);
        let slices = self.slices.values().filter(|slice| !slice.is_of_any_port || !has_port);
        for of in slices.flat_map(|slice| &slice.all) {
            let best = by_key.entry(of.endpoint.key()).or_insert(of);
            if rating(of) < rating(best) {
                *best = of;
            }
        }
        let mut by_address = HashMap::<&Address, &Candidate>::with_capacity(by_key.len());
        for of in by_key.into_values() {
            let best = by_address.entry(of.endpoint.address()).or_insert(of);
            if (rating(of), of.endpoint.key()) < (rating(best), best.endpoint.key()) {
                *best = of;
            }
        }
        let is_ready = |of: &&Candidate| of.availability == Availability::Ready;
        let has_ready = by_address.values().any(is_ready);
        let endpoints = by_address.into_values().map(|of| match of.availability {
            Availability::Terminating if !has_ready => {
                let endpoint = Endpoint::clone(&of.endpoint);
                Arc::new(endpoint.with_draining(false).with_status(Status::Warning))
            }
            _ => of.endpoint.clone(),
        });
        EndpointSet::new(endpoints, version)
    }
}

/// The least is the best.
fn rating(of: &Candidate) -> (Availability, u8, &str) {
    (of.availability, of.rank, of.endpoint.address().as_str())
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
