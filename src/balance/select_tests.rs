use proptest::prelude::*;

use super::*;

const OK: u64 = 0;
const SICK: u64 = 1;
const OPEN: u64 = 1 << 16;
const BUSY: u64 = 1 << 32;
const DRAINING: u64 = Reason::Draining.bits();

/// The tiers of a priority.
const P0: u32 = 0;
const P0_WARNS: u32 = 1;
const P1: u32 = 2;
const P2: u32 = 4;

fn rule(panic_percent: u32) -> SelectRule {
    SelectRule {
        priorities: Priorities { panic_percent, ..Priorities::default() },
        ..SelectRule::default()
    }
}

fn candidacies(of: &[(u64, u32, u32)]) -> Vec<Candidacy> {
    let candidacy = |&(word, tier, weight): &_| Candidacy { word, tier, weight, was_good: false };
    of.iter().map(candidacy).collect()
}

fn selected(of: &[(u64, u32, u32)], threshold: u32) -> Selection {
    Selector::default().select(&rule(threshold), &candidacies(of), Duration::ZERO)
}

fn alike(words: &[u64]) -> Selection {
    selected(&words.iter().map(|&word| (word, P0, 1)).collect::<Vec<_>>(), 50)
}

/// The load of each share in percent, and its candidates.
fn shares(selection: &Selection) -> Vec<(u32, Vec<u32>)> {
    let shares = selection.shares.iter();
    shares.map(|share| ((share.load * 100.0).round() as u32, share.candidates.clone())).collect()
}

fn candidates(selection: &Selection) -> Vec<u32> {
    assert!(selection.shares.len() <= 1, "{selection:?}");
    selection.shares.iter().flat_map(|share| share.candidates.clone()).collect()
}

fn is_panic(selection: &Selection) -> bool {
    selection.shares.iter().any(|share| share.panic)
}

#[test]
fn those_that_nothing_bars() {
    assert_eq!(candidates(&alike(&[OK, SICK, OK, BUSY])), [0, 2, 3]);
    assert_eq!(candidates(&alike(&[OK, OPEN, DRAINING])), [0]);
}

#[test]
fn a_panic_ignores_health_and_nothing_else() {
    let panic = alike(&[OK, SICK, SICK, OPEN, DRAINING]);
    assert_eq!((candidates(&panic), is_panic(&panic)), (vec![0, 1, 2], true));
    let half = alike(&[OK, SICK]);
    assert_eq!((candidates(&half), is_panic(&half)), (vec![0], false));
    assert!(candidates(&selected(&[(SICK, P0, 1)], 0)).is_empty());
}

#[test]
fn a_draining_member_does_not_count_towards_a_panic() {
    assert_eq!(candidates(&alike(&[OK, SICK, DRAINING, DRAINING])), [0]);
}

#[test]
fn the_next_priority_comes_before_a_panic() {
    let selection = selected(&[(SICK, P0, 1), (SICK, P0, 1), (OK, P1, 1)], 50);
    assert_eq!((candidates(&selection), is_panic(&selection)), (vec![2], false));
}

#[test]
fn what_a_priority_cannot_carry_goes_to_the_next() {
    // 1.4 of a half is 70.
    let half = selected(&[(OK, P0, 1), (SICK, P0, 1), (OK, P1, 1)], 50);
    assert_eq!(shares(&half), [(70, vec![0]), (30, vec![2])]);
    let three =
        selected(&[(OK, P0, 1), (SICK, P0, 1), (SICK, P0, 1), (SICK, P0, 1), (OK, P2, 1)], 50);
    assert_eq!(shares(&three), [(35, vec![0]), (65, vec![4])]);
}

#[test]
fn those_that_warn_carry_what_the_others_cannot() {
    let warn = |well: usize, warns: usize, sick: usize| {
        let mut of = vec![(OK, P0, 1); well];
        of.extend(vec![(OK, P0_WARNS, 1); warns]);
        of.extend(vec![(SICK, P0, 1); sick]);
        shares(&selected(&of, 50)).into_iter().map(|(load, _)| load).collect::<Vec<_>>()
    };
    // The tables of Envoy.
    assert_eq!(warn(71, 29, 0), [99, 1]);
    assert_eq!(warn(25, 65, 10), [35, 65]);
    assert_eq!(warn(80, 20, 0), [100]);
}

