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
    permit::{Entered, Permit},
    state::State,
};
use crate::{
    limit::{
        queue::{Taken, Turn, Waiter},
        telemetry::Setup,
    },
    time::{self, Instant},
};

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
    has_polled: bool,
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
    Permit(#[allow(dead_code, reason = "it is dropped")] Permit),
    Waiter(Waiter<State>),
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

    /// Takes out those whose time is over, in the order of their ends.
    fn pass_over_the_late(&mut self, own: Option<usize>) {
        loop {
            let late = self.callers.iter().enumerate().filter(|&(index, caller)| {
                let waits = matches!(caller.stands, Stands::Waits { .. } | Stands::Called { .. });
                waits && caller.until <= self.now && own != Some(index)
            });
            let Some((index, _)) = late.min_by_key(|(index, caller)| (caller.until, *index)) else {
                return;
            };
            self.leaves(index);
            self.callers[index].stands = Stands::PassedOver;
            self.call_those_who_fit();
        }
    }

    /// One that waits tells the next behind it that it has another before it to watch.
    fn leaves(&mut self, index: usize) {
        if !matches!(self.callers[index].stands, Stands::Waits { .. }) {
            return;
        }
        let behind = self.callers[index + 1..].iter_mut().find_map(|of| match &mut of.stands {
            Stands::Waits { listens } => Some(listens),
            _ => None,
        });
        behind.into_iter().for_each(|listens| *listens = false);
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
    let state = State::of_layer(ConcurrencyLimitConfig::default().with_max(2), Setup::default());
    let mut model = Model { max: 2, now: 0, callers: Vec::new() };
    for &step in steps {
        let has_place = model.in_flight() < model.max && model.waiting() == 0;
        let come = |model: &mut Model, stands, until, has| {
            model.callers.push(Caller {
                stands,
                until,
                has_polled: false,
                woken: Arc::default(),
                has,
            });
        };
        match step {
            Step::Enter => {
                let permit = Permit::enter(&state);
                assert_eq!(permit.is_some(), has_place);
                if let Some(permit) = permit {
                    come(&mut model, Stands::In, 0, Has::Permit(permit));
                }
            }
            Step::Wait(wait, most) => {
                model.pass_over_the_late(None);
                let has_place = model.in_flight() < model.max && model.waiting() == 0;
                let until = model.now + wait;
                match Permit::enter_or_wait(&state, most, (at(model.now), at(until))) {
                    Entered::Now(permit) => {
                        assert!(has_place);
                        come(&mut model, Stands::In, 0, Has::Permit(permit));
                    }
                    Entered::Waits(waiter) => {
                        assert!(!has_place && model.waiting() < most);
                        let stands = Stands::Waits { listens: false };
                        come(&mut model, stands, until, Has::Waiter(waiter));
                    }
                    Entered::Not => assert!(!has_place && model.waiting() >= most),
                }
            }
            Step::Poll(index) if index < model.callers.len() => {
                if let Has::Permit(_) = model.callers[index].has {
                    continue;
                }
                model.pass_over_the_late(Some(index));
                let (look_at, now) = (model.look_at(index).map(at), at(model.now));
                let caller = &mut model.callers[index];
                caller.woken = Arc::default();
                let waker = Waker::from(caller.woken.clone());
                let Has::Waiter(waiter) = &mut caller.has else { unreachable!() };
                match (waiter.turn(&waker, now), caller.stands) {
                    (Turn::Called, Stands::Called { .. }) => {
                        assert!(waiter.come());
                        let permit = Permit::taken(&state);
                        (caller.stands, caller.has) = (Stands::In, Has::Permit(permit));
                    }
                    (Turn::Waits(told), Stands::Waits { .. }) => {
                        assert_eq!(told, look_at);
                        caller.stands = Stands::Waits { listens: true };
                        caller.has_polled = true;
                    }
                    (Turn::Missed, Stands::PassedOver) => {}
                    other => panic!("{other:?}"),
                }
            }
            Step::Drop(index) if index < model.callers.len() => {
                model.leaves(index);
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
            match caller.stands {
                Stands::Waits { listens } => assert_eq!(woken, caller.has_polled && !listens),
                Stands::Called { listens: true } => assert!(woken),
                _ => {}
            }
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
