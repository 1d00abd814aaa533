//! What a limit tells of itself: refusals that bear its name, events, and counts.

use std::{
    fmt,
    sync::{
        Arc,
        // Not those of the models: these numbers order nothing.
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    error::{Error, Kind},
    member::Member,
    telemetry::{Event, EventKind, Events, Stats},
};

/// What a layer value is given beside its settings. A fresh layer keeps it, and members inherit it.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    pub(super) name: Option<Arc<str>>,
    pub(super) events: Option<Events>,
}

/// What one state tells.
pub(super) struct Telemetry {
    /// What a refusal looks like, but for the moment to come back. `None` if it says no more than its
    /// kind: then it is made on the spot, which is faster than a copy.
    refusal: Option<Error>,
    /// Apart from what calls that pass read.
    told: Box<Told>,
}

struct Told {
    setup: Setup,
    endpoint: Option<Arc<str>>,
    refused: AtomicU64,
    waited: AtomicU64,
}

impl Telemetry {
    /// Refusals are of this `kind`.
    pub(super) fn new(kind: Kind, setup: Setup, member: Option<&Arc<Member>>) -> Self {
        let endpoint = member.map(|member| member.shared_key().clone());
        let refusal = Error::refused(kind).by(setup.name.as_ref());
        let refusal = match &endpoint {
            Some(endpoint) => Some(refusal.at_endpoint(endpoint)),
            None => setup.name.is_some().then_some(refusal),
        };
        let (refused, waited) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { refusal, told: Box::new(Told { setup, endpoint, refused, waited }) }
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.told.setup
    }

    /// Refuses a call. `kind` is that of [`new`](Self::new), once more, so that the compiler knows it.
    #[inline(always)]
    pub(super) fn refuse(&self, kind: Kind) -> Error {
        match &self.refusal {
            None => Error::refused(kind),
            Some(refusal) => self.told.refuse(refusal),
        }
    }

    /// The same, to come back at the moment of `stamp`. Each of the two is whole at once: put together
    /// afterwards, both would go through memory.
    #[inline(always)]
    pub(super) fn refuse_until(&self, kind: Kind, stamp: i64) -> Error {
        match &self.refusal {
            None => Error::refused(kind).retry_at_stamp(stamp),
            Some(refusal) => self.told.refuse_until(refusal, stamp),
        }
    }

    /// Names the limit in an error that is no refusal.
    #[cold]
    pub(super) fn named(&self, error: Error) -> Error {
        error.by(self.told.setup.name.as_ref())
    }

    /// A call began to wait, which makes so many. Never under a lock.
    #[cold]
    pub(super) fn began_to_wait(&self, waiting: usize) {
        let Told { setup, endpoint, waited, .. } = &*self.told;
        waited.fetch_add(1, Ordering::Relaxed);
        if let Some(events) = &setup.events {
            events.emit(|| {
                let event = Event::new(EventKind::Queue { waiting });
                event.of_layer(setup.name.as_ref()).of_endpoint(endpoint.as_ref())
            });
        }
    }

    /// Refusals of a limit that has a name, which alone are counted.
    pub(super) fn refused(&self) -> Stats {
        let Told { setup, refused, .. } = &*self.told;
        let refused = setup.name.is_some().then(|| refused.load(Ordering::Relaxed));
        Stats { refused, ..Stats::default() }
    }

    /// The same, with the calls that waited, and those that do.
    pub(super) fn refused_and_waited(&self, waiting: usize) -> Stats {
        let waited = Some(self.told.waited.load(Ordering::Relaxed));
        Stats { waited, waiting: Some(waiting as u64), ..self.refused() }
    }
}

impl Told {
    #[cold]
    #[inline(never)]
    fn refuse(&self, refusal: &Error) -> Error {
        if self.setup.name.is_some() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        refusal.clone()
    }

    #[cold]
    #[inline(never)]
    fn refuse_until(&self, refusal: &Error, stamp: i64) -> Error {
        self.refuse(refusal).retry_at_stamp(stamp)
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told.setup.fmt(f)
    }
}
