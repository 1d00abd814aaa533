//! What the table promises.

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

#[test]
fn where_both_sets_are_full_the_one_that_owes_less_makes_room() {
    let table = Table::<1>::new(3);
    // Keys by their first and second set.
    let keys = |first: usize, second: usize| {
        let is = move |table: &Table<1>, hash: u64| {
            std::ptr::eq(table.set(hash), &raw const table.sets[first])
                && std::ptr::eq(table.second_set(hash), &raw const table.sets[second])
        };
        let table = &table;
        (1..).map(move |key: u64| key | (first as u64) << 63).filter(move |&key| is(table, key))
    };
    let spent: Vec<u64> = keys(0, 0).take(WAYS).collect();
    spent.iter().for_each(|&key| owe(&table, key, 1_000));
    keys(1, 1).take(WAYS).for_each(|key| owe(&table, key, 20));
    for new in keys(0, 1).take(20).chain(keys(1, 0).take(20)) {
        owe(&table, new, 20);
        assert!(spent.iter().all(|&key| table.read(key) == [1_000]));
        assert_eq!(table.read(new), [20]);
    }
}

proptest! {
    /// So few that no set is ever full: then none is forgotten, whichever set a key went to.
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
