//! A table of fixed size: what the keys owe.

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence, give_way};

/// How many keys a set holds. With one number for each they fill a cache line, which is all that is
/// fetched for nearly every call.
const WAYS: usize = 5;

/// One set for so many of the keys that the table is made for. If so many owe at once, 4 in a
/// million find both of their sets full, and 1 in 30 is in the second.
const KEYS_PER_SET: usize = 2;

/// Keys by their hash, each with `N` numbers: the moments until which it owes tokens.
///
/// A key may be in two sets, of which the first is looked at first. Which two is part of the hash,
/// and other 32 bits of it are the key's tag; two keys with one tag in one set share a quota. By
/// chance that happens to one new key in a billion. Without the seed it is not possible to look for
/// such a key.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    sets: Box<[Set<N>]>,
}

/// A few keys, which share a lock.
///
/// The version is odd during a write, which takes some nanoseconds and runs no code but what
/// is here. A reader writes nothing, and looks again if the version has changed.
///
/// A key that is in neither of its sets is brought in under the lock of the first, wherever it goes;
/// so a reader that saw it in neither, and finds the first as it was, knows that it still is in neither.
#[derive(Debug)]
#[repr(C, align(64))]
struct Set<const N: usize> {
    version: AtomicU32,
    /// Zero where there was never a key.
    tags: [AtomicU32; WAYS],
    owing: [[AtomicU64; N]; WAYS],
}

