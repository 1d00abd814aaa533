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
    place::{Place, Ticket, Turn},
    state::{Entry, State},
};
use crate::time;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn state(max: u32) -> Arc<State> {
    State::new(ConcurrencyLimitConfig::default().with_max(max))
}

const HOUR: Duration = Duration::from_secs(3_600);

fn wait(state: &Arc<State>, longest: Duration) -> Entry {
    let now = time::now();
    state.enter_or_wait(9, now + longest, now)
}

fn queue_up(state: &Arc<State>, longest: Duration) -> Ticket {
    match wait(state, longest) {
        Entry::Waits(ticket) => ticket,
        Entry::Now(_) | Entry::Full => panic!("there is a place"),
    }
}

fn come(ticket: &mut Ticket) -> Place {
    match ticket.turn(Waker::noop(), time::now()) {
        Turn::Come(place) => place,
        other => panic!("a place was lost: {other:?}"),
    }
}

/// Enters, while `other` makes a place, and gets it: at once, or woken.
fn gets_what_comes(state: &Arc<State>, other: impl FnOnce() + Send + 'static) {
    let other = thread::spawn(other);
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let place = match wait(state, HOUR) {
        Entry::Now(place) => place,
        Entry::Full => panic!("nobody waits"),
        Entry::Waits(mut ticket) => match ticket.turn(&Waker::from(flag.clone()), time::now()) {
            Turn::Come(place) => place,
            Turn::Waits(_) => {
                other.join().unwrap();
                assert!(flag.0.load(Ordering::SeqCst), "nobody woke it");
                drop(come(&mut ticket));
                return;
            }
            Turn::Missed => panic!("its time is not over"),
        },
    };
    other.join().unwrap();
    drop(place);
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
            if let Some(place) = state.enter() {
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
        let place = state.enter().unwrap();
        gets_what_comes(&state, move || drop(place));
        assert_idle(&state, 0);
    });
}

#[test]
fn loom_a_limit_that_grows_lets_in_who_waits() {
    loom::model(|| {
        let state = state(1);
        let _place = state.enter().unwrap();
        let grows = state.clone();
        gets_what_comes(&state, move || grows.set_max(2));
        assert_idle(&state, 1);
    });
}

#[test]
fn loom_a_waiter_that_is_dropped_strands_nobody() {
    loom::model(|| {
        let state = state(1);
        let place = state.enter().unwrap();
        let (first, mut second) = (queue_up(&state, HOUR), queue_up(&state, HOUR));
        let other = thread::spawn(move || drop(place));
        drop(first);
        other.join().unwrap();
        let place = come(&mut second);
        assert_idle(&state, 1);
        drop(place);
    });
}

#[test]
fn loom_a_lower_limit_is_exact() {
    loom::model(|| {
        let state = state(2);
        let place = state.enter().unwrap();
        let other = state.clone();
        let shrinks = thread::spawn(move || {
            other.set_max(1);
            assert!(other.enter().is_none(), "above the limit");
        });
        drop(state.enter());
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
        let place = state.enter().unwrap();
        let (mut late, mut next) = (queue_up(&state, HOUR), queue_up(&state, 3 * HOUR));
        let after = late.until() + HOUR;
        drop(place);
        let other = thread::spawn(move || match next.turn(Waker::noop(), after) {
            Turn::Come(place) => Some(place),
            Turn::Waits(_) => None,
            Turn::Missed => panic!("it came"),
        });
        let own = match late.turn(Waker::noop(), after) {
            Turn::Come(place) => Some(place),
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
