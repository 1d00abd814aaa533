//! What the circuits of one layer value have in common.

use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwap;

use super::{
    CircuitBreakerConfig, CircuitState,
    circuit::{Circuit, Shared},
    core::Change,
    machine::{Machine, counts::Counts},
    timer::Timer,
};
use crate::{
    error::Error,
    guard::ByMember,
    member::Member,
    sync::{self, EventQueue, Lease, lock},
    time::Instant,
};

pub(super) type Listener = Arc<dyn Fn(Transition) + Send + Sync>;

pub(super) struct Policy {
    settings: ArcSwap<Settings>,
    pub(super) events: EventQueue<Transition>,
    /// Only where somebody listens: else nobody waits for a transition.
    timer: Option<Timer<Lease<Circuit, Counts>>>,
    members: ByMember<Lease<Circuit, Counts>>,
    others: Mutex<Vec<Weak<dyn Circuits>>>,
}

/// Of two settings the one with the higher version is the newer.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) config: CircuitBreakerConfig,
    pub(super) version: u64,
}

/// Circuits that are not those of members.
pub(super) trait Circuits: Send + Sync {
    fn live(&self) -> Vec<Shared>;
}

/// A circuit went from one state to another.
///
/// ```
/// use tower_upstream::{CircuitBreakerLayer, breaker::Transition};
/// let layer = CircuitBreakerLayer::default().on_transition(|transition: Transition| {
///     println!("{:?}: {} -> {}", transition.endpoint, transition.from, transition.to);
/// });
/// layer.handle().force_open();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// The key of the endpoint, where the circuit is one endpoint's. Of circuits by key there is none:
    /// they do not keep their keys.
    pub endpoint: Option<Arc<str>>,
    /// The state that it left.
    pub from: CircuitState,
    /// The state that it is in.
    pub to: CircuitState,
    /// Time of the transition. Of one that time brings it is the time when it was due, not when it was
    /// noticed.
    pub at: Instant,
    /// Which state of this circuit it is, counted from when it was made; also a reset counts.
    pub generation: u64,
}

impl Transition {
    pub(super) fn new(endpoint: Option<&Arc<str>>, change: Change, at: Instant) -> Self {
        let Change { from, to, generation, .. } = change;
        Self { endpoint: endpoint.cloned(), from, to, at, generation }
    }
}

impl Policy {
    pub(super) fn new(config: CircuitBreakerConfig, listener: Option<Listener>) -> Arc<Self> {
        let tick = |lease| Circuit::apply(&Shared::of(lease), Machine::tick);
        Arc::new(Self {
            settings: ArcSwap::from_pointee(Settings { config: config.clamped(), version: 0 }),
            timer: listener.is_some().then(|| Timer::new(tick)),
            events: EventQueue::new(listener),
            members: ByMember::default(),
            others: Mutex::default(),
        })
    }

    /// The same settings and listener, with no circuits yet.
    pub(super) fn fresh(&self) -> Arc<Self> {
        Self::new(self.settings().config.clone(), self.events.listener())
    }

    /// Has circuits looked at when time brings them a transition, if anybody listens.
    pub(super) fn timer(&self) -> Option<&Timer<Lease<Circuit, Counts>>> {
        self.timer.as_ref()
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// A circuit that stands alone.
    pub(super) fn circuit(self: &Arc<Self>) -> Shared {
        Shared::new(Circuit::new(self.clone(), None), sync::shards())
    }

    /// The circuit of `member`: the one it has, if its service is only connected anew.
    pub(super) fn circuit_of(self: &Arc<Self>, member: &Arc<Member>) -> Shared {
        // One lease: each call already touches the member, which all threads share.
        let lease = self.members.get_or_insert(
            member,
            |lease| lease.core().is_of(member),
            || Lease::single(Circuit::new(self.clone(), Some(member))),
        );
        let shared = Shared::of(lease);
        self.catch_up(&shared);
        shared
    }

    /// For a circuit that may have been made while new settings were given to all that were known.
    pub(super) fn catch_up(&self, circuit: &Shared) {
        let settings = self.settings();
        if circuit.core().version() < settings.version {
            Circuit::update(circuit, &settings.config, settings.version);
        }
    }

    pub(super) fn find(&self, key: &str) -> Option<Shared> {
        self.members.get(key).map(Shared::of)
    }

    /// Gives settings to these, too, while they live.
    pub(super) fn knows(&self, circuits: Weak<dyn Circuits>) {
        let mut others = lock(&self.others);
        others.retain(|of| of.strong_count() > 0);
        others.push(circuits);
    }

    /// New settings for `own`, all circuits that there are, and those to come. Of two that come at
    /// once one wins, and wins everywhere.
    pub(super) fn update(&self, config: &CircuitBreakerConfig, own: &Shared) -> Result<(), Error> {
        config.validate()?;
        let config = config.clone().clamped();
        // First those to come, so that none is missed.
        let before = self
            .settings
            .rcu(|settings| Settings { config: config.clone(), version: settings.version + 1 });
        let version = before.version + 1;
        let others: Vec<_> = lock(&self.others).iter().filter_map(Weak::upgrade).collect();
        let members = self.members.live().into_iter().map(Shared::of);
        let others = others.iter().flat_map(|circuits| circuits.live());
        for circuit in members.chain(others).chain([own.clone()]) {
            Circuit::update(&circuit, &config, version);
        }
        Ok(())
    }
}
