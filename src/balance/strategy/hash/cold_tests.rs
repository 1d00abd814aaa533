//! What comes while the others have yet to learn their keys: it takes none from one that knows it, and has its part
//! of the rest at once.

use std::{sync::Arc, time::Duration};

use proptest::{prelude::*, sample};
use tokio::time::advance;

use super::{
    super::{Strategy, tests::of},
    fade_tests::{Members, by_number, paused, scattered},
    tests::{choose, endpoints},
    waves::STEPS,
    *,
};
use crate::{
    endpoint::Endpoint,
    member::{Flight, Member, Reason},
    rules::hash::FadeIn,
};

const SCHEMES: [HashScheme; 4] = [
    HashScheme::Maglev { size: 2_039 },
    HashScheme::Nginx,
    HashScheme::Skipper { points: 100 },
    HashScheme::Rendezvous,
];
const WINDOW: Duration = Duration::from_secs(32);
const LINEAR: FadeIn = FadeIn { window: WINDOW, exponent: 1.0 };

fn homes<'m>(
    strategy: &ConsistentHash<fn(&u64) -> u64>,
    table: &ConsistentHashTable,
    members: &'m Members,
) -> Vec<&'m str> {
    (0..1_000).map(|key| members[choose(strategy, table, members, key)].key()).collect()
}

/// How much less than its own at last `member` has of the keys, from 0 to 1.
fn lacks(now: &[&str], at_last: &[&str], member: &Member) -> f64 {
    let own: Vec<_> = (0..now.len()).filter(|at| at_last[*at] == member.key()).collect();
    let elsewhere = own.iter().filter(|at| now[**at] != member.key()).count();
    elsewhere as f64 / own.len() as f64
}

