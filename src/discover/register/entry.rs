//! What is known of one instance: what is wanted, and what of that the backend has.

use super::{super::retries::Retries, instance::Instance};
use crate::{error::Error, time::Instant};

#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Of the registration that it belongs to.
    pub(super) number: u64,
    pub(super) instance: Instance,
    /// Of the instance, counted from 1.
    pub(super) version: u64,
    /// The version that the backend has in this session.
    pub(super) written: Option<u64>,
    /// Whether the backend may have it, of whatever session.
    pub(super) is_known: bool,
    /// Since when it is to be removed.
    pub(super) leaving_since: Option<Instant>,
    /// Not before then.
    pub(super) due: Option<Instant>,
    pub(super) retries: Retries,
    /// Of the last call.
    pub(super) error: Option<Error>,
}

impl Entry {
    pub(super) fn new(number: u64, instance: Instance) -> Self {
        Self {
            number,
            instance,
            version: 1,
            written: None,
            is_known: false,
            leaving_since: None,
            due: None,
            retries: Retries::default(),
            error: None,
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving_since.is_some()
    }

    /// Whether the backend has it as it is wanted.
    pub(super) fn is_written(&self) -> bool {
        self.written == Some(self.version) && !self.is_leaving()
    }

    /// Whether there is something to do, now or later.
    pub(super) fn is_pending(&self) -> bool {
        !self.is_written()
    }

    pub(super) fn ticket(&self) -> Ticket {
        Ticket { number: self.number, version: self.version, instance: self.instance.clone() }
    }
}

/// One version of one instance, which a call is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ticket {
    pub(super) number: u64,
    pub(super) version: u64,
    pub(super) instance: Instance,
}
