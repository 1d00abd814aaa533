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
/// chance that happens to one new key in a billion. Nobody who does not know the seed can look for
/// such a key.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    sets: Box<[Set<N>]>,
}

/// A few keys, which share a lock.
///
/// The version is odd while somebody writes, which takes some nanoseconds and runs no code but what
/// is here. Who only looks writes nothing, and looks again if the version has changed.
///
/// A key that is in neither of its sets is brought in under the lock of the first, wherever it goes;
/// so who saw it in neither, and finds the first as it was, knows that it still is in neither.
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

    /// The same for a key that is not in its first set. None if somebody came in between.
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

    /// The version, if nobody writes.
    #[inline]
    fn version(&self) -> Option<u32> {
        // Acquire, with the Release of `Writing::drop`: what was written before is seen.
        let version = self.version.load(Ordering::Acquire);
        (version % 2 == 0).then_some(version)
    }

    /// Whether what was read since is what was there.
    #[inline]
    fn is_still(&self, version: u32) -> bool {
        // Acquire, with the Release fence of `write`: whoever saw one of the numbers written sees
        // that somebody writes.
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
    /// of one who has spent its quota.
    fn freest(&self) -> usize {
        (0..WAYS).min_by_key(|&place| self.owes_until(place)).unwrap_or(0)
    }

    /// How many places there are whose keys owe nothing.
    fn room(&self, now: u64) -> usize {
        (0..WAYS).filter(|&place| self.owes_until(place) <= now).count()
    }

    /// Whether a new key goes here rather than into the other of its sets, which is a way further:
    /// while there is more than the last place, or no less room; without any, where less is owed.
    fn is_roomier(&self, other: &Self, now: u64) -> bool {
        match (self.room(now), other.room(now)) {
            (0, 0) => {
                self.owes_until(self.freest()) <= other.owes_until(other.freest())
            }
            (here, there) => here > 1 || here >= there,
        }
    }

    /// Changes what the key at this place owes. None if somebody came in between.
    #[inline]
    fn change<E>(
        &self,
        version: u32,
        place: usize,
        decide: &impl Fn(&[u64; N]) -> Result<[u64; N], E>,
    ) -> Option<Result<(), E>> {
        match decide(&self.load(place)) {
            // If nobody wrote since, what was decided on still holds.
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
mod loom_models {
    use std::sync::Arc;

    use super::*;
    use crate::limit::rate::{Decision, Quota};
    use loom::thread;

    /// One token, at this moment. The key is given by its hash.
    fn take_at(table: &Table<1>, hash: u64, now: u64, burst: u32) -> bool {
        let rule = Quota::per_second(10_000_000).burst(burst).rule();
        let taken = table.change(hash, now, |&[tat]| match rule.decide(tat, now, 1) {
            Decision::Allowed { new_tat } => Ok([new_tat]),
            Decision::Refused { .. } => Err(()),
        });
        taken.is_ok()
    }

    fn take(table: &Table<1>, hash: u64, burst: u32) -> bool {
        take_at(table, hash, 1_000, burst)
    }

    /// Keys whose first set of two is the one, and whose second set is given.
    fn keys(table: &Table<1>, second: usize) -> impl Iterator<Item = u64> + '_ {
        let is_second = move |key: &u64| {
            std::ptr::eq(table.second_set(*key), &raw const table.sets[second])
        };
        (1..).filter(is_second)
    }

    #[test]
    fn loom_a_key_gets_its_burst_and_no_more_whoever_takes() {
        loom::model(|| {
            let table = Arc::new(Table::<1>::new(1));
            let other = table.clone();
            let thread = thread::spawn(move || take(&other, 7, 1));
            let mine = take(&table, 7, 1);
            assert!(mine != thread.join().unwrap());
            assert!(!take(&table, 7, 1));
            assert_eq!((table.owing(1_000), table.sets.len()), (1, 1));
        });
    }

    /// It comes into the second set, since the first is full; or, as one who comes a moment later
    /// sees it, into the first. Never into both.
    #[test]
    fn loom_a_key_that_may_go_to_two_sets_gets_its_burst_and_no_more() {
        for later in [1_000, 1_100] {
            loom::model(move || {
                let table = Arc::new(Table::<1>::new(3));
                // They owe until 1,100.
                for key in keys(&table, 0).take(WAYS) {
                    assert!(take(&table, key, 1));
                }
                let key = keys(&table, 1).next().unwrap();
                let other = table.clone();
                // Of a rate so slow that there is one token in all.
                let take = move |table: &Table<1>, now| {
                    table.change(key, now, |&[tat]| if tat == 0 { Ok([9_999]) } else { Err(()) })
                };
                let thread = thread::spawn(move || take(&other, later).is_ok());
                let mine = take(&table, 1_000).is_ok();
                assert!(mine != thread.join().unwrap());
                assert_eq!(table.read(key), [9_999]);
                assert_eq!(table.owing(1_200), 1);
            });
        }
    }

    /// A key that is taken of while another wants its place is there once, or not at all.
    #[test]
    fn loom_a_place_belongs_to_one_key() {
        loom::model(|| {
            let table = Arc::new(Table::<1>::new(1));
            // The first owes least, so its place is the one to be given away.
            for key in 1..=5 {
                assert!(take(&table, key, 5));
                assert!(key == 1 || take(&table, key, 5));
            }
            let other = table.clone();
            let thread = thread::spawn(move || take(&other, 6, 1));
            let taken = take(&table, 1, 2);
            assert!(taken && thread.join().unwrap());
            let set = table.set(0);
            let places = |key: u32| {
                let of = |place: &usize| set.tags[*place].load(Ordering::Relaxed) == key;
                (0..WAYS).filter(of).collect::<Vec<_>>()
            };
            assert!(places(1).len() <= 1 && places(6).len() <= 1);
            // Nobody has paid for another.
            for (key, tokens) in [(1, 2), (6, 1)] {
                for place in places(key) {
                    assert!(set.load(place)[0] <= 1_000 + 100 * tokens);
                }
            }
            assert!((2..=5).all(|key| places(key).len() == 1 || places(1).len() == 1));
        });
    }

    /// A key that has spent its quota stays while others come into a full set.
    #[test]
    fn loom_who_owes_most_is_not_put_out_by_others() {
        loom::model(|| {
            let table = Arc::new(Table::<1>::new(1));
            for key in 1..5 {
                assert!(take(&table, key, 5));
            }
            assert!(take(&table, 5, 2) && take(&table, 5, 2));
            let other = table.clone();
            let thread = thread::spawn(move || take(&other, 6, 5));
            assert!(!take(&table, 5, 2));
            assert!(thread.join().unwrap());
            assert!(!take(&table, 5, 2));
            assert_eq!(table.owing(1_000), WAYS);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::sync::random;
    use proptest::prelude::*;

    fn owe<const N: usize>(table: &Table<N>, hash: u64, until: u64) {
        table.change(hash, 0, |_| Ok::<_, ()>([until; N])).unwrap();
    }

    #[test]
    fn a_set_is_what_a_processor_fetches() {
        assert_eq!((size_of::<Set<1>>(), align_of::<Set<1>>()), (64, 64));
        assert_eq!(size_of::<Set<4>>(), 192);
    }

    #[test]
    fn no_number_of_keys_makes_it_grow() {
        let table = Table::<1>::new(1_000);
        let bytes = table.bytes();
        for _ in 0..100_000 {
            owe(&table, random(), 10);
        }
        assert_eq!((table.bytes(), bytes), (500 * 64, 500 * 64));
        assert_eq!(table.owing(0), 500 * WAYS);
        assert_eq!(table.owing(10), 0);
    }

    #[test]
    fn as_many_as_it_is_made_for_have_a_place() {
        let table = Table::<1>::new(100_000);
        let keys: Vec<u64> = (0..100_000).map(|_| random()).collect();
        keys.iter().for_each(|&key| owe(&table, key, 10));
        let found = keys.iter().filter(|&&key| table.read(key) == [10]).count();
        assert!(found >= 99_990, "{found}");
        let further = keys.iter().filter(|&&key| table.set(key).find(tag(key)).is_none()).count();
        assert!((2_500..5_000).contains(&further), "{further}");
    }

    #[test]
    fn who_owes_most_stays_and_who_owes_nothing_makes_room() {
        let table = Table::<4>::new(1);
        owe(&table, 1, 1_000);
        for key in 2..10_000 {
            owe(&table, key, 20);
            assert_eq!(table.read(1), [1_000; 4]);
        }
        table.clear(1);
        owe(&table, 10_001, 5);
        assert_eq!((table.read(1), table.read(10_001)), ([0; 4], [5; 4]));
        table.change_all(|owing| owing.map(|until| until * 2));
        assert_eq!(table.read(10_001), [10; 4]);
    }

    #[test]
    fn who_owes_most_stays_in_either_of_two_sets() {
        let table = Table::<1>::new(3);
        let spent: Vec<u64> = (0..4).map(|_| random()).collect();
        spent.iter().for_each(|&key| owe(&table, key, 1_000));
        for _ in 0..10_000 {
            owe(&table, random(), 20);
        }
        assert!(spent.iter().all(|&key| table.read(key) == [1_000]));
        assert_eq!(table.owing(0), 2 * WAYS);
        table.clear(random());
        assert_eq!(table.owing(0), 2 * WAYS);
    }

    proptest! {
        /// So few that no set is ever full: then nobody is forgotten, whichever set a key went to.
        #[test]
        fn a_key_owes_what_it_owed_last(
            keys in prop::collection::vec(any::<u64>(), 5),
            steps in prop::collection::vec((0..5_usize, 0..4_u64, 0..9_u64), 1..200),
        ) {
            let (table, mut model) = (Table::<1>::new(4), HashMap::new());
            let mut now = 0;
            for (which, passed, owes) in steps {
                now += passed;
                let hash = keys[which];
                table.change(hash, now, |_| Ok::<_, ()>([now + owes])).unwrap();
                model.insert(hash, now + owes);
                for (&hash, &until) in &model {
                    prop_assert_eq!(table.read(hash), [until]);
                }
                let owing = model.values().filter(|&&until| until > now).count();
                prop_assert_eq!(table.owing(now), owing);
            }
        }
    }
}