#[tokio::test(start_paused = true)]
async fn the_endpoints_of_a_set_that_comes_one_by_one_share_its_keys_at_once() {
    let pause = Duration::from_millis(25);
    for scheme in SCHEMES {
        let strategy = by_number(scheme, FadeIn::default());
        let all = endpoints(1..41);
        let mut table = strategy.table(&[], None);
        for turn in ["first", "again, after there was none"] {
            for count in 1..21 {
                let members = all[20 - count..20].to_vec();
                table = strategy.table(&members, Some(&table));
                let fresh = strategy.table(&members, None);
                let (now, at_last) =
                    (homes(&strategy, &table, &members), homes(&strategy, &fresh, &members));
                assert!(now == at_last, "{scheme:?}: {turn}, {count}");
                assert_eq!(strategy.renew_after(&table), None);
                advance(pause).await;
            }
            table = strategy.table(&[], Some(&table));
            advance(Duration::from_secs(100)).await;
        }
        // Others take the place of all at once, and then more come.
        table = strategy.table(&all[..20], Some(&table));
        advance(Duration::from_secs(100)).await;
        table = strategy.table(&all[20..21], Some(&table));
        advance(pause).await;
        let members = all[20..].to_vec();
        table = strategy.table(&members, Some(&table));
        let fresh = strategy.table(&members, None);
        assert_eq!(homes(&strategy, &table, &members), homes(&strategy, &fresh, &members));
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_the_first_call_finds_know_their_keys() {
    for scheme in SCHEMES {
        let strategy = by_number(scheme, LINEAR);
        let all = endpoints(1..6);
        let table = strategy.table(&all[..4], Some(&strategy.table(&[], None)));
        drop(Flight::begin_elsewhere(all[0].clone()));
        let mut table = strategy.table(&all, Some(&table));
        let fresh = strategy.table(&all, None);
        let at_last = homes(&strategy, &fresh, &all);
        let lack = |table: &_| lacks(&homes(&strategy, table, &all), &at_last, &all[4]);
        assert_eq!(lack(&table), 1.0, "{scheme:?}");
        advance(WINDOW / 2).await;
        table = strategy.table(&all, Some(&table));
        assert!((0.3..0.7).contains(&lack(&table)), "{scheme:?}: {}", lack(&table));
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_for_others_that_have_left_has_its_part_of_their_keys_at_once() {
    for scheme in SCHEMES {
        let strategy = by_number(scheme, FadeIn::default());
        let all = endpoints(1..41);
        let (old, new) = (all[..20].to_vec(), all[19..].to_vec());
        let warm = strategy.table(&old, Some(&strategy.table(&[], None)));
        advance(Duration::from_secs(100)).await;
        let warm = strategy.table(&old, Some(&warm));
        let fresh = strategy.table(&new, None);
        let at_last = homes(&strategy, &fresh, &new);
        let lack = |table: &ConsistentHashTable| {
            let now = homes(&strategy, table, &new);
            new[1..].iter().map(|member| lacks(&now, &at_last, member)).sum::<f64>() / 20.0
        };
        // One of 20 is left, and knows a twentieth.
        let replaced = strategy.table(&new, Some(&warm));
        assert!(lack(&replaced) < 0.1, "{scheme:?}: {}", lack(&replaced));
        // A second later that one knows a little more.
        let left = strategy.table(&all[19..20], Some(&warm));
        advance(Duration::from_secs(1)).await;
        let replaced = strategy.table(&new, Some(&left));
        assert!((0.05..0.25).contains(&lack(&replaced)), "{scheme:?}: {}", lack(&replaced));
        // Once that one knows all, there is something to protect.
        advance(Duration::from_secs(11)).await;
        let left = strategy.table(&all[19..20], Some(&left));
        let replaced = strategy.table(&new, Some(&left));
        assert_eq!(lack(&replaced), 1.0, "{scheme:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_window_begins_once_calls_can_go_there() {
    for scheme in SCHEMES {
        let strategy = by_number(scheme, LINEAR);
        let endpoint = |at: usize| {
            Endpoint::new(format!("10.0.0.{at:02}:80")).unwrap().with_weight(u32::from(at != 9))
        };
        let all = of((0..10).map(endpoint));
        let out = all[8].veto(Reason::Unhealthy);
        out.raise();
        let old = all[..8].to_vec();
        let mut table = strategy.table(&old, Some(&strategy.table(&[], None)));
        advance(WINDOW).await;
        table = strategy.table_among(&old, &all, Some(&table));
        advance(WINDOW * 2).await;
        table = strategy.table_among(&old, &all, Some(&table));
        assert_eq!(strategy.renew_after(&table), None, "none is to be seen");
        // The first is well now, and the second has a weight.
        out.clear();
        all[9].set_own_weight(Some(1));
        table = strategy.table(&all, Some(&table));
        let moved = |table: &_| {
            let homes = homes(&strategy, table, &all);
            [8, 9].map(|at: usize| homes.iter().filter(|home| **home == all[at].key()).count())
        };
        assert_eq!(moved(&table), [0, 0], "{scheme:?}");
        advance(WINDOW / 2).await;
        table = strategy.table(&all, Some(&table));
        assert!(moved(&table).iter().all(|count| (25..75).contains(count)), "{scheme:?}");
        // What was of use before comes back to its keys.
        table = strategy.table_among(&old, &all, Some(&table));
        advance(WINDOW).await;
        table = strategy.table(&all, Some(&table));
        assert!(moved(&table).iter().all(|count| *count > 60), "{scheme:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_makes_no_newcomer_of_another_whatever_their_keys() {
    let strategy = by_number(HashScheme::default(), LINEAR);
    let endpoint = |address: &str| Endpoint::new(address).unwrap();
    // Those with keys of their own come first, by what they are, and last by their keys.
    let all = of([
        endpoint("a:1").with_key("y"),
        endpoint("a:2").with_key("z"),
        endpoint("a:3"),
        endpoint("a:4"),
    ]
    .into_iter());
    assert!(all.is_sorted_by_key(|member| member.identity().clone()));
    let table = strategy.table(&all, Some(&strategy.table(&[], None)));
    advance(WINDOW * 2).await;
    let left = [&all[..1], &all[2..]].concat();
    let table = strategy.table(&left, Some(&table));
    assert_eq!(strategy.renew_after(&table), None);
}

#[tokio::test(start_paused = true)]
async fn the_first_newcomer_keeps_the_keys_of_those_that_have_left_when_another_comes() {
    for scheme in SCHEMES {
        let strategy = by_number(scheme, FadeIn::default());
        let all = endpoints(1..4);
        let mut table = strategy.table(&all[..1], Some(&strategy.table(&[], None)));
        advance(Duration::from_secs(100)).await;
        table = strategy.table(&all[..2], Some(&table));
        advance(Duration::from_secs(1)).await;
        table = strategy.table(&all[1..2], Some(&table));
        advance(Duration::from_secs(1)).await;
        table = strategy.table(&all[1..], Some(&table));
        // It has yet to learn nearly all, so each has its part.
        let members = all[1..].to_vec();
        let fresh = strategy.table(&members, None);
        let (now, at_last) =
            (homes(&strategy, &table, &members), homes(&strategy, &fresh, &members));
        assert_eq!(lacks(&now, &at_last, &all[1]), 0.0, "{scheme:?}");
        let lacks = lacks(&now, &at_last, &all[2]);
        assert!((0.01..0.3).contains(&lacks), "{scheme:?}: {lacks}");
    }
}

#[tokio::test(start_paused = true)]
async fn however_many_come_there_are_few_waves() {
    let strategy = by_number(SCHEMES[0], FadeIn::default());
    let mut all = endpoints(1..121);
    all.sort_by(|one, other| one.identity().cmp(other.identity()));
    let mut table = strategy.table(&all[..2], Some(&strategy.table(&[], None)));
    for (wait, from) in [(100, 3), (1, 61)] {
        advance(Duration::from_secs(wait)).await;
        for count in from..from + 60 {
            // Others leave meanwhile, so that there is less to protect.
            let first = if from > 3 { count - 30 } else { 0 };
            table = strategy.table(&all[first..count.min(120)], Some(&table));
            assert!(table.shares.waves.len() <= 9, "{}", table.shares.waves.len());
            advance(Duration::from_millis(500)).await;
        }
    }
}

/// What each member has and knows of its keys, in small steps of time.
struct Naive {
    exponent: f64,
    /// How far it is on its curve, from 0 to 1, and what it knows.
    of: Vec<(Arc<Member>, f64, f64)>,
}

impl Naive {
    fn has(&self, far: f64) -> f64 {
        far.powf(self.exponent)
    }

    fn wait(&mut self, millis: u64) {
        let (step, exponent) = (1.0 / WINDOW.as_millis() as f64, self.exponent);
        for _ in 0..millis {
            for (_, far, knows) in &mut self.of {
                *far = (*far + step).min(1.0);
                *knows = (*knows + step * exponent).min(far.powf(exponent));
            }
        }
    }

    /// How far one that comes now is to be.
    fn becomes(&mut self, members: &Members) -> f64 {
        let all: f64 = self.of.iter().map(|(_, far, _)| self.has(*far)).sum();
        let before = self.of.len();
        self.of.retain(|(member, ..)| members.iter().any(|of| Arc::ptr_eq(of, member)));
        let known: f64 = self.of.iter().map(|(.., knows)| knows).sum();
        let had: f64 = self.of.iter().map(|(_, far, _)| self.has(*far)).sum();
        if self.of.len() < before {
            self.of.iter_mut().for_each(|(.., knows)| *knows *= had / all);
        }
        let unknown = 1.0 - if all > 0.0 { known / all } else { 0.0 };
        unknown.max(0.0).powf(1.0 / self.exponent)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_newcomer_has_at_once_what_none_knows(
        scheme in sample::select(&SCHEMES[..]),
        exponent in sample::select(vec![1.0, 1.5, 2.5]),
        order: u64,
        steps in prop::collection::vec((0_u64..20_000, 0_usize..6, 0_usize..6), 2..10),
    ) {
        let strategy = by_number(scheme, FadeIn { window: WINDOW, exponent });
        let [mut spare, ..] = scattered([60, 0, 0], order);
        paused(async {
            let mut table = strategy.table(&[], None);
            let (mut members, mut naive) = (Members::new(), Naive { exponent, of: Vec::new() });
            for (wait, joins, leaves) in steps {
                advance(Duration::from_millis(wait)).await;
                naive.wait(wait);
                members.drain(..leaves.min(members.len()));
                let joined = spare.split_off(spare.len().saturating_sub(joins));
                members.extend(joined.iter().cloned());
                members.sort_by(|one, other| one.key().cmp(other.key()));
                let expected = naive.becomes(&members);
                table = strategy.table(&members, Some(&table));
                let is_alone = naive.of.is_empty();
                for (at, member) in members.iter().enumerate() {
                    let share = table.shares.of.get(at).copied().unwrap_or(1.0);
                    let far = share.powf(1.0 / exponent);
                    if joined.iter().any(|of| Arc::ptr_eq(of, member)) {
                        // Two waves that are about as far are one.
                        let near = (far - expected).abs() <= 1.0 / 8.0 + 1e-2;
                        let is_over = far == 1.0 && expected > 1.0 - 1.01 / f64::from(STEPS);
                        prop_assert!(near || is_over || is_alone, "{far}, not {expected}");
                        prop_assert!(!is_alone || far == 1.0);
                        naive.of.push((member.clone(), far, 0.0));
                    }
                    // From now on by what it is.
                    let of = naive.of.iter_mut().find(|(of, ..)| Arc::ptr_eq(of, member));
                    let of = of.unwrap();
                    let is_first = far == 1.0 && of.1 < 1.0;
                    prop_assert!(is_first || (of.1 - far).abs() < 1e-2, "{} of {far}", of.1);
                    of.1 = far;
                }
            }
            Ok(())
        })?;
    }
}
