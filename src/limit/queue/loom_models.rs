//! What must hold in whatever order threads run, where one is called at a time. What is called for a
//! place has models of its own.

use std::{
    sync::Arc,
    task::{Wake, Waker},
    time::Duration,
};

use loom::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{Line, Queue, Supply, Turn, Waiter};
use crate::{
    error::{Error, Kind},
    limit::telemetry::{Setup, Telemetry},
    time,
};

/// Lets one at a time through.
struct Turnstile {
    queue: Queue,
    telemetry: Telemetry,
}

impl Default for Turnstile {
    fn default() -> Self {
        let telemetry = Telemetry::new(Setup::default(), None);
        Self { queue: Queue::default(), telemetry }
    }
}

impl Supply for Turnstile {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    fn set_aside(&self, line: &Line<Waker>) -> bool {
        line.len() == line.waiting()
    }

    fn put_back(&self) {
        self.call_next();
    }

    fn lacks(&self, _: u64) -> Result<u64, Error> {
        Ok(0)
    }

    fn take(_: &Waiter<Self>) -> Result<(), u64> {
        Ok(())
    }

    fn refusal(&self, _: u64) -> Error {
        Error::refused(Kind::Overloaded)
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn join(supply: &Arc<Turnstile>) -> Waiter<Turnstile> {
    let now = time::now();
    let times = (now, now + Duration::from_secs(3_600));
    let waiter = Waiter::join(supply, 1, times, |_| Ok::<_, ()>(())).unwrap();
    supply.call_next();
    waiter
}

fn turn(waiter: &Waiter<Turnstile>, waker: &Waker) -> Turn {
    waiter.turn(waker, time::now())
}

/// The one behind one that drops out is called when it looks, or woken to look.
#[test]
fn loom_a_first_that_drops_out_never_strands_the_second() {
    loom::model(|| {
        let supply = Arc::new(Turnstile::default());
        let (first, second) = (join(&supply), join(&supply));
        let leaves = thread::spawn(move || drop(first));
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let looked = turn(&second, &Waker::from(flag.clone()));
        leaves.join().unwrap();
        assert!(looked == Turn::Called || flag.0.load(Ordering::SeqCst));
        assert_eq!(turn(&second, Waker::noop()), Turn::Called);
        assert_eq!((supply.queue.len(), supply.queue.waiting()), (1, 0));
    });
}

/// Nor does one in the middle that drops out: the one behind it is woken to watch another.
#[test]
fn loom_one_between_that_drops_out_tells_the_one_behind() {
    loom::model(|| {
        let supply = Arc::new(Turnstile::default());
        let (_first, second, third) = (join(&supply), join(&supply), join(&supply));
        let leaves = thread::spawn(move || drop(second));
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let before = turn(&third, &Waker::from(flag.clone()));
        leaves.join().unwrap();
        let after = turn(&third, Waker::noop());
        assert!(flag.0.load(Ordering::SeqCst) || before == after);
    });
}

/// Of two that come at once one is called, and the other after it.
#[test]
fn loom_of_two_that_come_at_once_one_is_called() {
    loom::model(|| {
        let supply = Arc::new(Turnstile::default());
        let other = supply.clone();
        let comes = thread::spawn(move || join(&other));
        let (mine, its) = (join(&supply), comes.join().unwrap());
        let called = [&mine, &its].map(|waiter| turn(waiter, Waker::noop()) == Turn::Called);
        assert_ne!(called[0], called[1]);
        let (first, second) = if called[0] { (mine, its) } else { (its, mine) };
        drop(first);
        assert_eq!(turn(&second, Waker::noop()), Turn::Called);
        drop(second);
        assert!(supply.queue.is_empty());
    });
}
