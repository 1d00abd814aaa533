//! The circuits of keys: bounded, and found by the hash of the key.

use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, Weak},
};

use crate::{
    breaker::{
        CircuitBreakerConfig,
        circuit::{Circuit, Shared},
        machine::counts::Counts,
        policy::{Circuits, Policy},
    },
    error::Error,
    sync::{
        Lease, Padded,
        atomic::{Mutex, lock},
    },
};

/// A key is known by 64 bits of its hash, with a seed that nobody can guess: that any two of a
/// million keys share a circuit has a chance of three in a hundred million.
pub(super) struct Keys {
    policy: Arc<Policy>,
    hasher: RandomState,
    shelves: Box<[Padded<Mutex<Shelf>>]>,
    /// For keys that find no place.
    others: Kept,
}

type Kept = Arc<Lease<Circuit, Counts>>;

/// The circuits of a part of all keys, with the one used last at the end.
#[derive(Default)]
struct Shelf {
    circuits: Vec<(u64, Kept)>,
    most: usize,
}

/// So few for each lock that all can be looked at.
const MOST_PER_SHELF: usize = 16;

impl Keys {
    pub(super) fn new(policy: Arc<Policy>, max: usize) -> Arc<Self> {
        let shelves = max.div_ceil(MOST_PER_SHELF);
        let shelf = |index: usize| {
            // As even as it gets, and `max` in all.
            let most = max * (index + 1) / shelves - max * index / shelves;
            Padded(Mutex::new(Shelf { circuits: Vec::new(), most }))
        };
        let keys = Arc::new(Self {
            others: Arc::new(Lease::single(Circuit::new(policy.clone(), None))),
            hasher: RandomState::new(),
            shelves: (0..shelves).map(shelf).collect(),
            policy,
        });
        let circuits: Weak<Self> = Arc::downgrade(&keys);
        keys.policy.knows(circuits);
        keys
    }

    pub(super) fn most(&self) -> usize {
        self.shelves.iter().map(|shelf| lock(shelf).most).sum()
    }

    pub(super) fn others(&self) -> Shared {
        Shared::of(self.others.clone())
    }

    pub(super) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    fn place(&self, key: &impl Hash) -> (u64, &Mutex<Shelf>) {
        let hash = self.hasher.hash_one(key);
        let index = (u128::from(hash) * self.shelves.len() as u128) >> 64;
        (hash, &self.shelves[index as usize].0)
    }

    /// The circuit of `key`, or a new one.
    pub(super) fn get(&self, key: &impl Hash) -> Shared {
        let (hash, shelf) = self.place(key);
        let (mut evicted, mut is_new) = (None, false);
        let circuit = {
            let mut shelf = lock(shelf);
            match shelf.find(hash) {
                Some(circuit) => circuit,
                None => {
                    evicted = shelf.make_room();
                    is_new = true;
                    let new = || Arc::new(Lease::single(Circuit::new(self.policy.clone(), None)));
                    shelf.put(hash, new).unwrap_or_else(|| self.others.clone())
                }
            }
        };
        // Whoever waits for it has a waker there, which is not dropped under a lock.
        drop(evicted);
        let shared = Shared::of(circuit);
        if is_new {
            self.policy.catch_up(&shared);
        }
        shared
    }

    pub(super) fn find(&self, key: &impl Hash) -> Option<Shared> {
        let (hash, shelf) = self.place(key);
        lock(shelf).peek(hash).map(Shared::of)
    }

    pub(super) fn len(&self) -> usize {
        self.shelves.iter().map(|shelf| lock(shelf).circuits.len()).sum()
    }

    pub(super) fn update(&self, config: &CircuitBreakerConfig) -> Result<(), Error> {
        self.policy.update(config, &self.others())
    }
}

impl Circuits for Keys {
    fn live(&self) -> Vec<Shared> {
        let of_shelf = |shelf: &Padded<Mutex<Shelf>>| -> Vec<Kept> {
            lock(shelf).circuits.iter().map(|(_, kept)| kept.clone()).collect()
        };
        let kept = self.shelves.iter().flat_map(of_shelf).chain([self.others.clone()]);
        kept.map(Shared::of).collect()
    }
}

impl Shelf {
    fn find(&mut self, hash: u64) -> Option<Kept> {
        let at = self.circuits.iter().rposition(|(of, _)| *of == hash)?;
        let last = self.circuits.len() - 1;
        if at != last {
            self.circuits[at..].rotate_left(1);
        }
        Some(self.circuits[last].1.clone())
    }

    /// As it is, so that who only looks keeps nothing alive.
    fn peek(&self, hash: u64) -> Option<Kept> {
        let (_, kept) = self.circuits.iter().find(|(of, _)| *of == hash)?;
        Some(kept.clone())
    }

    /// Takes out the circuit that is needed least, if there is no room and it is needed by nobody.
    fn make_room(&mut self) -> Option<Kept> {
        if self.circuits.len() < self.most {
            return None;
        }
        // Used by nobody: only the shelf holds it, and only with the lock can that change. First those
        // that are closed.
        let is_idle = |kept: &Kept| Arc::strong_count(kept) == 1 && kept.core().is_forgettable();
        let is_closed = |kept: &Kept| {
            let word = kept.core().word();
            (word.is_passing() || word.is_timed()) && is_idle(kept)
        };
        let closed = self.circuits.iter().position(|(_, kept)| is_closed(kept));
        let at = match closed {
            Some(at) => at,
            None => self.circuits.iter().position(|(_, kept)| is_idle(kept))?,
        };
        Some(self.circuits.remove(at).1)
    }

    fn put(&mut self, hash: u64, new: impl FnOnce() -> Kept) -> Option<Kept> {
        if self.circuits.len() >= self.most {
            return None;
        }
        let circuit = new();
        self.circuits.push((hash, circuit.clone()));
        Some(circuit)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("len", &self.len()).finish_non_exhaustive()
    }
}
