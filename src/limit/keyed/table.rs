//! A table of fixed size: what the keys owe.

use crate::sync::atomic::{AtomicU64, Ordering, fence, give_way};

/// How many keys a set holds. With one number for each, that and the version fill 120 of the 128
/// bytes that a processor fetches in two lines.
const WAYS: usize = 7;

/// One set for so many of the keys that the table is made for. If so many owe at once, 2 in 100 find
/// their set full.
const KEYS_PER_SET: usize = 4;

/// Keys by their hash, each with `N` numbers: the moments until which it owes tokens.
///
/// Two keys with the same 64 bits of hash share a quota. Nobody who does not know the seed can look
/// for such a key, and by chance one comes upon any of 100,000 others once in 1.8e14 keys.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    sets: Box<[Set<N>]>,
}

/// A few keys, which share a lock.
///
/// The version is odd while somebody writes, which takes some nanoseconds and runs no code but what
/// is here. Who only looks writes nothing, and looks again if the version has changed.
#[derive(Debug)]
#[repr(C, align(128))]
struct Set<const N: usize> {
    version: AtomicU64,
    places: [Place<N>; WAYS],
}

/// The two belong together: mostly, the line that has the hash is all that is fetched.
#[derive(Debug)]
#[repr(C)]
struct Place<const N: usize> {
    hash: AtomicU64,
    owing: [AtomicU64; N],
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

    fn set(&self, hash: u64) -> &Set<N> {
        // The whole range of hashes onto that of the sets, without a division.
        let index = (u128::from(hash) * self.sets.len() as u128) >> 64;
        &self.sets[index as usize]
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
        let set = self.set(hash);
        let mut round = 0;
        loop {
            // Acquire, with the Release of `Writing::drop`: what was written before is seen.
            let version = set.version.load(Ordering::Acquire);
            if version % 2 == 0 {
                let place = set.find(hash);
                let owing = place.map_or([0; N], |place| set.load(place));
                match decide(&owing) {
                    Ok(owes) => {
                        // If nobody wrote since, what was decided on still holds.
                        if let Some(writing) = set.write(version) {
                            writing.put(place.unwrap_or_else(|| set.freest(now)), hash, owes);
                            return Ok(());
                        }
                    }
                    Err(unchanged) => {
                        // Acquire, with the Release fence of `write`: whoever saw one of the
                        // numbers written sees that somebody writes.
                        fence(Ordering::Acquire);
                        if set.version.load(Ordering::Relaxed) == version {
                            return Err(unchanged);
                        }
                    }
                }
            }
            give_way(round);
            round = round.saturating_add(1);
        }
    }

    /// Forgets the key.
    pub(super) fn clear(&self, hash: u64) {
        let _: Result<(), ()> = self.change(hash, 0, |_| Ok([0; N]));
    }

    /// Changes what each key owes.
    pub(super) fn change_all(&self, to: impl Fn([u64; N]) -> [u64; N]) {
        for set in &self.sets {
            let mut round = 0;
            loop {
                let version = set.version.load(Ordering::Relaxed);
                if let Some(writing) = (version % 2 == 0).then(|| set.write(version)).flatten() {
                    for place in 0..WAYS {
                        let hash = set.places[place].hash.load(Ordering::Relaxed);
                        writing.put(place, hash, to(set.load(place)));
                    }
                    break;
                }
                give_way(round);
                round = round.saturating_add(1);
            }
        }
    }

    /// How many keys owe at `now`, give or take those that change meanwhile.
    pub(super) fn owing(&self, now: u64) -> usize {
        let of_set = |set: &Set<N>| (0..WAYS).filter(|&place| set.owes_until(place) > now).count();
        self.sets.iter().map(of_set).sum()
    }
}

impl<const N: usize> Set<N> {
    fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            places: std::array::from_fn(|_| Place {
                hash: AtomicU64::new(0),
                owing: std::array::from_fn(|_| AtomicU64::new(0)),
            }),
        }
    }

    // A place that was never used has the hash zero and owes nothing. That is what a key with such a
    // hash may find, so there is no need to tell the two apart.

    #[inline]
    fn find(&self, hash: u64) -> Option<usize> {
        self.places.iter().position(|place| place.hash.load(Ordering::Relaxed) == hash)
    }

    #[inline]
    fn load(&self, place: usize) -> [u64; N] {
        std::array::from_fn(|index| self.places[place].owing[index].load(Ordering::Relaxed))
    }

    /// When the key at this place is as good as forgotten.
    fn owes_until(&self, place: usize) -> u64 {
        self.load(place).into_iter().max().unwrap_or(0)
    }

    /// The first place whose key owes nothing; else that of the key that owes least, so that a flood
    /// of new keys takes the places of its own, and never that of one who has spent its quota.
    #[inline(never)]
    fn freest(&self, now: u64) -> usize {
        let owes = |place: &usize| self.owes_until(*place).saturating_sub(now);
        (0..WAYS).min_by_key(owes).unwrap_or(0)
    }

    #[inline]
    fn write(&self, version: u64) -> Option<Writing<'_, N>> {
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
    version: u64,
}