#[test]
fn the_others_are_a_reserve_as_far_as_nothing_bars_them() {
    let all_well =
        selected(&[(OK, P2, 1), (SICK, P1, 1), (OK, P1, 0), (OK, P1, 1), (OK, P0, 1)], 50);
    assert_eq!((candidates(&all_well), all_well.reserve), (vec![4], vec![(4, 3), (8, 0)]));
    let alone = alike(&[OK, SICK]);
    assert!(alone.reserve.is_empty());
}

#[test]
fn in_a_total_panic_load_is_split_by_hosts() {
    let of = [(SICK, P0, 1), (SICK, P1, 1), (SICK, P1, 1), (OK, P1, 1)];
    let panic = selected(&of, 50);
    assert_eq!(shares(&panic), [(25, vec![0]), (75, vec![1, 2, 3])]);
    assert!(is_panic(&panic));
    // A priority without anybody to call has no share.
    let panic = selected(&[(OPEN, P0, 1), (SICK, P1, 1)], 50);
    assert_eq!(candidates(&panic), [1]);
}

#[test]
fn a_panic_may_call_those_that_were_well_or_nobody() {
    let mut selector = Selector::default();
    let mut of = candidacies(&[(OK, P0, 1), (OK, P0, 1), (SICK, P0, 1), (SICK, P0, 1)]);
    let mut look = |of: &mut Vec<Candidacy>, panic_mode| {
        let rule = SelectRule { panic_mode, ..rule(50) };
        let selection = selector.select(&rule, of, Duration::ZERO);
        for (of, &was_good) in of.iter_mut().zip(&selection.was_good) {
            of.was_good = was_good;
        }
        candidates(&selection)
    };
    assert_eq!(look(&mut of, PanicMode::LastKnownGood), [0, 1]);
    of[0].word = SICK;
    assert_eq!(look(&mut of, PanicMode::LastKnownGood), [0, 1], "it was well");
    of[1].word = SICK;
    assert_eq!(look(&mut of, PanicMode::LastKnownGood), [0, 1]);
    assert_eq!(look(&mut of, PanicMode::All), [0, 1, 2, 3]);
    assert!(look(&mut of, PanicMode::Fail).is_empty());
    let mut unknown = candidacies(&[(SICK, P0, 1); 2]);
    assert_eq!(look(&mut unknown, PanicMode::LastKnownGood), [0, 1], "none was");
}

#[test]
fn load_leaves_at_once_and_comes_back_slowly() {
    let mut selector = Selector::default();
    let rule = SelectRule { fail_back: Some(FailBackRule::default()), ..rule(50) };
    let mut at = |word, seconds| {
        let of = candidacies(&[(word, P0, 1), (OK, P1, 1)]);
        let selection = selector.select(&rule, &of, Duration::from_secs(seconds));
        (shares(&selection), selection.is_moving)
    };
    let (first, second) = ((100, vec![0]), (100, vec![1]));
    assert_eq!(at(OK, 0), (vec![first.clone()], false));
    assert_eq!(at(SICK, 1), (vec![second.clone()], false));
    assert_eq!(at(OK, 2), (vec![second], true));
    assert_eq!(at(OK, 13), (vec![(25, vec![0]), (75, vec![1])], true));
    assert_eq!(at(OK, 16), (vec![first], false));
}

#[test]
fn weight_zero_gets_nothing_unless_all_have_it() {
    assert_eq!(candidates(&selected(&[(OK, P0, 0), (OK, P0, 2)], 50)), [1]);
    assert_eq!(candidates(&selected(&[(OK, P0, 0), (SICK, P0, 2)], 50)), [0]);
}

