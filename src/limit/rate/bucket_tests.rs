//! What a bucket promises.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::{
    super::{gcra::look_twice, quota::Quota},
    *,
};

#[test]
fn without_quotas_nothing_is_locked() {
    let bucket = Arc::new(Bucket::new(Quotas::none(), false));
    let held = lock(&bucket.quotas);
    let (done, ends) = mpsc::channel();
    let other = bucket.clone();
    let takes = thread::spawn(move || {
        other.take(0, 1).unwrap();
        other.spend(0, 1);
        done.send(()).unwrap();
    });
    let ended = ends.recv_timeout(Duration::from_secs(10));
    drop(held);
    takes.join().unwrap();
    ended.unwrap();
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
        assert!(bucket.is_brief() && !bucket.is_plain());
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
        assert!(bucket.is_plain() && !bucket.is_brief());
        assert!(!Bucket::new(quota.into(), true).is_plain(), "its tokens are reserved first");
        while bucket.take(0, 1).is_ok() {}
        let second = || panic!("a second look");
        let decided = look_twice(0, second, || bucket.is_brief(), |now| bucket.take(now, 1));
        assert!(decided.is_err());
    }
    // What becomes brief while it runs looks twice from then on.
    let bucket = Bucket::new(Quota::per_second(100).into(), false);
    bucket.set(|| Quota::per_second(1_000).burst(2).into(), 0);
    assert!(bucket.is_brief() && !bucket.is_plain());
}
