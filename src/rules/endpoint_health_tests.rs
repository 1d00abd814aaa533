use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn rule() -> HealthRule {
    let slow_start = SlowStart { window: 10 * SECOND, ..SlowStart::default() };
    HealthRule { slow_start, ..HealthRule::default() }
}

fn fail(of: &mut EndpointHealth, times: u32, now: Duration) {
    (0..times).for_each(|_| of.ended(&rule(), CallEnd::Failed, None, true, now, 0.0));
}

#[test]
fn an_ejection_probation_and_slow_start() {
    let mut of = EndpointHealth::added(&rule(), Duration::ZERO, false);
    assert_eq!((of.standing(), of.factor(&rule(), 2 * SECOND)), (Standing::Warming, 0.2));
    fail(&mut of, 4, SECOND);
    of.ended(&rule(), CallEnd::Throttled, None, true, SECOND, 0.0);
    assert_eq!(of.standing(), Standing::Warming, "429 is no failure in a row");
    fail(&mut of, 1, SECOND);
    assert_eq!(of.ejected_until(), Some(31 * SECOND));
    fail(&mut of, 9, 31 * SECOND);
    assert_eq!(of.standing(), Standing::Probation, "calls of before do not count");
    let probe = of.started(31 * SECOND);
    assert_eq!((of.started(31 * SECOND), of.is_selectable()), (None, false));
    of.ended(&rule(), CallEnd::Ignored, probe, true, 32 * SECOND, 0.0);
    assert!(of.is_selectable(), "a dropped probe gives its place back");
    let probe = of.started(32 * SECOND);
    of.ended(&rule(), CallEnd::Throttled, probe, false, 33 * SECOND, 0.0);
    assert_eq!((of.ejected_until(), of.multiplier()), (Some(93 * SECOND), 2));
    of.advance(&rule(), 93 * SECOND);
    let probe = of.started(93 * SECOND);
    of.ended(&rule(), CallEnd::Succeeded, probe, true, 94 * SECOND, 0.0);
    assert_eq!((of.standing(), of.factor(&rule(), 99 * SECOND)), (Standing::Warming, 0.5));
    of.advance(&rule(), 104 * SECOND);
    assert_eq!((of.standing(), of.multiplier()), (Standing::Healthy, 1));
    of.advance(&rule(), 200 * SECOND);
    assert_eq!(of.multiplier(), 0);
}

/// A second ejection takes as many failures as the first.
#[test]
fn each_ejection_starts_to_count_anew() {
    let mut of = EndpointHealth::added(&rule(), Duration::ZERO, false);
    fail(&mut of, 5, SECOND);
    of.checked(&rule(), true, 2 * SECOND);
    assert_eq!(of.standing(), Standing::Warming, "a passing check ends it");
    fail(&mut of, 4, 3 * SECOND);
    assert_eq!(of.standing(), Standing::Warming);
    fail(&mut of, 1, 3 * SECOND);
    assert_eq!(of.standing(), Standing::Ejected);
}

#[test]
fn a_probe_of_an_earlier_probation_says_nothing() {
    let mut of = EndpointHealth::added(&rule(), Duration::ZERO, false);
    of.eject(&rule(), Duration::ZERO, 0.0);
    of.advance(&rule(), 30 * SECOND);
    let old = of.started(30 * SECOND);
    of.uneject(&rule(), 31 * SECOND);
    of.eject(&rule(), 32 * SECOND, 0.0);
    of.advance(&rule(), 92 * SECOND);
    let new = of.started(92 * SECOND);
    of.ended(&rule(), CallEnd::Succeeded, old, true, 92 * SECOND, 0.0);
    assert_eq!((of.standing(), of.is_selectable()), (Standing::Probation, false));
    of.ended(&rule(), CallEnd::Succeeded, new, true, 92 * SECOND, 0.0);
    assert_eq!(of.standing(), Standing::Warming);
}

