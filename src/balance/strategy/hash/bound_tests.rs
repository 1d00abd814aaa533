//! Bounded load while calls begin and end, and while endpoints fade in.

use std::{sync::Arc, time::Duration};

use proptest::{prelude::*, sample};
use tokio::time::advance;

use super::{
    super::{Strategy, tests::of},
    fade_tests::by_number,
    tests::{choose, endpoints},
    *,
};
use crate::{
    endpoint::Endpoint,
    member::{Flight, Member, Reason},
    rules::hash::{BoundedLoad, FadeIn, RingSize},
};

const SCHEMES: [HashScheme; 8] = [
    HashScheme::Maglev { size: 2_039 },
    HashScheme::Ring(RingSize {
        min: 1_024,
        max: 4_096,
        function: crate::rules::hash::HashFunction::XxHash64,
    }),
    HashScheme::Libketama,
    HashScheme::Libmemcached,
    HashScheme::Nginx,
    HashScheme::Skipper { points: 100 },
    HashScheme::Rendezvous,
    HashScheme::Modulo,
];

fn calls(member: &Arc<Member>, count: u32) -> impl Iterator<Item = Flight> {
    (0..count).map(|_| Flight::begin_elsewhere(member.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each call has a key, few of them, or ends one that is in flight.
    #[test]
    fn no_call_goes_where_there_is_more_than_the_bound_and_none_leaves_home_without_need(
        scheme in sample::select(&SCHEMES[..]),
        weights in prop::collection::vec(1_u32..5, 1..12),
        factor in 1.0..2.5,
        steps in prop::collection::vec((0_u64..12, any::<Option<sample::Index>>()), 1..150),
    ) {
        let bound = BoundedLoad::new(factor);
        let strategy = by_number(scheme, FadeIn::default()).with_bounded_load(bound);
        let unbounded = by_number(scheme, FadeIn::default());
        let members = of(weights.iter().enumerate().map(|(at, weight)| {
            Endpoint::new(format!("10.0.0.{at:02}:80")).unwrap().with_weight(*weight)
        }));
        let (table, homes) = (strategy.table(&members, None), unbounded.table(&members, None));
        let total: u32 = weights.iter().sum();
        let mut flights = Vec::new();
        for (key, ended) in steps {
            if let Some(index) = ended.filter(|_| !flights.is_empty()) {
                flights.swap_remove(index.index(flights.len()));
                strategy.watch(&table);
                continue;
            }
            let active = flights.len() as u64;
            let has_room = |at: usize| {
                let room = match scheme {
                    HashScheme::Skipper { .. } => bound.mean(active, members.len()),
                    _ => bound.slots(active, f64::from(weights[at]) / f64::from(total)).into(),
                };
                f64::from(members[at].in_flight()) <= room
            };
            let home = choose(&unbounded, &homes, &members, key);
            let chosen = choose(&strategy, &table, &members, key);
            prop_assert!(has_room(chosen), "{active} in flight, {} there", members[chosen].in_flight());
            prop_assert_eq!(chosen == home, has_room(home));
            prop_assert_eq!(choose(&strategy, &table, &members, key), chosen, "the same again");
            flights.extend(calls(&members[chosen], 1));
            strategy.watch(&table);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_a_newcomer_has_no_room_for_or_is_not_free_for_goes_where_it_was() {
    // Of Envoy's ring the others have other points, too, without some.
    for scheme in SCHEMES.into_iter().filter(|scheme| !matches!(scheme, HashScheme::Ring(_))) {
        let fade_in = FadeIn { window: Duration::from_secs(40), exponent: 1.0 };
        let strategy = by_number(scheme, fade_in).with_bounded_load(BoundedLoad::default());
        let all = endpoints(1..13);
        let old = strategy.table(&all[..8], Some(&strategy.table(&[], None)));
        advance(fade_in.window).await;
        let first = strategy.table(&all[..10], Some(&old));
        advance(Duration::from_secs(20)).await;
        let second = strategy.table(&all, Some(&first));
        advance(Duration::from_secs(10)).await;
        // The second wave has a quarter of its keys, which are at the first or the old now.
        let table = strategy.table(&all, Some(&second));
        let without = strategy.table(&all[..10], Some(&second));
        let home = |table, key| choose(&strategy, table, &all, key);
        let had = |key| choose(&strategy, &without, &all[..10], key);
        let moved: Vec<_> = (0..2_000).filter(|key| home(&table, *key) >= 10).collect();
        assert!(moved.len() > 20, "{scheme:?}: {}", moved.len());
        let were: Vec<_> = moved.iter().map(|key| had(*key)).collect();
        assert!(were.iter().any(|at| *at >= 8), "{scheme:?}: some were at the first wave");
        let all_go_back = |why: &str| {
            for (key, at) in moved.iter().zip(&were) {
                assert_eq!(home(&table, *key), *at, "{scheme:?}: {key}, {why}");
            }
        };
        let busy: Vec<_> = all[10..].iter().flat_map(|member| calls(member, 30)).collect();
        all_go_back("busy");
        drop(busy);
        let _out = [10, 11].map(|at: usize| {
            let veto = all[at].veto(Reason::Unhealthy);
            veto.raise();
            veto
        });
        all_go_back("not free");
    }
}
