//! The gates of one layer value, and which of them are in use.

use std::{fmt, sync::Arc};

use super::{config::HealthConfig, gate::Gate, prober::Prober, roster::Roster, setup::Setup};
use crate::{
    guard::{Configured, Family, Newest},
    member::Member,
    sync::RandomSource,
};

/// What one layer value owns: all its gates share it.
pub(super) struct Gates {
    pub(super) family: Family<Watch, HealthConfig>,
    pub(super) setup: Arc<Setup>,
    pub(super) prober: Arc<Prober>,
    /// Above a balancer, or without one. Outlives its watches, so that a stack built anew for each
    /// connection does not forget.
    pub(super) alone: Arc<Gate>,
}

impl Gates {
    pub(super) fn new(config: HealthConfig, setup: Setup) -> Arc<Self> {
        let (family, setup) = (Family::new(config.clamped()), Arc::new(setup));
        let roster = family.own(|config| Arc::new(Roster::new(config.clone())));
        let alone = family.own(|config| Gate::new(config.clone(), &setup, None));
        let prober = Prober::new(roster, setup.runtime.clone(), RandomSource::of(setup.seed));
        Arc::new(Self { family, setup, prober, alone })
    }

    /// A watch over the gate above a balancer, or without one.
    pub(super) fn watch(self: &Arc<Self>) -> Arc<Watch> {
        Arc::new(Watch::new(self, self.alone.clone()))
    }

    /// The watch over `member`: the same as before, if it still lives.
    pub(super) fn watch_member(self: &Arc<Self>, member: &Arc<Member>) -> Arc<Watch> {
        self.family.of_member(member, |config| {
            let gate = Gate::new(config.clone(), &self.setup, Some(member.clone()));
            Watch::new(self, gate)
        })
    }

    /// Goes on by `config` with all that is checked, and with what will be.
    pub(super) fn update(&self, config: HealthConfig) {
        self.family.update(config);
        self.follow(&self.alone);
    }

    /// Goes on by `config` with one target.
    pub(super) fn update_one(&self, gate: &Arc<Gate>, config: HealthConfig) {
        gate.clone().apply(&Newest::new(config));
        self.follow(gate);
    }

    fn follow(&self, gate: &Gate) {
        let roster = &self.prober.roster;
        roster.follow(gate);
        roster.wake();
        // What can be checked by now. A gate without a member is found by its next call.
        self.prober.enlist_members();
    }
}

/// Keeps a gate in use.
pub(super) struct Watch {
    pub(super) gate: Arc<Gate>,
    pub(super) gates: Arc<Gates>,
}

impl Watch {
    fn new(gates: &Arc<Gates>, gate: Arc<Gate>) -> Self {
        if !gate.is_in_use() {
            gate.examine();
        }
        gates.prober.roster.enter(&gate);
        Self { gate, gates: gates.clone() }
    }

    /// Has the gate checked. `false`: there is no runtime to do it in.
    pub(super) fn enlist(&self) -> bool {
        self.gates.prober.enlist(&self.gate)
    }
}

impl Configured<HealthConfig> for Watch {
    fn apply(self: Arc<Self>, newest: &Newest<HealthConfig>) {
        self.gate.clone().apply(newest);
        self.gates.prober.roster.follow(&self.gate);
    }

    fn member(&self) -> Option<&Arc<Member>> {
        self.gate.member.as_ref()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.gates.prober.roster.leave(&self.gate);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.gate.fmt(f)
    }
}

#[cfg(test)]
#[path = "gates_tests.rs"]
mod tests;
