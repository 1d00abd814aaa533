use super::*;
use proptest::prelude::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The lines of tower, with its two clock reads as one.
struct Tower(f64, Duration);

impl Tower {
    fn update(&mut self, rtt: Duration, now: Duration) -> f64 {
        let rtt = nanos(rtt);
        self.0 = if self.0 < rtt {
            rtt
        } else {
            let decay = (-nanos(now - self.1) / 10e9).exp();
            self.0 * decay + rtt * (1.0 - decay)
        };
        self.1 = now;
        self.0
    }
}

#[test]
fn absurd_numbers_do_no_harm() {
    for rule in [PeakEwma::new(), PeakEwma::classic().with_decay(Duration::ZERO)] {
        let mut of = Latency::seeded(f64::NAN, Duration::MAX);
        rule.observe(&mut of, Duration::MAX, Duration::ZERO);
        rule.observe(&mut of, Duration::ZERO, Duration::MAX);
        let load = Load { in_flight: u32::MAX, oldest: Duration::MAX, weight: f64::NAN };
        assert_eq!(rule.cost(&of, load, Duration::ZERO), f64::INFINITY);
        let cost = rule.cost(&of, Load { weight: 0.5, ..load }, Duration::MAX);
        assert!(cost.is_finite() && cost > 0.0);
    }
    assert_eq!(penalty(Some(f64::NAN)), ms(1_000));
    assert_eq!(penalty(Some(f64::NEG_INFINITY)), ms(100));
}

#[test]
fn three_confirming_samples_in_a_row_bring_the_estimate_down() {
    let rule = PeakEwma::new();
    let now = Duration::ZERO;
    let samples = |rule: PeakEwma, millis: &[u64]| {
        let mut of = Latency::seeded(2e9, now);
        millis.iter().for_each(|&sample| rule.observe(&mut of, ms(sample), now));
        of.nanos / 1e6
    };
    assert_eq!(samples(rule, &[100, 120]), 2_000.0);
    assert_eq!(samples(rule, &[100, 120, 110]), 120.0);
    // One that is not below half begins anew.
    assert_eq!(samples(rule, &[100, 120, 1_000, 110, 110]), 2_000.0);
    assert_eq!(samples(rule, &[100, 120, 1_000, 90, 110, 100]), 110.0);
    assert_eq!(samples(PeakEwma::classic(), &[100; 9]), 2_000.0);
}

#[test]
fn a_rare_good_sample_raises_nothing() {
    let after = |rule: PeakEwma| {
        let mut of = Latency::seeded(2e9, Duration::ZERO);
        rule.observe(&mut of, ms(100), ms(20_000));
        let faded = rule.latency(&Latency::seeded(2e9, Duration::ZERO), ms(20_000));
        (of.nanos, faded.unwrap())
    };
    let (nanos, faded) = after(PeakEwma::new());
    assert_eq!(nanos, faded);
    let (nanos, faded) = after(PeakEwma::classic());
    assert!(nanos > 1.3 * faded);
}

#[test]
fn what_hangs_costs_its_age_and_the_unknown_is_tried_once() {
    let (rule, now) = (PeakEwma::new(), Duration::ZERO);
    let load = |in_flight, oldest| Load { in_flight, oldest: ms(oldest), weight: 2.0 };
    let known = Latency::seeded(50e6, now);
    assert_eq!(rule.cost(&known, load(1, 10), now), 50e6);
    assert_eq!(rule.cost(&known, load(1, 300), now), 300e6);
    let unknown = Latency::default();
    assert_eq!(rule.cost(&unknown, load(0, 0), now), 0.0);
    assert_eq!(rule.cost(&unknown, load(1, 0), now), (UNKNOWN_COST + 1.0) / 2.0);
}

#[test]
fn a_failure_costs_its_time_the_penalty_or_the_wait_asked_for() {
    let (rule, now) = (PeakEwma::new(), Duration::ZERO);
    let failed = |took, penalty, asked: Option<u64>| {
        let mut of = Latency::default();
        rule.observe_failure(&mut of, ms(took), ms(penalty), asked.map(ms), now);
        of.nanos / 1e6
    };
    assert_eq!(failed(1, 1_000, None), 1_000.0);
    assert_eq!(failed(2_000, 1_000, Some(500)), 2_000.0);
    assert_eq!(failed(1, 1_000, Some(9_000_000)), 300_000.0);
}

proptest! {
    #[test]
    fn the_classic_is_tower_to_the_bit(
        steps in prop::collection::vec((0_u64..20_000_000, prop::option::of(0_u64..10_000_000)), 1..50),
    ) {
        let rule = PeakEwma::classic();
        let mut now = Duration::ZERO;
        let (mut of, mut tower) = (Latency::seeded(1e9, now), Tower(1e9, now));
        for (wait, sample) in steps {
            now += Duration::from_micros(wait);
            if let Some(sample) = sample.map(Duration::from_micros) {
                rule.observe(&mut of, sample, now);
                tower.update(sample, now);
                prop_assert_eq!(of.nanos.to_bits(), tower.0.to_bits());
            }
            let read = tower.update(Duration::ZERO, now);
            prop_assert_eq!(rule.decay(&mut of, now).to_bits(), read.to_bits());
            let cost = rule.cost(&of, Load { in_flight: 3, ..Load::default() }, now);
            prop_assert_eq!(cost.to_bits(), (read * 4.0).to_bits());
        }
    }

    /// A dropped request never makes a server look better.
    #[test]
    fn a_dropped_request_makes_nothing_better(seed in 1_u64..10_000, sample in 0_u64..10_000) {
        let rule = PeakEwma::new();
        let mut of = Latency::seeded(nanos(ms(seed)), Duration::ZERO);
        let before = of.nanos;
        for _ in 0..5 {
            rule.observe_worse(&mut of, ms(sample), Duration::ZERO);
            prop_assert!(of.nanos >= before);
        }
    }
}