impl<const N: usize> Writing<'_, N> {
    #[inline]
    fn put(&self, place: usize, hash: u64, owes: [u64; N]) {
        let place = &self.set.places[place];
        place.hash.store(hash, Ordering::Relaxed);
        for (number, owes) in place.owing.iter().zip(owes) {
            number.store(owes, Ordering::Relaxed);
        }
    }
}

impl<const N: usize> Drop for Writing<'_, N> {
    #[inline]
    fn drop(&mut self) {
        self.set.version.store(self.version + 2, Ordering::Release);
    }
}

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use std::sync::Arc;

    use super::*;
    use crate::limit::rate::{Decision, Quota};
    use loom::thread;

    /// One of two tokens, at one moment. The key is given at `hash`.
    fn take(table: &Table<1>, hash: u64, burst: u32) -> bool {
        let rule = Quota::per_second(10_000_000).burst(burst).rule();
        let taken = table.change(hash, 1_000, |&[tat]| match rule.decide(tat, 1_000, 1) {
            Decision::Allowed { new_tat } => Ok([new_tat]),
            Decision::Refused { .. } => Err(()),
        });
        taken.is_ok()
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

    /// A key that is taken of while another wants its place is there once, or not at all.
    #[test]
    fn loom_a_place_belongs_to_one_key() {
        loom::model(|| {
            let table = Arc::new(Table::<1>::new(1));
            // The first owes least, so its place is the one to be given away.
            for key in 1..=7 {
                assert!(take(&table, key, 5));
                assert!(key == 1 || take(&table, key, 5));
            }
            let other = table.clone();
            let thread = thread::spawn(move || take(&other, 8, 1));
            let taken = take(&table, 1, 2);
            assert!(taken && thread.join().unwrap());
            let set = table.set(0);
            let places = |key: u64| {
                let of = |place: &usize| set.places[*place].hash.load(Ordering::Relaxed) == key;
                (0..WAYS).filter(of).collect::<Vec<_>>()
            };
            assert!(places(1).len() <= 1 && places(8).len() <= 1);
            // Nobody has paid for another.
            for (key, tokens) in [(1, 2), (8, 1)] {
                for place in places(key) {
                    assert!(set.load(place)[0] <= 1_000 + 100 * tokens);
                }
            }
            assert!((2..=7).all(|key| places(key).len() == 1 || places(1).len() == 1));
        });
    }

    /// A key that has spent its quota stays while others come into a full set.
    #[test]
    fn loom_who_owes_most_is_not_put_out_by_others() {
        loom::model(|| {
            let table = Arc::new(Table::<1>::new(1));
            for key in 1..7 {
                assert!(take(&table, key, 5));
            }
            assert!(take(&table, 7, 2) && take(&table, 7, 2));
            let other = table.clone();
            let thread = thread::spawn(move || take(&other, 8, 5));
            assert!(!take(&table, 7, 2));
            assert!(thread.join().unwrap());
            assert!(!take(&table, 7, 2));
            assert_eq!(table.owing(1_000), WAYS);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::random;

    fn owe<const N: usize>(table: &Table<N>, hash: u64, until: u64) {
        table.change(hash, 0, |_| Ok::<_, ()>([until; N])).unwrap();
    }

    #[test]
    fn a_set_is_what_a_processor_fetches() {
        assert_eq!((size_of::<Set<1>>(), align_of::<Set<1>>()), (128, 128));
        assert_eq!(size_of::<Set<4>>(), 384);
    }

    #[test]
    fn no_number_of_keys_makes_it_grow() {
        let table = Table::<1>::new(1_000);
        let bytes = table.bytes();
        for _ in 0..100_000 {
            owe(&table, random(), 10);
        }
        assert_eq!((table.bytes(), bytes), (250 * 128, 250 * 128));
        assert_eq!(table.owing(0), 250 * WAYS);
        assert_eq!(table.owing(10), 0);
    }

    #[test]
    fn as_many_as_it_is_made_for_have_a_place() {
        let table = Table::<1>::new(10_000);
        let keys: Vec<u64> = (0..10_000).map(|_| random()).collect();
        keys.iter().for_each(|&key| owe(&table, key, 10));
        let found = keys.iter().filter(|&&key| table.read(key) == [10]).count();
        assert!(found > 9_600, "{found}");
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
}
