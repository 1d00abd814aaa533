//! A bounded table of values that are forgotten once they are not asked for: a rule, without a clock.

use std::collections::HashMap;

/// Values by a hash that no caller can choose. The one that was asked for least recently makes room.
pub(super) struct Lru<V> {
    places: HashMap<u64, u32, AsItIs>,
    entries: Vec<Entry<V>>,
    /// The one asked for last, and the one that makes room; [`NONE`] if there are none.
    newest: u32,
    oldest: u32,
    most: usize,
}

struct Entry<V> {
    key: u64,
    value: V,
    /// It is forgotten then.
    until: u64,
    newer: u32,
    older: u32,
}

const NONE: u32 = u32::MAX;

impl<V: Copy> Lru<V> {
    /// With room for `most` values, at least one.
    pub(super) fn new(most: usize) -> Self {
        let most = most.clamp(1, NONE as usize);
        let (places, entries) = (HashMap::default(), Vec::new());
        Self { places, entries, newest: NONE, oldest: NONE, most }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The value of `key`, which is kept for `lasts` from `now` on.
    pub(super) fn get(&mut self, key: u64, now: u64, lasts: u64) -> Option<V> {
        let at = *self.places.get(&key)?;
        self.unlink(at);
        let entry = self.entries.get_mut(at as usize)?;
        let is_over = entry.until <= now;
        let value = entry.value;
        if is_over {
            self.remove(at);
            return None;
        }
        entry.until = now.saturating_add(lasts);
        self.link(at);
        Some(value)
    }

    /// Sets the value of `key`, which is kept for `lasts` from `now` on.
    pub(super) fn set(&mut self, key: u64, value: V, now: u64, lasts: u64) {
        let until = now.saturating_add(lasts);
        if let Some(&at) = self.places.get(&key) {
            self.unlink(at);
            if let Some(entry) = self.entries.get_mut(at as usize) {
                (entry.value, entry.until) = (value, until);
            }
            return self.link(at);
        }
        if self.entries.len() >= self.most {
            let oldest = self.oldest;
            self.unlink(oldest);
            self.remove(oldest);
        }
        let Ok(at) = u32::try_from(self.entries.len()) else { return };
        self.entries.push(Entry { key, value, until, newer: NONE, older: NONE });
        self.places.insert(key, at);
        self.link(at);
    }

    /// The newest, from now on. It is in no list.
    fn link(&mut self, at: u32) {
        let before = self.newest;
        if let Some(entry) = self.entries.get_mut(at as usize) {
            (entry.newer, entry.older) = (NONE, before);
        }
        match self.entries.get_mut(before as usize) {
            Some(before) => before.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let Some(&Entry { newer, older, .. }) = self.entries.get(at as usize) else { return };
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }

    /// Forgets an entry, which is in no list. The last one takes its place.
    fn remove(&mut self, at: u32) {
        if at as usize >= self.entries.len() {
            return;
        }
        let gone = self.entries.swap_remove(at as usize);
        self.places.remove(&gone.key);
        let Some(&Entry { key, newer, older, .. }) = self.entries.get(at as usize) else { return };
        self.places.insert(key, at);
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = at,
            None => self.newest = at,
        }
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = at,
            None => self.oldest = at,
        }
    }
}

/// Hashes what is a hash already.
#[derive(Default, Clone)]
pub(super) struct AsItIs(u64);

impl std::hash::BuildHasher for AsItIs {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl std::hash::Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What it does, in the simplest way: the newest last.
    #[derive(Default)]
    struct Model(Vec<(u64, u8, u64)>);

    impl Model {
        fn get(&mut self, key: u64, now: u64, lasts: u64) -> Option<u8> {
            let at = self.0.iter().position(|of| of.0 == key)?;
            let (_, value, until) = self.0.remove(at);
            if until <= now {
                return None;
            }
            self.0.push((key, value, now + lasts));
            Some(value)
        }

        fn set(&mut self, key: u64, value: u8, now: u64, lasts: u64, most: usize) {
            self.0.retain(|of| of.0 != key);
            if self.0.len() == most {
                self.0.remove(0);
            }
            self.0.push((key, value, now + lasts));
        }
    }

    proptest! {
        #[test]
        fn it_does_what_a_list_does(
            most in 1_usize..6,
            steps in prop::collection::vec((0_u64..9, prop::option::of(any::<u8>()), 0_u64..4), 1..300),
        ) {
            let (mut lru, mut model) = (Lru::new(most), Model::default());
            let (mut now, lasts) = (0, 7);
            for (key, value, passed) in steps {
                now += passed;
                match value {
                    Some(value) => {
                        lru.set(key, value, now, lasts);
                        model.set(key, value, now, lasts, most);
                    }
                    None => prop_assert_eq!(lru.get(key, now, lasts), model.get(key, now, lasts)),
                }
                prop_assert_eq!(lru.len(), model.0.len());
                prop_assert!(lru.len() <= most && lru.entries.len() == lru.len());
                let mut at = lru.oldest;
                for of in &model.0 {
                    let entry = &lru.entries[at as usize];
                    prop_assert_eq!((entry.key, entry.value, entry.until), *of);
                    at = entry.newer;
                }
                prop_assert_eq!(at, NONE);
            }
        }
    }
}
