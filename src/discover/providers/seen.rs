//! What was seen of the endpoints of a provider, and what happened to them since.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::set::EndpointSet,
    event::{Log, ProviderEventKind},
};
use crate::endpoint::{Endpoint, Status};

/// What a provider remembers.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) set: Option<EndpointSet>,
    /// What the backend told last, without what is registered here.
    pub(super) found: Option<EndpointSet>,
    usable: BTreeSet<Arc<str>>,
    pub(super) log: Log,
    pub(super) registered: u64,
    pub(super) updated: u64,
    pub(super) deregistered: u64,
    pub(super) failed: u64,
}

/// Whether it may get new calls.
pub(super) fn is_usable(endpoint: &Endpoint) -> bool {
    !endpoint.is_draining() && endpoint.status() != Status::Critical
}

impl Seen {
    /// Takes over a set. Every user of a provider sees the same ones, so only differences count.
    pub(super) fn see(&mut self, set: &EndpointSet) {
        let usable = set.iter().filter(|endpoint| is_usable(endpoint));
        let usable: BTreeSet<Arc<str>> = usable.map(|of| of.key().into()).collect();
        for gone in self.usable.difference(&usable) {
            self.log.note(ProviderEventKind::EndpointDown, Some(gone.clone()), None);
        }
        for new in usable.difference(&self.usable) {
            self.log.note(ProviderEventKind::EndpointUp, Some(new.clone()), None);
        }
        (self.usable, self.set) = (usable, Some(set.clone()));
    }
}
