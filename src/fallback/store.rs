//! Answers by their key, of which the one that was used least recently goes first. Pure: the time comes in.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::time::Instant;

/// How much a [`Store`] keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) max_age: Duration,
    pub(super) max_entries: usize,
    pub(super) max_bytes: usize,
}

pub(super) struct Store<T> {
    bounds: Bounds,
    entries: HashMap<Arc<[u8]>, Entry<T>>,
    /// The keys by their last use, the oldest first.
    by_use: BTreeMap<u64, Arc<[u8]>>,
    uses: u64,
    bytes: usize,
}

struct Entry<T> {
    answer: Arc<T>,
    since: Instant,
    used: u64,
    bytes: usize,
}

impl<T> Store<T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, entries: HashMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps `answer`, of so many bytes beside its key, in place of the one before. Answers with those that
    /// had to go, so that they are dropped where no lock is held.
    pub(super) fn put(
        &mut self,
        key: Arc<[u8]>,
        answer: Arc<T>,
        bytes: usize,
        now: Instant,
    ) -> Vec<Arc<T>> {
        let mut gone: Vec<_> = self.take(&key).into_iter().collect();
        let bytes = bytes.saturating_add(key.len());
        if bytes > self.bounds.max_bytes || self.bounds.max_entries == 0 {
            gone.push(answer);
            return gone;
        }
        while self.entries.len() >= self.bounds.max_entries
            || self.bytes.saturating_add(bytes) > self.bounds.max_bytes
        {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            gone.extend(self.take(&oldest));
        }
        self.uses += 1;
        self.bytes += bytes;
        self.by_use.insert(self.uses, key.clone());
        self.entries.insert(key, Entry { answer, since: now, used: self.uses, bytes });
        gone
    }

    /// The answer with this key, unless it is too old.
    pub(super) fn get(&mut self, key: &[u8], now: Instant) -> Option<Arc<T>> {
        let entry = self.entries.get_mut(key)?;
        if now.saturating_duration_since(entry.since) > self.bounds.max_age {
            return None;
        }
        self.uses += 1;
        let key = self.by_use.remove(&entry.used)?;
        entry.used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(entry.answer.clone())
    }

    fn take(&mut self, key: &[u8]) -> Option<Arc<T>> {
        let entry = self.entries.remove(key)?;
        self.by_use.remove(&entry.used);
        self.bytes -= entry.bytes;
        Some(entry.answer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time;

    fn bounds(max_entries: usize, max_bytes: usize) -> Bounds {
        Bounds { max_age: Duration::from_secs(60), max_entries, max_bytes }
    }

    fn put(store: &mut Store<u8>, key: u8, bytes: usize) {
        store.put(Arc::from([key]), Arc::new(key), bytes, time::now());
    }

    fn has(store: &mut Store<u8>, key: u8) -> bool {
        store.get(&[key], time::now()).is_some()
    }

    #[test]
    fn the_one_that_was_used_least_recently_goes_first() {
        let mut store = Store::new(bounds(2, 1_000));
        put(&mut store, 1, 1);
        put(&mut store, 2, 1);
        assert!(has(&mut store, 1));
        put(&mut store, 3, 1);
        assert!(has(&mut store, 1) && !has(&mut store, 2) && has(&mut store, 3));
    }

    #[test]
    fn an_answer_that_is_too_large_or_too_old_is_none() {
        let mut store = Store::new(bounds(10, 5));
        put(&mut store, 1, 5);
        assert_eq!((store.len(), store.bytes()), (0, 0));
        put(&mut store, 1, 4);
        let later = time::now() + Duration::from_secs(61);
        assert!(has(&mut store, 1) && store.get(&[1], later).is_none());
    }

    proptest! {
        #[test]
        fn the_bounds_hold(steps in proptest::collection::vec((0_u8..20, 0_usize..40, any::<bool>()), 0..200)) {
            let mut store = Store::new(bounds(5, 60));
            for (key, bytes, is_put) in steps {
                if is_put {
                    put(&mut store, key, bytes);
                } else {
                    has(&mut store, key);
                }
                prop_assert!(store.len() <= 5 && store.bytes() <= 60);
                prop_assert_eq!(store.by_use.len(), store.len());
                let bytes: usize = store.entries.values().map(|entry| entry.bytes).sum();
                prop_assert_eq!(bytes, store.bytes());
            }
        }
    }
}
