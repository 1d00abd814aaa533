//! What a bucket promises, one by one and against a model.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::{super::quota::Quota, *};
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
