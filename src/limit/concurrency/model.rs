//! Any order of calls, ends, drops, polls, limits and times comes to what a naive model says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    config::ConcurrencyLimitConfig,
    place::{Place, Ticket, Turn},
    state::{Entry, State},
};
use crate::time::{self, Instant};

#[derive(Debug, Clone, Copy)]
enum Step {
    Enter,
    /// A call that waits for so many seconds, if fewer than this do.
    Wait(u64, usize),
    Poll(usize),
    /// A call ends, or is dropped: to what it holds the two are the same.
    Drop(usize),
    Limit(u32),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Enter),
        4 => (0_u64..8, 1_usize..6).prop_map(|(wait, most)| Step::Wait(wait, most)),
        4 => (0_usize..12).prop_map(Step::Poll),
        3 => (0_usize..12).prop_map(Step::Drop),
        1 => (0_u32..4).prop_map(Step::Limit),
        2 => (0_u64..4).prop_map(Step::Advance),
    ]
}

/// One call: how it stands in the model, and what it has in truth.
struct Caller {
    stands: Stands,
    until: u64,
    woken: Arc<Flag>,
    has: Has,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stands {
    In,
    Waits { listens: bool },
    Called { listens: bool },
    PassedOver,
}

enum Has {
    Place(#[allow(dead_code, reason = "it is dropped")] Place),
    Ticket(Ticket),
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Model {
    max: usize,
    now: u64,
    callers: Vec<Caller>,
}

impl Model {
    fn in_flight(&self) -> usize {
        let has = |caller: &&Caller| matches!(caller.stands, Stands::In | Stands::Called { .. });
        self.callers.iter().filter(has).count()
    }

    fn waiting(&self) -> usize {
        self.callers.iter().filter(|caller| matches!(caller.stands, Stands::Waits { .. })).count()
    }

    fn call_those_who_fit(&mut self) {
        while self.in_flight() < self.max {
            let first = self.callers.iter_mut().find_map(|caller| match caller.stands {
                Stands::Waits { listens } => Some((listens, &mut caller.stands)),
                _ => None,
            });
            let Some((listens, stands)) = first else { return };
            *stands = Stands::Called { listens };
        }
    }

    fn pass_over_the_late(&mut self, own: Option<usize>) {
        for (index, caller) in self.callers.iter_mut().enumerate() {
            let waits = matches!(caller.stands, Stands::Waits { .. } | Stands::Called { .. });
            if waits && caller.until <= self.now && own != Some(index) {
                caller.stands = Stands::PassedOver;
            }
        }
        self.call_those_who_fit();
    }

    fn look_at(&self, own: usize) -> Option<u64> {
        let before = self.callers[..own].iter().rev();
        let mut waits = before.filter(|caller| matches!(caller.stands, Stands::Waits { .. }));
        let called = self.callers.iter().filter(|of| matches!(of.stands, Stands::Called { .. }));
        waits.next().map(|of| of.until).or_else(|| called.map(|of| of.until).min())
    }
}

fn run(steps: &[Step]) {
    let start = time::now();
    let at = |seconds: u64| -> Instant { start + Duration::from_secs(seconds) };
    let state = State::new(ConcurrencyLimitConfig::default().with_max(2));
    let mut model = Model { max: 2, now: 0, callers: Vec::new() };
    for &step in steps {
        let has_place = model.in_flight() < model.max && model.waiting() == 0;
        let come = |model: &mut Model, stands, until, has| {
            model.callers.push(Caller { stands, until, woken: Arc::default(), has });
        };
        match step {
            Step::Enter => {
                let place = state.enter();
                assert_eq!(place.is_some(), has_place);
                if let Some(place) = place {
                    come(&mut model, Stands::In, 0, Has::Place(place));
                }
            }
            Step::Wait(wait, most) => {
                model.pass_over_the_late(None);
                let has_place = model.in_flight() < model.max && model.waiting() == 0;
                let until = model.now + wait;
                match state.enter_or_wait(most, at(until), at(model.now)) {
                    Entry::Now(place) => {
                        assert!(has_place);
                        come(&mut model, Stands::In, 0, Has::Place(place));
                    }
                    Entry::Waits(ticket) => {
                        assert!(!has_place && model.waiting() < most);
                        let stands = Stands::Waits { listens: false };
                        come(&mut model, stands, until, Has::Ticket(ticket));
                    }
                    Entry::Full => assert!(!has_place && model.waiting() >= most),
                }
            }
            Step::Poll(index) if index < model.callers.len() => {
                if let Has::Place(_) = model.callers[index].has {
                    continue;
                }
                model.pass_over_the_late(Some(index));
                let (look_at, now) = (model.look_at(index).map(at), at(model.now));
                let caller = &mut model.callers[index];
                caller.woken = Arc::default();
                let waker = Waker::from(caller.woken.clone());
                let Has::Ticket(ticket) = &mut caller.has else { unreachable!() };
                match (ticket.turn(&waker, now), caller.stands) {
                    (Turn::Come(place), Stands::Called { .. }) => {
                        (caller.stands, caller.has) = (Stands::In, Has::Place(place));
                    }
                    (Turn::Waits(told), Stands::Waits { .. }) => {
                        assert_eq!(told, look_at);
                        caller.stands = Stands::Waits { listens: true };
                    }
                    (Turn::Missed, Stands::PassedOver) => {}
                    other => panic!("{other:?}"),
                }
            }
            Step::Drop(index) if index < model.callers.len() => {
                drop(model.callers.remove(index));
                model.call_those_who_fit();
            }
            Step::Limit(max) => {
                state.set_max(max);
                model.max = max.max(1) as usize;
                model.call_those_who_fit();
            }
            Step::Advance(seconds) => model.now += seconds,
            Step::Poll(_) | Step::Drop(_) => {}
        }
        let word = state.word();
        assert_eq!(word.in_flight() as usize, model.in_flight());
        assert_eq!((word.max() as usize, state.waiting()), (model.max, model.waiting()));
        assert_eq!(word.has_queue(), model.waiting() > 0);
        for caller in &model.callers {
            let woken = caller.woken.0.load(Ordering::Relaxed);
            assert!(woken || caller.stands != (Stands::Called { listens: true }));
            assert!(!woken || !matches!(caller.stands, Stands::Waits { .. }));
        }
    }
    model.callers.clear();
    assert_eq!((state.word().in_flight(), state.waiting()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn places_go_as_in_a_naive_model(steps in prop::collection::vec(step(), 1..80)) {
        run(&steps);
    }
}
