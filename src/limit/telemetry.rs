//! What a limit tells of itself: refusals that bear its name, events, and counts.

use std::{
    fmt,
    sync::{
        Arc,
        OnceLock,
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
    /// Whether a refusal says more than its kind. If not, it is made on the spot, which is faster than a copy.
    has_names: bool,
    /// Apart from what calls that pass read.
    told: Box<Told>,
}

struct Told {
    setup: Setup,
    endpoint: Option<Arc<str>>,
    /// What a refusal looks like, but for the moment to come back. Made for the first.
    refusal: OnceLock<Error>,
    refused: AtomicU64,
    waited: AtomicU64,
}

impl Telemetry {
    pub(super) fn new(setup: Setup, member: Option<&Arc<Member>>) -> Self {
        let endpoint = member.map(|member| member.shared_key().clone());
        let has_names = setup.name.is_some() || endpoint.is_some();
        let (refused, waited) = (AtomicU64::new(0), AtomicU64::new(0));
        let told = Told { setup, endpoint, refusal: OnceLock::new(), refused, waited };
        Self { has_names, told: Box::new(told) }
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.told.setup
    }

    /// Refuses a call. `kind` is the same each time.
    #[inline(always)]
    pub(super) fn refuse(&self, kind: Kind) -> Error {
        if self.has_names { self.told.refuse(kind) } else { Error::refused(kind) }
    }

    /// The same, to come back at the moment of `stamp`. Each of the two is whole at once: put together
    /// afterwards, both would go through memory.
    #[inline(always)]
    pub(super) fn refuse_until(&self, kind: Kind, stamp: i64) -> Error {
        if self.has_names {
            self.told.refuse_until(kind, stamp)
        } else {
            Error::refused(kind).retry_at_stamp(stamp)
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
    fn refuse(&self, kind: Kind) -> Error {
        if self.setup.name.is_some() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        let refusal = self.refusal.get_or_init(|| {
            let refusal = Error::refused(kind).by(self.setup.name.as_ref());
            match &self.endpoint {
                Some(endpoint) => refusal.at_endpoint(endpoint),
                None => refusal,
            }
        });
        refusal.clone()
    }

    #[cold]
    #[inline(never)]
    fn refuse_until(&self, kind: Kind, stamp: i64) -> Error {
        self.refuse(kind).retry_at_stamp(stamp)
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told.setup.fmt(f)
    }
}
