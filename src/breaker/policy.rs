//! What the circuits of one layer value have in common.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{
    CircuitBreakerConfig, CircuitState,
    circuit::{Circuit, Shared},
    core::Change,
    counts::Counts,
};
use crate::{
    error::Error,
    guard::ByMember,
    member::Member,
    sync::{self, Events, Lease},
    time::{self, Instant},
};

pub(super) type Listener = Arc<dyn Fn(Transition) + Send + Sync>;

pub(super) struct Policy {
    pub(super) config: ArcSwap<CircuitBreakerConfig>,
    pub(super) events: Events<Transition>,
    members: ByMember<Lease<Circuit, Counts>>,
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
    /// The key of the endpoint, where the circuit is one endpoint's.
    pub endpoint: Option<Arc<str>>,
    /// The state that it left.
    pub from: CircuitState,
    /// The state that it is in.
    pub to: CircuitState,
    /// When.
    pub at: Instant,
    /// How many transitions this circuit has behind it, this one included.
    pub generation: u64,
}

impl Transition {
    pub(super) fn new(endpoint: Option<&Arc<str>>, change: Change) -> Self {
        let Change { from, to, generation, .. } = change;
        Self { endpoint: endpoint.cloned(), from, to, at: time::now(), generation }
    }
}

impl Policy {
    pub(super) fn new(config: CircuitBreakerConfig, listener: Option<Listener>) -> Arc<Self> {
        Arc::new(Self {
            config: ArcSwap::from_pointee(config.clamped()),
            events: Events::new(listener),
            members: ByMember::default(),
        })
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
        Shared::of(lease)
    }

    pub(super) fn find(&self, key: &str) -> Option<Shared> {
        self.members.get(key).map(Shared::of)
    }

    /// New settings for all circuits that there are, and those to come.
    pub(super) fn update(&self, config: &CircuitBreakerConfig, own: &Shared) -> Result<(), Error> {
        config.validate()?;
        let config = config.clone().clamped();
        // First those to come, so that none is missed.
        self.config.store(Arc::new(config.clone()));
        Circuit::update(own, &config);
        for lease in self.members.live() {
            Circuit::update(&Shared::of(lease), &config);
        }
        Ok(())
    }
}
