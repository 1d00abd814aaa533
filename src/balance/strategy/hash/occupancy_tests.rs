//! Bounded load, by what calls take rather than by how many there are at a moment.

use std::{sync::Arc, time::Duration};

use tokio::time::advance;

use super::{
    super::Strategy,
    tests::{choose, endpoints},
    *,
};
use crate::{
    member::{Flight, Member},
    rules::hash::BoundedLoad,
};

const MS: Duration = Duration::from_millis(1);

fn by(by: BoundedBy, scheme: HashScheme) -> ConsistentHash<fn(&u64) -> u64> {
    let key: fn(&u64) -> u64 = |number| *number;
    ConsistentHash::by_key(key)
        .with_scheme(scheme)
        .with_bounded_load(BoundedLoad::new(1.5))
        .with_bounded_by(by)
}

/// So many calls that wait.
fn calls(member: &Arc<Member>, count: usize) -> Vec<Flight> {
    (0..count).map(|_| Flight::begin_elsewhere(member.clone())).collect()
}

#[tokio::test(start_paused = true)]
async fn short_calls_in_bursts_stay_at_home_where_work_is_bounded() {
    for (measure, stays) in [(BoundedBy::InFlight, false), (BoundedBy::Occupancy, true)] {
        let (strategy, members) = (by(measure, HashScheme::default()), endpoints(1..6));
        let table = strategy.table(&members, None);
        let home = choose(&strategy, &table, &members, 7);
        for _ in 0..100 {
            let burst = calls(&members[home], 40);
            assert_eq!(choose(&strategy, &table, &members, 7) == home, stays, "{measure:?}");
            advance(MS).await;
            drop(burst);
            advance(MS * 49).await;
            strategy.watch(&table);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn work_beyond_the_bound_goes_on_and_comes_home_and_then_nothing_is_looked_at() {
    let schemes = [
        HashScheme::default(),
        HashScheme::Nginx,
        HashScheme::Skipper { points: 100 },
        HashScheme::Rendezvous,
    ];
    for scheme in schemes {
        let (strategy, members) = (by(BoundedBy::Occupancy, scheme), endpoints(1..11));
        let table = strategy.table(&members, None);
        assert_eq!(strategy.watch(&table), None, "no call yet");
        let home = choose(&strategy, &table, &members, 7);
        let (at_home, elsewhere) = (calls(&members[home], 30), calls(&members[(home + 1) % 10], 3));
        let next = || {
            let looked = strategy.watch(&table);
            (choose(&strategy, &table, &members, 7), looked)
        };
        let mut second = None;
        for step in 0..100 {
            advance(MS * 50).await;
            let (at, looked) = next();
            assert_eq!(looked, Some(MS * 50));
            if step > 20 {
                assert_ne!(at, home, "30 of 33 are above its 1.5 tenths");
                assert_eq!(*second.get_or_insert(at), at, "{scheme:?}: to the same");
            }
        }
        let busy = calls(&members[second.unwrap()], 20);
        for step in 0..100 {
            advance(MS * 50).await;
            if step > 20 {
                assert!(![home, second.unwrap()].contains(&next().0), "{scheme:?}: on and on");
            }
        }
        drop((busy, at_home, elsewhere));
        let mut quiet = 0;
        while next().0 != home {
            advance(MS * 50).await;
            quiet += 1;
        }
        assert!((10..150).contains(&quiet), "{quiet}: the average has fallen");
        let looks = (0..10_000).position(|_| strategy.watch(&table).is_none());
        assert!(looks.is_some_and(|looks| looks <= 200), "{looks:?}");
        assert_eq!(choose(&strategy, &table, &members, 7), home);
        assert!(strategy.watch(&table).is_some(), "it is looked at again");
    }
}

#[tokio::test(start_paused = true)]
async fn what_all_have_in_flight_is_known_to_the_next_look_and_by_choices_that_spill() {
    let (strategy, members) = (by(BoundedBy::InFlight, HashScheme::default()), endpoints(1..101));
    let table = strategy.table(&members, None);
    let home = choose(&strategy, &table, &members, 7);
    let at_home = calls(&members[home], 1);
    let all: Vec<_> = members.iter().flat_map(|member| calls(member, 3)).collect();
    // As the table was made there were none.
    let spilled = (0..1_000).find(|_| choose(&strategy, &table, &members, 7) == home);
    assert!(spilled.is_some_and(|choices| choices < 200), "one of a few counts: {spilled:?}");
    drop(at_home);
    drop(all);
    assert_eq!(strategy.watch(&table), Some(MS));
    let looks = (0..10_000).position(|_| strategy.watch(&table).is_none());
    assert!(looks.is_some_and(|looks| looks <= 100), "{looks:?}");
    let busy = calls(&members[home], 3);
    assert_ne!(choose(&strategy, &table, &members, 7), home, "3 are above 1.5 hundredths of 4");
    assert_eq!(strategy.watch(&table), Some(MS));
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_without_keys_takes_no_room_from_the_others() {
    for scheme in [HashScheme::default(), HashScheme::Skipper { points: 100 }] {
        let (strategy, members) = (by(BoundedBy::InFlight, scheme), endpoints(1..16));
        let first = strategy.table(&members[..5], Some(&strategy.table(&[], None)));
        let homes = || (0..300).map(|key| choose(&strategy, &first, &members[..5], key));
        // As much as each may have, or a call less.
        let _busy: Vec<_> = members[..5].iter().flat_map(|member| calls(member, 7)).collect();
        advance(Duration::from_secs(30)).await;
        let scaled_up = strategy.table(&members, Some(&first));
        for (key, home) in homes().enumerate() {
            assert_eq!(choose(&strategy, &scaled_up, &members, key as u64), home, "{scheme:?}");
        }
    }
}