#[test]
fn a_probe_that_takes_too_long_loses_its_place() {
    let mut of = EndpointHealth::added(&rule(), Duration::ZERO, false);
    of.eject(&rule(), Duration::ZERO, 0.0);
    of.advance(&rule(), 30 * SECOND);
    let late = of.started(40 * SECOND);
    of.advance(&rule(), 69 * SECOND);
    assert!(!of.is_selectable());
    of.advance(&rule(), 70 * SECOND);
    assert!(of.is_selectable());
    let next = of.started(70 * SECOND);
    of.ended(&rule(), CallEnd::Failed, late, true, 71 * SECOND, 0.0);
    assert_eq!((of.standing(), of.is_selectable()), (Standing::Probation, false));
    of.ended(&rule(), CallEnd::Succeeded, next, true, 71 * SECOND, 0.0);
    assert_eq!(of.standing(), Standing::Warming);
}

#[test]
fn an_ejection_without_an_end_is_no_operator_s() {
    let ejection = EjectionTime { base: Duration::MAX, ..EjectionTime::default() };
    let rule = HealthRule { ejection, ..rule() };
    let mut of = EndpointHealth::added(&rule, Duration::ZERO, false);
    of.eject(&rule, SECOND, 1.0);
    assert_eq!((of.is_held(), of.ejected_until()), (false, Some(Duration::MAX)));
    of.hold(&rule, 2 * SECOND);
    assert!(of.is_held());
    of.checked(&rule, true, 3 * SECOND);
    assert_eq!((of.is_held(), of.standing()), (false, Standing::Warming));
}

/// One that the limit spares is ejected as soon as the limit allows it.
#[test]
fn failures_of_one_that_is_spared_count_on() {
    let mut of = EndpointHealth::added(&rule(), Duration::ZERO, false);
    for _ in 0..7 {
        of.ended(&rule(), CallEnd::Failed, None, false, SECOND, 0.0);
    }
    assert_eq!(of.standing(), Standing::Warming);
    fail(&mut of, 1, SECOND);
    assert_eq!(of.standing(), Standing::Ejected);
}

#[test]
fn what_is_checked_waits_for_its_first_check() {
    let mut of = EndpointHealth::added(&rule(), Duration::ZERO, true);
    assert!(!of.is_selectable());
    of.checked(&rule(), true, 5 * SECOND);
    of.checked(&rule(), true, 9 * SECOND);
    assert_eq!(of.factor(&rule(), 10 * SECOND), 0.5, "a further check starts nothing anew");
    of.checked(&rule(), false, 11 * SECOND);
    of.checked(&rule(), true, 12 * SECOND);
    assert_eq!(of.factor(&rule(), 13 * SECOND), 0.1, "a recovery does");
}

proptest! {
    /// Whatever happens, there is at most one probe, and an end of the ejection is known.
    #[test]
    fn no_sequence_breaks_it(
        steps in prop::collection::vec((0_u8..8, 0_u64..100_000, any::<bool>()), 0..200),
    ) {
        let (mut of, mut now) = (EndpointHealth::added(&rule(), Duration::ZERO, false), Duration::ZERO);
        let mut probes = Vec::new();
        for (step, wait, flag) in steps {
            now += Duration::from_millis(wait);
            match step {
                0 => of.advance(&rule(), now),
                1 => {
                    of.advance(&rule(), now);
                    let was_selectable = of.is_selectable();
                    if let Some(probe) = of.started(now) {
                        prop_assert!(was_selectable);
                        prop_assert!(!probes.contains(&probe), "two at once");
                        probes.push(probe);
                    }
                }
                2 if flag => {
                    let probe = probes.pop();
                    of.ended(&rule(), CallEnd::Succeeded, probe, true, now, 0.5);
                }
                2 => {
                    let probe = probes.pop();
                    of.ended(&rule(), CallEnd::Ignored, probe, true, now, 0.5);
                }
                3 => fail(&mut of, 5, now),
                4 => of.checked(&rule(), flag, now),
                5 => of.eject(&rule(), now, 1.0),
                6 => of.uneject(&rule(), now),
                _ => of.ended(&rule(), CallEnd::Throttled, None, flag, now, 0.0),
            }
            prop_assert!(of.ejected_until().is_none_or(|until| until > now));
            prop_assert_eq!(of.ejected_until().is_some(), of.standing().is_ejected());
            prop_assert!(of.multiplier() <= 11);
        }
    }
}
