//! Whatever happens to a set, and in whatever order: only the keys of what it happens to move.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::{prelude::*, sample, strategy::Strategy as _};
use tokio::time::advance;

use super::{
    super::Strategy,
    fade_tests::{ByNumber, Members, WINDOW, by_number, paused, scattered},
    tests::choose,
    waves::has_all,
    *,
};
use crate::{member::Member, rules::hash::FadeIn, time::Instant};

/// Those of which the part of an endpoint depends on no other.
const SCHEMES: [HashScheme; 4] = [
    HashScheme::Libmemcached,
    HashScheme::Nginx,
    HashScheme::Skipper { points: 100 },
    HashScheme::Rendezvous,
];
const KEYS: u64 = 200;
/// Longer than what joins counts as one wave with what joined before.
const APART: Duration = Duration::from_millis(4_001);

#[derive(Debug, Clone)]
enum Event {
    Join(usize),
    Leave(sample::Index),
    GoesOut(sample::Index),
    ComesBack(sample::Index),
    Wait(u64),
}

fn event() -> impl proptest::strategy::Strategy<Value = Event> {
    prop_oneof![
        (1_usize..4).prop_map(Event::Join),
        any::<sample::Index>().prop_map(Event::Leave),
        any::<sample::Index>().prop_map(Event::GoesOut),
        any::<sample::Index>().prop_map(Event::ComesBack),
        (0_u64..12_000).prop_map(Event::Wait),
    ]
}

/// A set, some of which are out of use.
struct World<'a> {
    strategy: &'a ByNumber,
    table: ConsistentHashTable,
    all: Members,
    out: Members,
}

fn is_in(members: &Members, member: &Arc<Member>) -> bool {
    members.iter().any(|of| Arc::ptr_eq(of, member))
}

impl World<'_> {
    fn used(&self) -> Members {
        self.all.iter().filter(|member| !is_in(&self.out, member)).cloned().collect()
    }

    fn renew(&mut self) {
        self.table = self.strategy.table_among(&self.used(), &self.all, Some(&self.table));
    }

    /// The endpoint of each key.
    fn homes(&self, table: &ConsistentHashTable) -> Vec<Arc<Member>> {
        let used = self.used();
        (0..KEYS).map(|key| used[choose(self.strategy, table, &used, key)].clone()).collect()
    }

    /// When each that is in use has all of its keys.
    fn has_all(&self) -> BTreeMap<String, Option<Instant>> {
        let used = self.used();
        let has_all = has_all(&self.table.waves, &used);
        used.iter().map(|member| member.key().to_owned()).zip(has_all).collect()
    }

    /// Those whose keys may leave, and those that keys may come to; `None` is nothing that was to be seen.
    fn happens(&mut self, event: Event, spare: &mut Members) -> Option<(Members, Members)> {
        let used = self.used();
        match event {
            Event::Join(count) => {
                let joined = spare.split_off(spare.len().saturating_sub(count));
                self.all.extend(joined.iter().cloned());
                self.all.sort_by(|one, other| one.key().cmp(other.key()));
                Some((used, joined))
            }
            Event::Leave(index) => {
                let gone = self.all.remove(index.index(self.all.len()));
                if self.used().is_empty() {
                    self.all.push(gone);
                    self.all.sort_by(|one, other| one.key().cmp(other.key()));
                    return None;
                }
                self.out.retain(|member| !Arc::ptr_eq(member, &gone));
                Some((vec![gone], used))
            }
            Event::GoesOut(index) if used.len() > 1 => {
                let out = used[index.index(used.len())].clone();
                self.out.push(out.clone());
                Some((vec![out], used))
            }
            Event::ComesBack(index) if !self.out.is_empty() => {
                let back = self.out.remove(index.index(self.out.len()));
                Some((used, vec![back]))
            }
            _ => None,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn only_the_keys_of_what_changes_move_and_at_last_all_are_at_their_final_place(
        scheme in sample::select(&SCHEMES[..]),
        count in 1_usize..4,
        order: u64,
        exponent in 0.5..3.0,
        events in prop::collection::vec(event(), 1..16),
    ) {
        let strategy = by_number(scheme, FadeIn { window: WINDOW, exponent });
        let [all, mut spare, _] = scattered([count, 18, 0], order);
        paused(async {
            let table = strategy.table(&all, Some(&strategy.table(&[], None)));
            let mut world = World { strategy: &strategy, table, all, out: Vec::new() };
            for event in events {
                let told = format!("{event:?}");
                let wait = match event {
                    Event::Wait(millis) => Duration::from_millis(millis),
                    Event::Join(_) => APART,
                    _ => Duration::ZERO,
                };
                let (before, has_all) = (world.homes(&world.table), world.has_all());
                advance(wait).await;
                world.renew();
                let waited = world.homes(&world.table);
                for (from, to) in before.iter().zip(&waited).filter(|(a, b)| !Arc::ptr_eq(a, b)) {
                    let (left, joined) = (has_all[from.key()], has_all[to.key()]);
                    prop_assert!(joined > left, "{told}: only to what came later");
                }
                let Some((from, to)) = world.happens(event, &mut spare) else { continue };
                world.renew();
                let moved = waited.into_iter().zip(world.homes(&world.table));
                for (before, after) in moved.filter(|(a, b)| !Arc::ptr_eq(a, b)) {
                    let may = is_in(&from, &before) && is_in(&to, &after);
                    prop_assert!(may, "{told}: from {} to {}", before.key(), after.key());
                }
            }
            advance(WINDOW * 2).await;
            world.renew();
            let fresh = strategy.table_among(&world.used(), &world.all, None);
            for (one, other) in world.homes(&world.table).iter().zip(world.homes(&fresh)) {
                prop_assert_eq!(one.key(), other.key());
            }
            prop_assert_eq!(strategy.renew_after(&world.table), None);
            Ok(())
        })?;
    }
}
