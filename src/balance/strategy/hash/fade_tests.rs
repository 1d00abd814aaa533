//! Fade-in over any sets: what newcomers get, and what they leave alone.

use std::{collections::HashSet, time::Duration};

use proptest::{prelude::*, sample};
use tokio::{runtime::Builder, time::advance};

use super::{
    super::Strategy,
    tests::{choose, endpoints},
    *,
};
use crate::{
    member::Member,
    rules::hash::FadeIn,
    time::{self, Instant},
};

pub(super) type Members = Vec<std::sync::Arc<Member>>;
pub(super) type ByNumber = ConsistentHash<fn(&u64) -> u64>;

/// Those of which the part of an endpoint depends on no other, but for a few places of the table.
const SCHEMES: [HashScheme; 4] = [
    HashScheme::Maglev { size: 2_039 },
    HashScheme::Nginx,
    HashScheme::Skipper { points: 100 },
    HashScheme::Rendezvous,
];
const KEYS: u64 = 300;
pub(super) const WINDOW: Duration = Duration::from_secs(32);

pub(super) fn by_number(scheme: HashScheme, fade_in: FadeIn) -> ByNumber {
    let key: fn(&u64) -> u64 = |number| *number;
    ConsistentHash::by_key(key).with_scheme(scheme).with_bounded_load(None).with_fade_in(fade_in)
}

/// A set that goes from one table to the next.
struct World<'a> {
    strategy: &'a ByNumber,
    table: ConsistentHashTable,
    members: Members,
}

impl<'a> World<'a> {
    fn new(strategy: &'a ByNumber, members: Members) -> Self {
        let mut world = Self { strategy, table: strategy.table(&[], None), members: Vec::new() };
        world.becomes(members);
        world
    }

    fn becomes(&mut self, members: Members) {
        self.table = self.strategy.table(&members, Some(&self.table));
        self.members = members;
    }

    fn with(&self, more: &Members) -> Members {
        let mut members = [&self.members[..], more].concat();
        members.sort_by(|one, other| one.key().cmp(other.key()));
        members
    }

    fn homes(&self) -> Vec<String> {
        let home = |key| choose(self.strategy, &self.table, &self.members, key);
        (0..KEYS).map(|key| self.members[home(key)].key().to_owned()).collect()
    }
}

pub(super) fn paused(
    test: impl Future<Output = Result<(), TestCaseError>>,
) -> Result<(), TestCaseError> {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
}

fn keys(of: &Members) -> HashSet<String> {
    of.iter().map(|member| member.key().to_owned()).collect()
}

fn since(start: Instant) -> Duration {
    time::now() - start
}

/// Members whose keys are in any order among each other.
pub(super) fn scattered(counts: [usize; 3], order: u64) -> [Members; 3] {
    let mut all = endpoints(1..counts.iter().sum::<usize>() + 1);
    all.sort_by_key(|member| crate::rules::hash::xxh64(member.key().as_bytes(), order));
    counts.map(|count| {
        let mut of: Members = all.drain(..count).collect();
        of.sort_by(|one, other| one.key().cmp(other.key()));
        of
    })
}

