//! The table, in every order in which threads may run.

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
    let is_second =
        move |key: &u64| std::ptr::eq(table.second_set(*key), &raw const table.sets[second]);
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

/// It comes into the second set, since the first is full; or, as one that comes a moment later
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
        // Another is not paid for.
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
