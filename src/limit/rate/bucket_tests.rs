//! What a bucket promises, one by one and against a model.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::{
    super::{gcra::look_twice, quota::Quota},
    *,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// What is given back never makes more of what was not: the calls that came to something
    /// keep to the quotas.
    #[test]
    fn what_comes_back_adds_nothing_to_the_quota(
        burst in 1..8_u32,
        steps in prop::collection::vec((0..25_u64, 1..4_u32, any::<bool>(), 0..6_usize), 1..150),
    ) {
        const INTERVALS: [u64; 2] = [10, 7];
        let quotas = INTERVALS
            .map(|interval| Quota::new(1, Duration::from_nanos(interval)).burst(burst));
        for several in [false, true] {
            let quotas = if several { quotas.into() } else { quotas[0].into() };
            let bucket = Bucket::new(quotas, false);
            let (mut now, mut open, mut calls) = (0, Vec::new(), Vec::new());
            for &(passed, cells, comes_back, which) in &steps {
                now += passed;
                let cells = u64::from(cells.min(burst));
                if comes_back {
                    open.extend(bucket.take_refundable(now, cells).ok().zip(Some(cells)));
                } else if bucket.take(now, cells).is_ok() {
                    calls.push((now, cells));
                }
                if which < open.len() {
                    let (receipt, cells) = open.remove(which);
                    bucket.refund(&receipt, now, cells);
                }
            }
            // In any window: the burst, and what the time between brings.
            for (first, &(from, _)) in calls.iter().enumerate() {
                let mut sum = 0;
                for &(to, cells) in &calls[first..] {
                    sum += cells;
                    let most = u64::from(burst) + (to - from) / INTERVALS[0];
                    prop_assert!(sum <= most, "{sum} from {from} to {to}, {several}");
                }
            }
        }
    }
}

#[test]
fn without_quotas_nothing_is_locked() {
    let bucket = Arc::new(Bucket::new(Quotas::none(), true));
    let held = lock(&bucket.book);
    let (done, ends) = mpsc::channel();
    let other = bucket.clone();
    let takes = thread::spawn(move || {
        other.take(0, 1).unwrap();
        other.spend(0, 1);
        assert!(other.lease(0, 1).unwrap().is_none());
        done.send(()).unwrap();
    });
    let ended = ends.recv_timeout(Duration::from_secs(10));
    drop(held);
    takes.join().unwrap();
    ended.unwrap();
}

#[test]
fn what_comes_back_at_once_was_never_taken() {
    let quotas = [Quota::per_second(1).burst(5), Quota::per_minute(1).burst(9)];
    let bucket = Bucket::new(quotas.into(), false);
    bucket.take(7, 2).unwrap();
    let before = bucket.load();
    let receipt = bucket.take_refundable(7, 3).unwrap();
    assert_eq!(bucket.remaining(7), 0);
    bucket.refund(&receipt, 7, 3);
    assert_eq!(bucket.load(), before);
}

/// A thread looks at the clock, and is preempted while others go on.
#[test]
fn a_look_that_is_too_old_refuses_nobody_where_bursts_are_brief() {
    const MILLI: u64 = 1_000_000;
    let brief = Quota::per_second(1_000).burst(5);
    let tiny = Quota::per_second(1_000_000).burst(100);
    let hour = Quota::new(1_000, Duration::from_secs(3_600));
    let several = [hour, brief].into();
    for quotas in [brief.into(), tiny.into(), several] {
        let bucket = Bucket::new(quotas, false);
        assert!(bucket.is_brief() && !bucket.has_one_quota());
        let others = 8 * MILLI;
        while bucket.take(others, 1).is_ok() {}
        let decide = |second: fn() -> u64| {
            look_twice(0, second, || bucket.is_brief(), |now| bucket.take(now, 1))
        };
        assert!(decide(|| 8 * MILLI).is_err(), "there is none at either time");
        assert_eq!(decide(|| 9 * MILLI), Ok(()));
        // One that passes at once need not look again.
        let late = 50 * MILLI;
        let second = || panic!("a second look");
        assert_eq!(look_twice(late, second, || true, |now| bucket.take(now, 1)), Ok(()));
    }
}

#[test]
fn one_look_is_enough_where_bursts_last() {
    // From 10 ms on.
    for quota in [Quota::per_second(1_000).burst(10), Quota::per_second(100), Quota::per_minute(6)]
    {
        let bucket = Bucket::new(quota.into(), false);
        assert!(bucket.has_one_quota() && !bucket.is_brief());
        while bucket.take(0, 1).is_ok() {}
        let second = || panic!("a second look");
        let decided = look_twice(0, second, || bucket.is_brief(), |now| bucket.take(now, 1));
        assert!(decided.is_err());
    }
    // What becomes brief while it runs looks twice from then on.
    let bucket = Bucket::new(Quota::per_second(100).into(), false);
    bucket.set(Quota::per_second(1_000).burst(2).into(), 0);
    assert!(bucket.is_brief() && !bucket.has_one_quota());
    // So does a lease, whose part is set aside of the burst.
    let leased = Bucket::new(Quota::per_second(12_800).burst(128).into(), true);
    assert!(leased.is_brief() && !leased.has_one_quota());
}