/// How many other keys may move, since the table is as small as that.
fn most_strayed(scheme: HashScheme) -> usize {
    if let HashScheme::Maglev { .. } = scheme { KEYS as usize / 10 } else { 0 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Beside it runs the same set without the second scale-up.
    #[test]
    fn a_second_scale_up_has_its_own_window_and_leaves_the_first_alone(
        scheme in sample::select(&SCHEMES[..]),
        counts in (2_usize..7, 1_usize..5, 1_usize..5),
        order: u64,
        exponent in 0.5..3.0,
        gap in 4_001_u64..31_999,
        steps in prop::collection::vec(0_u64..9_000, 1..8),
    ) {
        let fade_in = FadeIn { window: WINDOW, exponent };
        let strategy = by_number(scheme, fade_in);
        let [old, first, second] = scattered([counts.0, counts.1, counts.2], order);
        paused(async {
            let mut alone = World::new(&strategy, old.clone());
            let mut both = World::new(&strategy, old);
            advance(WINDOW).await;
            alone.becomes(alone.with(&first));
            both.becomes(both.with(&first));
            let first_at = time::now();
            advance(Duration::from_millis(gap)).await;
            both.becomes(both.with(&second));
            alone.becomes(alone.members.clone());
            let (second_at, second) = (time::now(), keys(&second));
            let at_last = World::new(&strategy, both.members.clone()).homes();
            prop_assert_eq!(both.homes(), alone.homes(), "it has nothing yet");
            let mut before = both.homes();
            for step in steps {
                advance(Duration::from_millis(step)).await;
                alone.becomes(alone.members.clone());
                both.becomes(both.members.clone());
                for (at, member) in both.members.iter().enumerate() {
                    let began = match member.key() {
                        key if second.contains(key) => second_at,
                        key if first.iter().any(|member| member.key() == key) => first_at,
                        _ => second_at - WINDOW,
                    };
                    let share = both.table.shares.of.get(at).copied().unwrap_or(1.0);
                    prop_assert_eq!(share, fade_in.share(since(began)), "{}", member.key());
                }
                let homes = both.homes();
                let mut strayed = 0;
                for (key, undisturbed) in alone.homes().into_iter().enumerate() {
                    let (home, last) = (&homes[key], &before[key]);
                    prop_assert!(*home == undisturbed || *home == at_last[key]);
                    strayed += usize::from(*home != undisturbed && !second.contains(home));
                    prop_assert!(home == last || !second.contains(last), "it stays moved");
                }
                prop_assert!(strayed <= most_strayed(scheme), "{strayed} beside");
                before = homes;
            }
            Ok(())
        })?;
    }

    #[test]
    fn one_that_leaves_is_gone_at_once_and_its_keys_alone_move(
        scheme in sample::select(&SCHEMES[..]),
        counts in (3_usize..8, 1_usize..5, 1_usize..5),
        order: u64,
        wait in 0_u64..40_000,
        leaves: sample::Index,
    ) {
        let strategy = by_number(scheme, FadeIn { window: WINDOW, exponent: 1.0 });
        let [old, first, second] = scattered([counts.0, counts.1, counts.2], order);
        paused(async {
            let mut world = World::new(&strategy, old);
            advance(WINDOW).await;
            world.becomes(world.with(&first));
            advance(Duration::from_secs(5)).await;
            world.becomes(world.with(&second));
            advance(Duration::from_millis(wait)).await;
            world.becomes(world.members.clone());
            let (before, mut left) = (world.homes(), world.members.clone());
            let gone = left.remove(leaves.index(left.len()));
            world.becomes(left);
            let mut strayed = 0;
            for (before, after) in before.into_iter().zip(world.homes()) {
                prop_assert_ne!(&*after, gone.key());
                strayed += usize::from(before != gone.key() && after != before);
            }
            prop_assert!(strayed <= most_strayed(scheme), "{strayed} beside");
            Ok(())
        })?;
    }

    #[test]
    fn shares_grow_in_many_steps_and_then_nothing_is_renewed(
        window in 100_u64..120_000,
        exponent in 0.5..4.0,
    ) {
        let fade_in = FadeIn { window: Duration::from_millis(window), exponent };
        let strategy = by_number(HashScheme::default(), fade_in);
        paused(async {
            let members = endpoints(1..4);
            let mut world = World::new(&strategy, members[..2].to_vec());
            advance(fade_in.window).await;
            world.becomes(members.clone());
            let (start, mut shares) = (time::now(), vec![world.table.shares.of[2]]);
            while let Some(after) = strategy.renew_after(&world.table) {
                advance(after).await;
                world.becomes(members.clone());
                shares.push(world.table.shares.of.get(2).copied().unwrap_or(1.0));
            }
            prop_assert!(shares.windows(2).all(|pair| pair[0] < pair[1]), "{shares:?}");
            prop_assert!(shares.len() > 20 && shares[0] == 0.0, "{shares:?}");
            prop_assert_eq!(shares.last(), Some(&1.0));
            prop_assert!(since(start) <= fade_in.window.mul_f64(1.1));
            Ok(())
        })?;
    }
}
