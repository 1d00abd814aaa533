//! Which instances have passed a check, as arithmetic: anything can be announced by multicast, so nothing is
//! believed before that.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::super::retries::Retries;
use crate::{
    endpoint::{Address, Endpoint},
    time::{self, Instant},
};

/// Checks that run at once.
const PARALLEL: usize = 16;
/// Longest wait after a check that failed.
const MAX_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Trust {
    by_key: HashMap<Arc<str>, Entry>,
    running: usize,
}

#[derive(Debug)]
struct Entry {
    /// What passed there, or is to.
    address: Address,
    state: State,
    retries: Retries,
    /// Whether a check of it has ended.
    is_known: bool,
}

#[derive(Debug, PartialEq)]
enum State {
    Due(Instant),
    Running,
    Passed,
}

impl Trust {
    /// These are there, and no others if `all`. One at another address is a stranger again.
    pub(super) fn seen(&mut self, endpoints: &[Arc<Endpoint>], all: bool, now: Instant) {
        if all {
            let keys: HashSet<&str> = endpoints.iter().map(|of| of.key()).collect();
            self.by_key.retain(|key, entry| {
                let stays = keys.contains(&**key);
                self.running -= usize::from(!stays && entry.state == State::Running);
                stays
            });
        }
        for endpoint in endpoints {
            let known = self.by_key.get(endpoint.key());
            if known.is_none_or(|entry| entry.address != *endpoint.address()) {
                self.running -= usize::from(known.is_some_and(|of| of.state == State::Running));
                let entry = Entry {
                    address: endpoint.address().clone(),
                    state: State::Due(now),
                    retries: Retries::default(),
                    is_known: false,
                };
                self.by_key.insert(endpoint.shared_key().clone(), entry);
            }
        }
    }

    /// Those of `endpoints` whose check begins now.
    pub(super) fn begin(
        &mut self,
        endpoints: &[Arc<Endpoint>],
        now: Instant,
    ) -> Vec<Arc<Endpoint>> {
        let mut begun = Vec::new();
        for endpoint in endpoints {
            if self.running >= PARALLEL {
                break;
            }
            let Some(entry) = self.by_key.get_mut(endpoint.key()) else { continue };
            if matches!(entry.state, State::Due(due) if due <= now) {
                entry.state = State::Running;
                self.running += 1;
                begun.push(endpoint.clone());
            }
        }
        begun
    }

    /// A check has ended. `random` is from 0 up to 1.
    pub(super) fn ended(&mut self, endpoint: &Endpoint, passed: bool, random: f64, now: Instant) {
        let Some(entry) = self.by_key.get_mut(endpoint.key()) else { return };
        // It may be about what was there before.
        if entry.address != *endpoint.address() || entry.state != State::Running {
            return;
        }
        self.running -= 1;
        entry.is_known = true;
        entry.state = match passed {
            true => State::Passed,
            false => State::Due(time::later(now, entry.retries.failed(MAX_WAIT, random, now))),
        };
    }

    /// No check runs any more.
    pub(super) fn stopped(&mut self, now: Instant) {
        self.running = 0;
        for entry in self.by_key.values_mut().filter(|entry| entry.state == State::Running) {
            entry.state = State::Due(now);
        }
    }

    pub(super) fn has_passed(&self, endpoint: &Endpoint) -> bool {
        let entry = self.by_key.get(endpoint.key());
        entry.is_some_and(|of| of.state == State::Passed && of.address == *endpoint.address())
    }

    /// Whether each of `endpoints` was checked at least once.
    pub(super) fn knows_all(&self, endpoints: &[Arc<Endpoint>]) -> bool {
        endpoints.iter().all(|of| self.by_key.get(of.key()).is_some_and(|entry| entry.is_known))
    }

    /// When a check is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.running >= PARALLEL {
            return None;
        }
        let due = self.by_key.values().filter_map(|entry| match entry.state {
            State::Due(due) => Some(due),
            _ => None,
        });
        due.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str, key: &str) -> Arc<Endpoint> {
        Arc::new(Endpoint::new(address).unwrap().with_key(key))
    }

    #[test]
    fn an_instance_is_trusted_once_a_check_of_its_address_passed() {
        let (mut trust, now) = (Trust::default(), time::now());
        let (a, moved) = (at("a:1", "a"), at("b:1", "a"));
        let all = [a.clone()];
        trust.seen(&all, true, now);
        assert_eq!(trust.begin(&all, now), all);
        assert!(trust.begin(&all, now).is_empty() && !trust.knows_all(&all));
        trust.ended(&a, true, 0.5, now);
        assert!(trust.has_passed(&a) && !trust.has_passed(&moved) && trust.next_due().is_none());
        // At another address it is a stranger, and what ends of the old one says nothing.
        trust.seen(std::slice::from_ref(&moved), true, now);
        assert!(!trust.has_passed(&a) && !trust.has_passed(&moved));
        assert_eq!(trust.begin(std::slice::from_ref(&moved), now).len(), 1);
        trust.ended(&a, true, 0.5, now);
        assert!(!trust.has_passed(&moved));
        // What left and comes again is a stranger, too.
        trust.ended(&moved, true, 0.5, now);
        trust.seen(&[], false, now);
        assert!(trust.has_passed(&moved));
        trust.seen(&[], true, now);
        assert!(!trust.has_passed(&moved));
    }

    #[test]
    fn a_check_that_fails_is_made_again_after_a_wait_that_grows() {
        let (mut trust, mut now) = (Trust::default(), time::now());
        let all = [at("a:1", "a")];
        trust.seen(&all, true, now);
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(trust.begin(&all, now).len(), 1);
            trust.ended(&all[0], false, 0.999, now);
            assert!(trust.knows_all(&all) && !trust.has_passed(&all[0]));
            let due = trust.next_due().unwrap();
            assert!(trust.begin(&all, now).is_empty());
            waits.push(due.duration_since(now).as_secs());
            now = due;
        }
        assert_eq!(waits, [0, 0, 0, 1, 3, 7, 15, 29, 29]);
    }

    #[test]
    fn checks_are_bounded_and_none_is_lost_with_those_that_ran() {
        let (mut trust, now) = (Trust::default(), time::now());
        let all: Vec<_> = (0..40).map(|of| at("a:1", &of.to_string())).collect();
        trust.seen(&all, true, now);
        assert_eq!(trust.begin(&all, now).len(), PARALLEL);
        assert!(trust.begin(&all, now).is_empty() && trust.next_due().is_none());
        trust.stopped(now);
        assert_eq!(trust.begin(&all, now).len(), PARALLEL);
        trust.seen(&all[PARALLEL..], true, now);
        assert_eq!(trust.begin(&all, now).len(), PARALLEL);
    }
}
