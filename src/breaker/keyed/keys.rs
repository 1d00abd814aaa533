//! The circuits of keys: bounded, and found by the hash of the key.

use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use crate::{
    breaker::{
        CircuitBreakerConfig,
        circuit::{Circuits, Kept, Shared},
    },
    guard::{Configured, Newest},
    key::{Key, hash_of, label_of},
    sync::{
        Padded,
        atomic::{Mutex, lock},
    },
};

/// A key is known by 64 bits of its hash, with a seed that cannot be guessed: that any two of a
/// million keys share a circuit has a chance of three in a hundred million.
pub(super) struct Keys {
    circuits: Arc<Circuits>,
    hasher: RandomState,
    shelves: Box<[Padded<Mutex<Shelf>>]>,
    /// For keys that find no place.
    others: Arc<Kept>,
}

/// The circuits of a part of all keys, with the one used last at the end.
#[derive(Default)]
struct Shelf {
    circuits: Vec<(u64, Arc<Kept>)>,
    most: usize,
}

/// So few for each lock that all can be looked at.
const MOST_PER_SHELF: usize = 16;

impl Keys {
    pub(super) fn new(circuits: Arc<Circuits>, max: usize) -> Arc<Self> {
        let shelves = max.div_ceil(MOST_PER_SHELF);
        let shelf = |index: usize| {
            // As even as it gets, and `max` in all.
            let most = max * (index + 1) / shelves - max * index / shelves;
            Padded(Mutex::new(Shelf { circuits: Vec::new(), most }))
        };
        circuits.family.own(|config| {
            Arc::new(Self {
                others: circuits.of_key(config, None),
                hasher: RandomState::new(),
                shelves: (0..shelves).map(shelf).collect(),
                circuits: circuits.clone(),
            })
        })
    }

    pub(super) fn most(&self) -> usize {
        self.shelves.iter().map(|shelf| lock(shelf).most).sum()
    }

    pub(super) fn others(&self) -> Shared {
        Shared::of(self.others.clone())
    }

    pub(super) fn circuits(&self) -> &Arc<Circuits> {
        &self.circuits
    }

    fn shelf(&self, hash: u64) -> &Mutex<Shelf> {
        let index = (u128::from(hash) * self.shelves.len() as u128) >> 64;
        &self.shelves[index as usize].0
    }

    /// The circuit of the key of `request`, or a new one.
    pub(super) fn get<K: Key<Req>, Req>(&self, key: &K, request: &Req) -> Shared {
        let hash = hash_of(key, request, &self.hasher);
        let known = lock(self.shelf(hash)).find(hash);
        // A label is made by code of others: outside of the lock.
        known.map_or_else(|| self.insert(hash, label_of(key, request)), Shared::of)
    }

    #[inline(never)]
    fn insert(&self, hash: u64, label: Option<Arc<str>>) -> Shared {
        let made_by = self.circuits.family.settings();
        let new = || self.circuits.of_key(&made_by, label);
        let (circuit, evicted) = {
            let mut shelf = lock(self.shelf(hash));
            match shelf.find(hash) {
                Some(circuit) => (circuit, None),
                None => {
                    let evicted = shelf.make_room();
                    let circuit = shelf.put(hash, new).unwrap_or_else(|| self.others.clone());
                    (circuit, evicted)
                }
            }
        };
        // What waits for it has a waker there, which is not dropped under a lock.
        drop(evicted);
        self.circuits.family.catch_up(&circuit, &made_by);
        Shared::of(circuit)
    }

    pub(super) fn find(&self, key: &(impl Hash + ?Sized)) -> Option<Shared> {
        let hash = self.hasher.hash_one(key);
        lock(self.shelf(hash)).peek(hash).map(Shared::of)
    }

    pub(super) fn len(&self) -> usize {
        self.shelves.iter().map(|shelf| lock(shelf).circuits.len()).sum()
    }

    /// All that there are.
    pub(super) fn all(&self) -> Vec<Arc<Kept>> {
        let of_shelf = |shelf: &Padded<Mutex<Shelf>>| -> Vec<_> {
            lock(shelf).circuits.iter().map(|(_, kept)| kept.clone()).collect()
        };
        self.shelves.iter().flat_map(of_shelf).chain([self.others.clone()]).collect()
    }
}

impl Configured<CircuitBreakerConfig> for Keys {
    fn apply(self: Arc<Self>, newest: &Newest<CircuitBreakerConfig>) {
        self.all().into_iter().for_each(|circuit| circuit.apply(newest));
    }
}

impl Shelf {
    fn find(&mut self, hash: u64) -> Option<Arc<Kept>> {
        let at = self.circuits.iter().rposition(|(of, _)| *of == hash)?;
        let last = self.circuits.len() - 1;
        if at != last {
            self.circuits[at..].rotate_left(1);
        }
        Some(self.circuits[last].1.clone())
    }

    /// As it is, so that a look keeps nothing alive.
    fn peek(&self, hash: u64) -> Option<Arc<Kept>> {
        let (_, kept) = self.circuits.iter().find(|(of, _)| *of == hash)?;
        Some(kept.clone())
    }

    /// Takes out the circuit that is needed least, if there is no room and it nothing needs it.
    fn make_room(&mut self) -> Option<Arc<Kept>> {
        if self.circuits.len() < self.most {
            return None;
        }
        // Not in use: only the shelf holds it, and only with the lock can that change. First those that
        // are closed.
        let is_idle =
            |kept: &Arc<Kept>| Arc::strong_count(kept) == 1 && kept.core().is_forgettable();
        let is_closed = |kept: &Arc<Kept>| {
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

    fn put(&mut self, hash: u64, new: impl FnOnce() -> Arc<Kept>) -> Option<Arc<Kept>> {
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
