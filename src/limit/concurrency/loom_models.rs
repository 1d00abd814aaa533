//! What must hold in whatever order threads run.

use std::{
    sync::Arc,
    task::{Wake, Waker},
    time::Duration,
};

use loom::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use super::{
    config::ConcurrencyLimitConfig,
    permit::{Entered, Permit},
    state::State,
};
use crate::{
    limit::{
        queue::{Taken, Turn, Waiter},
        telemetry::Setup,
    },
    time,
};

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn state(max: u32) -> Arc<State> {
    State::of_layer(ConcurrencyLimitConfig::default().with_max(max), Setup::default())
}

const HOUR: Duration = Duration::from_secs(3_600);

fn enter(state: &Arc<State>) -> Option<Permit> {
    Permit::enter(state)
}

fn wait(state: &Arc<State>, longest: Duration) -> Entered<()> {
    let now = time::now();
    Permit::enter_or_wait(state, 9, (now, now + longest))
}

fn queue_up(state: &Arc<State>, longest: Duration) -> Waiter<State> {
    match wait(state, longest) {
        Entered::Waits(waiter) => waiter,
        Entered::Now(_) | Entered::Not => panic!("there is a place"),
    }
}

/// Takes the place for which `waiter` was called, unless that has gone to another.
fn come(waiter: &Waiter<State>) -> Option<Permit> {
    waiter.come().then(|| Permit::taken(waiter.supply()))
}

fn is_called(waiter: &Waiter<State>) -> Permit {
    match waiter.turn(Waker::noop(), time::now()) {
        Turn::Called => come(waiter).expect("its time is not over"),
        other => panic!("a place was lost: {other:?}"),
    }
}

/// Enters, while `other` makes a place, and gets it: at once, or woken.
fn gets_what_comes(state: &Arc<State>, other: impl FnOnce() + Send + 'static) {
    let other = thread::spawn(other);
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    match wait(state, HOUR) {
        Entered::Now(permit) => {
            other.join().unwrap();
            drop(permit);
        }
        Entered::Not => panic!("none waits"),
        Entered::Waits(waiter) => {
            let turn = waiter.turn(&Waker::from(flag.clone()), time::now());
            other.join().unwrap();
            let was_woken = flag.0.load(Ordering::SeqCst);
            assert!(turn == Turn::Called || was_woken, "it was not woken: {turn:?}");
            drop(is_called(&waiter));
        }
    }
}

fn assert_idle(state: &State, in_flight: u32) {
    let word = state.word();
    assert_eq!((word.in_flight(), word.has_queue(), state.waiting()), (in_flight, false, 0));
}

#[test]
fn loom_never_more_than_may() {
    loom::model(|| {
        let (state, inside) = (state(1), Arc::new(AtomicUsize::new(0)));
        let enter = |state: Arc<State>, inside: Arc<AtomicUsize>| {
            if let Some(place) = enter(&state) {
                // Relaxed: that the places themselves put them in order is what is checked.
                assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                inside.fetch_sub(1, Ordering::Relaxed);
                drop(place);
            }
        };
        let (its, others) = (state.clone(), inside.clone());
        let other = thread::spawn(move || enter(its, others));
        enter(state.clone(), inside);
        other.join().unwrap();
        assert_idle(&state, 0);
    });
}

#[test]
fn loom_a_place_given_back_finds_who_waits() {
    loom::model(|| {
        let state = state(1);
        let place = enter(&state).unwrap();
        gets_what_comes(&state, move || drop(place));
        assert_idle(&state, 0);
    });
}

#[test]
fn loom_a_limit_that_grows_lets_in_who_waits() {
    loom::model(|| {
        let state = state(1);
        let _place = enter(&state).unwrap();
        let grows = state.clone();
        gets_what_comes(&state, move || grows.set_max(2));
        assert_idle(&state, 1);
    });
}

#[test]
fn loom_a_waiter_that_is_dropped_strands_nobody() {
    loom::model(|| {
        let state = state(1);
        let place = enter(&state).unwrap();
        let (first, second) = (queue_up(&state, HOUR), queue_up(&state, HOUR));
        let other = thread::spawn(move || drop(place));
        drop(first);
        other.join().unwrap();
        let place = is_called(&second);
        assert_idle(&state, 1);
        drop(place);
    });
}

#[test]
fn loom_a_lower_limit_is_exact() {
    loom::model(|| {
        let state = state(2);
        let place = enter(&state).unwrap();
        let other = state.clone();
        let shrinks = thread::spawn(move || {
            other.set_max(1);
            assert!(enter(&other).is_none(), "above the limit");
        });
        drop(enter(&state));
        shrinks.join().unwrap();
        drop(place);
        assert_idle(&state, 0);
        assert_eq!(state.word().max(), 1);
    });
}

#[test]
fn loom_a_place_that_nobody_comes_for_is_given_once() {
    loom::model(|| {
        let state = state(1);
        let place = enter(&state).unwrap();
        let (late, next) = (queue_up(&state, HOUR), queue_up(&state, 3 * HOUR));
        let after = late.until() + HOUR;
        drop(place);
        let other = thread::spawn(move || match next.turn(Waker::noop(), after) {
            Turn::Called => Some(come(&next).expect("its time is not over")),
            Turn::Waits(_) => None,
            Turn::Missed => panic!("it came"),
        });
        let own = match late.turn(Waker::noop(), after) {
            Turn::Called => come(&late),
            Turn::Missed => None,
            Turn::Waits(_) => panic!("it was called"),
        };
        let others = other.join().unwrap();
        assert_ne!(own.is_some(), others.is_some());
        assert_eq!(state.word().in_flight(), 1);
        drop((own, others, late));
        assert_idle(&state, 0);
    });
}
