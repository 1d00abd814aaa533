//! Which of the candidates gets a call.

mod candidates;
mod draw;
mod geographic;
#[cfg(feature = "hash")]
mod hash;
mod health_based;
mod latencies;
mod least_latency;
mod least_request;
mod note;
mod notes;
mod peak_ewma;
mod pick_first;
mod priority;
mod proportions;
mod random;
mod round_robin;
mod seeded;
mod sticky;
mod strategy;
#[cfg(test)]
mod tests;
mod turn;
mod weighted_random;
mod weighted_round_robin;

#[cfg(feature = "hash")]
pub use self::hash::{BoundedBy, ConsistentHash, ConsistentHashTable, HashScheme};
pub(crate) use self::notes::Noted;
pub use self::{
    candidates::{Candidate, Candidates},
    geographic::{Geographic, GeographicTable},
    health_based::HealthBased,
    latencies::LatencyTable,
    least_latency::LeastLatency,
    least_request::{LeastRequest, LeastRequestTable},
    notes::Notes,
    peak_ewma::PeakEwma,
    pick_first::{PickFirst, PickFirstTable},
    priority::{Priority, PriorityTable},
    random::Random,
    round_robin::{RoundRobin, RoundRobinTable},
    seeded::{Seeded, SeededTable},
    sticky::{Sticky, StickyTable},
    strategy::{Pick, Strategy},
    weighted_random::{WeightedRandom, WeightedRandomTable},
    weighted_round_robin::{WeightedRoundRobin, WeightedRoundRobinTable},
};