#[test]
fn a_priority_where_all_weigh_nothing_carries_nothing() {
    let off = [(OK, P0, 0), (OK, P0, 0), (OK, P1, 1)];
    let all_to_p1 = selected(&off, 50);
    assert_eq!((shares(&all_to_p1), all_to_p1.reserve), (vec![(100, vec![2])], vec![]));
    // They do not count as healthy either: of those that do, half are.
    let half = selected(&[(OK, P0, 1), (SICK, P0, 1), (OK, P0, 0), (OK, P1, 1)], 50);
    assert_eq!(shares(&half), [(70, vec![0]), (30, vec![3])]);
    // Nothing else is well.
    let rest = selected(&[(OK, P0, 0), (OK, P0, 0), (SICK, P1, 1)], 50);
    assert_eq!(shares(&rest), [(100, vec![0, 1])]);
}

#[test]
fn a_priority_that_comes_and_goes_gets_its_load_back_slowly() {
    let mut selector = Selector::default();
    let rule = SelectRule { fail_back: Some(FailBackRule::default()), ..rule(50) };
    let (first, standby, last) = ((OK, P0, 1), (OK, P1, 1), (OK, P2, 1));
    let mut at = |of: &[_], seconds| {
        let now = Duration::from_secs(seconds);
        let selection = selector.select(&rule, &candidacies(of), now);
        (shares(&selection), selection.is_moving)
    };
    assert_eq!(at(&[first, standby], 0).0, [(100, vec![0])]);
    assert_eq!(at(&[standby], 1).0, [(100, vec![0])]);
    assert_eq!(at(&[first, standby], 2), (vec![(100, vec![1])], true));
    // Another that joins does not end that.
    assert_eq!(at(&[first, standby, last], 13), (vec![(25, vec![0]), (75, vec![1])], true));
    assert_eq!(at(&[first, standby], 16), (vec![(100, vec![0])], false));
}

#[test]
fn the_outage_says_what_bars_them() {
    assert_eq!(alike(&[]).outage, Kind::NoEndpoints);
    assert_eq!(alike(&[OPEN, OPEN, DRAINING]).outage, Kind::CircuitOpen);
    assert_eq!(alike(&[OPEN, SICK]).outage, Kind::AllEndpointsDown);
    assert_eq!(alike(&[DRAINING]).outage, Kind::AllEndpointsDown);
}

proptest! {
    #[test]
    fn nobody_that_is_excluded_or_open_is_ever_chosen(
        of in prop::collection::vec(
            (prop::sample::select(vec![OK, SICK, OPEN, BUSY, DRAINING, SICK | OPEN]), 0_u32..6, 0_u32..3),
            0..12,
        ),
        threshold in 0_u32..=100,
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..20), 0..6),
    ) {
        let mut selector = Selector::default();
        let rule = SelectRule { fail_back: Some(FailBackRule::default()), ..rule(threshold) };
        let (mut of, mut now) = (candidacies(&of), Duration::ZERO);
        for (flip, seconds) in steps {
            let selection = selector.select(&rule, &of, now);
            for share in &selection.shares {
                for &index in &share.candidates {
                    let word = of[index as usize].word;
                    prop_assert_eq!(word & (OPEN | DRAINING), 0);
                    prop_assert!(word & SICK == 0 || share.panic);
                }
            }
            // Each that is well gets calls, or stands by.
            let chosen = || selection.shares.iter().flat_map(|share| &share.candidates);
            let any_sound = of.iter().any(|of| of.word & !BUSY == OK);
            prop_assert!(!any_sound || chosen().next().is_some());
            for (index, of) in (0..).zip(&of).filter(|(_, of)| of.word & !BUSY == OK && of.weight > 0) {
                let reserve = selection.reserve.iter().map(|(_, index)| index);
                let mut all = chosen().chain(reserve);
                prop_assert!(all.any(|&other| other == index), "{of:?}");
            }
            let load: f64 = selection.shares.iter().map(|share| share.load).sum();
            prop_assert!(selection.shares.is_empty() || (load - 1.0).abs() < 1e-9);
            now += Duration::from_secs(seconds);
            if !of.is_empty() {
                let flip = flip.index(of.len());
                of[flip].word ^= SICK;
            }
        }
    }
}