impl<const N: usize> Table<N> {
    /// For so many keys that owe at once.
    pub(super) fn new(keys: usize) -> Self {
        let sets = keys.div_ceil(KEYS_PER_SET).max(1);
        Self { sets: (0..sets).map(|_| Set::new()).collect() }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    #[inline]
    fn set(&self, hash: u64) -> &Set<N> {
        // The whole range of hashes onto that of the sets, without a division.
        let index = (u128::from(hash) * self.sets.len() as u128) >> 64;
        &self.sets[index as usize]
    }

    /// The other set of this hash. It may be the same.
    fn second_set(&self, hash: u64) -> &Set<N> {
        // The high bits of the product depend on all bits of the hash.
        self.set(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// What the key owes.
    #[inline]
    pub(super) fn read(&self, hash: u64) -> [u64; N] {
        let never: Result<(), _> = self.change(hash, 0, |owing| Err(*owing));
        never.err().unwrap_or([0; N])
    }

    /// Lets `decide` say what the key owes from `now` on, or that nothing changes. It may be asked
    /// several times.
    #[inline]
    pub(super) fn change<E>(
        &self,
        hash: u64,
        now: u64,
        decide: impl Fn(&[u64; N]) -> Result<[u64; N], E>,
    ) -> Result<(), E> {
        let (first, tag) = (self.set(hash), tag(hash));
        let mut round = 0;
        loop {
            let done = first.version().and_then(|version| match first.find(tag) {
                Some(place) => first.change(version, place, &decide),
                None => self.change_absent(hash, now, first, version, &decide),
            });
            match done {
                Some(done) => return done,
                None => give_way(round),
            }
            round = round.saturating_add(1);
        }
    }

    /// The same for a key that is not in its first set. None if another came in between.
    #[inline(never)]
    fn change_absent<E>(
        &self,
        hash: u64,
        now: u64,
        first: &Set<N>,
        version: u32,
        decide: &impl Fn(&[u64; N]) -> Result<[u64; N], E>,
    ) -> Option<Result<(), E>> {
        let (second, tag) = (self.second_set(hash), tag(hash));
        let its_version = second.version()?;
        if let Some(place) = second.find(tag) {
            return second.change(its_version, place, decide);
        }
        match decide(&[0; N]) {
            Ok(owes) => {
                let writing = first.write(version)?;
                let place = first.freest();
                if std::ptr::eq(first, second) || first.is_roomier(second, now) {
                    writing.put(place, tag, owes);
                } else {
                    second.write(its_version)?.put(second.freest(), tag, owes);
                }
                Some(Ok(()))
            }
            Err(unchanged) => first.is_still(version).then_some(Err(unchanged)),
        }
    }

    /// Forgets the key.
    pub(super) fn clear(&self, hash: u64) {
        let _: Result<(), ()> =
            self.change(hash, 0, |owing| if *owing == [0; N] { Err(()) } else { Ok([0; N]) });
    }

    /// Changes what each key owes.
    pub(super) fn change_all(&self, to: impl Fn([u64; N]) -> [u64; N]) {
        for set in &self.sets {
            let mut round = 0;
            let writing = loop {
                if let Some(writing) = set.version().and_then(|version| set.write(version)) {
                    break writing;
                }
                give_way(round);
                round = round.saturating_add(1);
            };
            for place in 0..WAYS {
                let tag = set.tags[place].load(Ordering::Relaxed);
                writing.put(place, tag, to(set.load(place)));
            }
        }
    }

    /// How many keys owe at `now`, give or take those that change meanwhile.
    pub(super) fn owing(&self, now: u64) -> usize {
        self.sets.iter().map(|set| WAYS - set.room(now)).sum()
    }
}

/// What of a hash is kept: not what chooses the first set.
#[inline]
fn tag(hash: u64) -> u32 {
    (hash as u32).max(1)
}

impl<const N: usize> Set<N> {
    fn new() -> Self {
        Self {
            version: AtomicU32::new(0),
            tags: std::array::from_fn(|_| AtomicU32::new(0)),
            owing: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
        }
    }

    /// The version, unless a write is going on.
    #[inline]
    fn version(&self) -> Option<u32> {
        // Acquire, with the Release of `Writing::drop`: what was written before is seen.
        let version = self.version.load(Ordering::Acquire);
        (version % 2 == 0).then_some(version)
    }

    /// Whether what was read since is what was there.
    #[inline]
    fn is_still(&self, version: u32) -> bool {
        // Acquire, with the Release fence of `write`: a reader that saw one of the numbers written sees
        // that a write goes on.
        fence(Ordering::Acquire);
        self.version.load(Ordering::Relaxed) == version
    }

    #[inline]
    fn find(&self, tag: u32) -> Option<usize> {
        // To the end in any case: where a key is, no processor can guess.
        let mut found = WAYS;
        for (place, its) in self.tags.iter().enumerate() {
            found = if its.load(Ordering::Relaxed) == tag { place } else { found };
        }
        (found < WAYS).then_some(found)
    }

    #[inline]
    fn load(&self, place: usize) -> [u64; N] {
        std::array::from_fn(|index| self.owing[place][index].load(Ordering::Relaxed))
    }

    /// When the key at this place is as good as forgotten.
    fn owes_until(&self, place: usize) -> u64 {
        self.load(place).into_iter().max().unwrap_or(0)
    }

    /// The place whose key owes nothing for the longest time, or was never there; else that of the
    /// key that owes least, so that a flood of new keys takes the places of its own, and never that
    /// of one that has spent its quota.
    fn freest(&self) -> usize {
        (0..WAYS).min_by_key(|&place| self.owes_until(place)).unwrap_or(0)
    }

    /// How many places there are whose keys owe nothing.
    fn room(&self, now: u64) -> usize {
        (0..WAYS).filter(|&place| self.owes_until(place) <= now).count()
    }

    /// Whether a new key goes here rather than into the other of its sets, which is a way further:
    /// while there is more than the last place, or no less room; without any, where less is owed.
    // Always: it is asked for each new key, in every copy of `change_absent`.
    #[inline(always)]
    fn is_roomier(&self, other: &Self, now: u64) -> bool {
        match (self.room(now), other.room(now)) {
            (0, 0) => self.owes_until(self.freest()) <= other.owes_until(other.freest()),
            (here, there) => here > 1 || here >= there,
        }
    }

    /// Changes what the key at this place owes. None if another came in between.
    #[inline]
    fn change<E>(
        &self,
        version: u32,
        place: usize,
        decide: &impl Fn(&[u64; N]) -> Result<[u64; N], E>,
    ) -> Option<Result<(), E>> {
        match decide(&self.load(place)) {
            // If nothing was written since, what was decided on still holds.
            Ok(owes) => {
                self.write(version)?.owe(place, owes);
                Some(Ok(()))
            }
            Err(unchanged) => self.is_still(version).then_some(Err(unchanged)),
        }
    }

    #[inline]
    fn write(&self, version: u32) -> Option<Writing<'_, N>> {
        // Acquire: the writes stay after it.
        self.version
            .compare_exchange(version, version + 1, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        fence(Ordering::Release);
        Some(Writing { set: self, version })
    }
}

/// The right to write. Ends when it drops.
struct Writing<'a, const N: usize> {
    set: &'a Set<N>,
    version: u32,
}

impl<const N: usize> Writing<'_, N> {
    #[inline]
    fn owe(&self, place: usize, owes: [u64; N]) {
        for (number, owes) in self.set.owing[place].iter().zip(owes) {
            number.store(owes, Ordering::Relaxed);
        }
    }

    fn put(&self, place: usize, tag: u32, owes: [u64; N]) {
        self.set.tags[place].store(tag, Ordering::Relaxed);
        self.owe(place, owes);
    }
}

impl<const N: usize> Drop for Writing<'_, N> {
    #[inline]
    fn drop(&mut self) {
        self.set.version.store(self.version.wrapping_add(2), Ordering::Release);
    }
}

#[cfg(all(test, upstream_loom))]
#[path = "table_models.rs"]
mod loom_models;

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
