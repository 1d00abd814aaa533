//! A window of calls as arithmetic.

use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_slot_is_a_word_both_ways() {
    for held in [
        Held { tick: 0, net: 0 },
        Held { tick: u32::MAX, net: -1 },
        Held { tick: 7, net: i32::MIN },
    ] {
        assert_eq!(Held::of(held.word()), held);
    }
}

#[test]
fn what_was_put_in_is_gone_after_its_time_and_so_is_what_was_spent() {
    let window = TtlWindow::new(1.0, 1.0, 100, Duration::from_secs(10));
    (0..50).for_each(|_| window.deposit(0));
    assert_eq!(window.available(9 * SECOND), 60);
    assert_eq!(window.available(10 * SECOND), 10);
    while window.withdraw(10 * SECOND) {}
    assert_eq!(window.available(19 * SECOND), 0);
    assert_eq!(window.available(20 * SECOND), 10);
    assert_eq!(window.available(1_000_000 * SECOND), 10);
}

#[test]
fn what_comes_late_is_taken_out_when_its_slot_is_used_again() {
    let window = TtlWindow::new(1.0, 0.0, 100, Duration::from_secs(10));
    assert_eq!(window.available(10 * SECOND), 0);
    // From a thread that looked at the clock ten seconds ago.
    window.deposit(0);
    window.deposit(10 * SECOND);
    assert_eq!(window.available(10 * SECOND), 1);
    // Later than that it counts for nothing.
    window.deposit(0);
    assert_eq!(window.available(10 * SECOND), 1);
}

#[test]
fn it_holds_what_it_may_and_is_filled_again_as_it_expires() {
    let window = TtlWindow::new(1.0, 0.0, 5, Duration::from_secs(1));
    for second in 0..20 {
        (0..50).for_each(|_| window.deposit(second * SECOND / 2));
        assert_eq!(window.available(second * SECOND / 2), 5, "{second}");
    }
}

#[test]
fn the_reserve_may_be_less_than_one_a_second() {
    let window = TtlWindow::new(0.0, 0.5, 1, Duration::from_secs(10));
    assert_eq!((0..9).filter(|_| window.withdraw(0)).count(), 5);
    let window = TtlWindow::new(0.5, 0.25, 9, Duration::from_secs(2));
    assert_eq!(window.available(0), 0);
    window.deposit(0);
    assert_eq!(window.available(0), 1, "half of each");
}

#[test]
fn other_numbers_keep_what_was_counted_and_another_time_begins_anew() {
    let window = TtlWindow::new(1.0, 1.0, 100, Duration::from_secs(10));
    (0..5).for_each(|_| window.deposit(0));
    (0..3).for_each(|_| assert!(window.withdraw(0)));
    assert_eq!(window.available(0), 12);
    assert!(window.has(Duration::from_secs(10)) && !window.has(Duration::from_secs(1)));
    window.set(0.5, 2.0, 100);
    assert_eq!(window.available(0), 22);
    window.set(0.5, 0.5, 100);
    assert_eq!(window.available(0), 7);
    window.begin(Duration::from_secs(2));
    window.set(0.5, 0.5, 100);
    assert_eq!(window.available(0), 1);
    window.deposit(0);
    window.deposit(0);
    assert_eq!([0, 1, 2].map(|s| window.available(s * SECOND)), [2, 2, 1]);
}

#[test]
fn absurd_values_are_clamped() {
    let window = TtlWindow::new(f64::NAN, f64::INFINITY, 0, Duration::MAX);
    assert_eq!(window.available(0), 1_000_000);
    assert!(window.withdraw(u64::MAX));
    assert_eq!(TtlWindow::new(1.0, 10.0, 1, Duration::ZERO).available(0), 10);
}

proptest! {
    #[test]
    fn a_window_is_the_sum_of_what_is_not_over(
        thousandth in 0_i64..2_000,
        floor in 0_u32..5,
        ttl_s in 1_u64..5,
        steps in prop::collection::vec((0_u8..3, 0_u64..400), 1..300),
    ) {
        let ttl = Duration::from_secs(ttl_s);
        let window = TtlWindow::new(thousandth as f64 / 1_000.0, floor.into(), 1_000_000, ttl);
        let reserve = i64::from(floor) * ttl_s as i64 * 1_000;
        let mut events: Vec<(u64, i64)> = Vec::new();
        let mut now = 0;
        for (what, wait_ms) in steps {
            now += wait_ms * 1_000_000;
            let tick = now / (ttl_s * SECOND / 10);
            events.retain(|(at, _)| tick - at < 10);
            let balance = reserve + events.iter().map(|(_, amount)| amount).sum::<i64>();
            match what {
                0 => {
                    prop_assert_eq!(window.withdraw(now), balance >= 1_000);
                    if balance >= 1_000 {
                        events.push((tick, -1_000));
                    }
                }
                1 => {
                    window.deposit(now);
                    events.push((tick, thousandth));
                }
                _ => {
                    let expect = u32::try_from(balance / 1_000).unwrap_or(0);
                    prop_assert_eq!(window.available(now), expect);
                }
            }
        }
    }
}
