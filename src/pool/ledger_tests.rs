//! The rules against a naive model of them: any calls, answers, deaths and changes, in any order.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use proptest::prelude::*;

use super::{
    after::After,
    kept::{Kept, Pooled},
    ledger::Ledger,
    limits::Limits,
    model::{Conn, Known, Model},
};
use crate::time::{self, Instant};

#[derive(Debug, Clone)]
enum Step {
    Call,
    Poll(usize),
    Leave(usize),
    Made,
    CannotMake,
    Lost,
    GiveBack(usize),
    LetGo(usize),
    Dies(usize),
    Closed,
    Empty,
    Later(u64),
    Sweep,
    Limits(Option<usize>, usize),
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    prop_oneof![
        6 => Just(Call),
        3 => (0..8_usize).prop_map(Poll),
        1 => (0..8_usize).prop_map(Leave),
        5 => Just(Made),
        1 => Just(CannotMake),
        1 => Just(Lost),
        4 => (0..8_usize).prop_map(GiveBack),
        1 => (0..8_usize).prop_map(LetGo),
        1 => (0..8_usize).prop_map(Dies),
        3 => Just(Closed),
        1 => Just(Empty),
        2 => (1..80_u64).prop_map(Later),
        1 => Just(Sweep),
        1 => (proptest::option::of(1..5_usize), 0..4_usize).prop_map(|(max, idle)| Limits(max, idle)),
    ]
}

struct Both {
    ledger: Ledger<Conn, u32, u64>,
    model: Model,
    leased: Vec<Kept<Conn>>,
    born: Vec<Known>,
}

impl Both {
    fn new(limits: Limits) -> Self {
        let model = Model::new(limits);
        let ledger = Ledger::new(limits, false);
        Self { ledger, model, leased: Vec::new(), born: Vec::new() }
    }

    fn known(&self, kept: &Kept<Conn>) -> Known {
        self.born[kept.connection.id as usize]
    }

    fn lease(&mut self, kept: Kept<Conn>) {
        self.model.leased += 1;
        self.leased.push(kept);
    }

    fn dials(&mut self) {
        let due = self.ledger.dials_due();
        assert_eq!(due, self.model.due(), "connections to make");
        if let (Some(max), true) = (self.model.limits.max, due > 0) {
            assert!(self.ledger.live() <= max, "more than there may be");
        }
    }

    fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Ledger<Conn, u32, u64>, &mut After<Conn, u32, u64>) -> T,
    ) -> T {
        let mut after = After::default();
        let changed = change(&mut self.ledger, &mut after);
        self.model.woken.extend(after.woken);
        changed
    }

    fn pick(&mut self, at: usize) -> Option<Kept<Conn>> {
        let at = at.checked_rem(self.leased.len())?;
        self.model.leased -= 1;
        Some(self.leased.swap_remove(at))
    }

    fn place_closed(&mut self) {
        self.change(Ledger::closed);
    }

    fn step(&mut self, step: Step) {
        let now = self.model.now;
        match step {
            Step::Call => {
                let mut ticket = None;
                // Its waker is its ticket.
                let next = self.model.next_ticket;
                let taken = self.change(|ledger, after| ledger.look(&mut ticket, next, now, after));
                let (taken, expected) = (taken.transpose().unwrap(), self.model.take());
                assert_eq!(taken.as_ref().map(|kept| self.known(kept)), expected, "idle ones");
                match taken {
                    Some(kept) => self.lease(kept),
                    None => {
                        assert_eq!(ticket, Some(next));
                        self.model.next_ticket += 1;
                        self.model.line.push((next, None));
                        self.dials();
                    }
                }
            }
            Step::Poll(at) => {
                let Some(at) = at.checked_rem(self.model.line.len()) else { return };
                let (ticket, got) = self.model.line[at];
                self.model.woken.remove(&ticket);
                let mut held = Some(ticket);
                let found = self.change(|ledger, after| ledger.look(&mut held, ticket, now, after));
                let known = found.as_ref().map(|found| match found {
                    Ok(kept) => Ok(self.known(kept)),
                    Err(error) => Err(*error),
                });
                assert_eq!((known, held.is_some()), (got, got.is_none()));
                if let Some(found) = found {
                    self.model.line.remove(at);
                    found.into_iter().for_each(|kept| self.lease(kept));
                }
                self.dials();
            }
            Step::Leave(at) => {
                let Some(at) = at.checked_rem(self.model.line.len()) else { return };
                let (ticket, got) = self.model.line.remove(at);
                self.model.woken.remove(&ticket);
                if let Some(Ok(known)) = got {
                    self.model.hand_on(known);
                }
                self.change(|ledger, after| ledger.leave(ticket, now, after));
            }
            Step::Made | Step::CannotMake | Step::Lost if self.model.dialing.is_empty() => {}
            Step::Made => {
                let id = self.born.len() as u32;
                let known = Known { id, epoch: self.model.dialing.remove(0), born: now };
                self.born.push(known);
                self.model.hand_on(known);
                let conn = Conn::new(id);
                self.change(|ledger, after| ledger.dialed(Ok(conn), known.epoch, now, 0.0, after));
            }
            Step::CannotMake => {
                let epoch = self.model.dialing.remove(0);
                let is_heard = self.model.give(Err(7));
                self.change(|ledger, after| {
                    ledger.dialed(Err(7), epoch, now, 0.0, after);
                    assert_eq!(after.unheard.is_none(), is_heard);
                });
                self.place_closed();
            }
            Step::Lost => {
                self.model.dialing.pop();
                self.ledger.dial_lost();
                self.place_closed();
            }
            Step::GiveBack(at) => {
                let Some(kept) = self.pick(at) else { return };
                self.model.hand_on(self.known(&kept));
                self.change(|ledger, after| ledger.put(kept, now, after));
            }
            Step::LetGo(at) => {
                if self.pick(at).is_some() {
                    self.model.closing += 1;
                }
            }
            Step::Dies(at) => {
                // An idle one, which its own task notices.
                let Some(at) = at.checked_rem(self.model.idle.len()) else { return };
                let (known, _) = self.model.idle.remove(at);
                self.ledger.kill(|conn| {
                    if conn.id == known.id {
                        conn.is_open.store(false, Relaxed);
                    }
                });
                self.place_closed();
            }
            Step::Closed => {
                if self.model.closing > 0 {
                    self.model.closing -= 1;
                    self.place_closed();
                }
            }
            Step::Empty => {
                self.model.closing += self.model.idle.len();
                self.model.idle.clear();
                self.model.epoch += 1;
                self.change(Ledger::empty);
            }
            Step::Later(millis) => self.model.now += Duration::from_millis(millis),
            Step::Sweep => {
                self.model.sweep();
                let next = self.change(|ledger, after| ledger.sweep(now, after));
                assert_eq!(next.is_some(), self.model.live() > 0);
                assert!(next.is_none_or(|next| next > now), "it would spin");
            }
            Step::Limits(max, max_idle) => {
                self.model.limits = Limits { max, max_idle, ..self.model.limits };
                let surplus = self.model.idle.len().saturating_sub(max_idle);
                self.model.idle.drain(..surplus);
                self.model.closing += surplus;
                let limits = self.model.limits;
                self.change(|ledger, after| ledger.set_limits(limits, after));
            }
        }
    }

    /// What holds after every step.
    fn holds(&mut self) {
        assert_eq!(self.ledger.live(), self.model.live(), "what is open or being made");
        assert_eq!(self.ledger.is_dialing(), !self.model.dialing.is_empty());
        let has_room = self.change(Ledger::has_room);
        let model = &self.model;
        for (ticket, _) in model.line.iter().filter(|(_, got)| got.is_some()) {
            assert!(model.woken.contains(ticket), "it got something and was not woken");
        }
        let is_usable = |&(_, until): &(Known, Instant)| model.now < until;
        let room = model.limits.max.is_none_or(|max| model.live() < max);
        let is_idle = model.idle.iter().any(is_usable);
        assert!(model.waiting() == 0 || !is_idle, "it waits beside an idle connection");
        // Whichever of the line looks next makes all that are due.
        if room && model.waiting() > model.dialing.len() {
            let mut waiting = model.line.iter().filter(|(_, got)| got.is_none());
            assert!(waiting.all(|(ticket, _)| model.woken.contains(ticket)), "one does not look");
        }
        assert_eq!(has_room, room || !model.idle.is_empty());
    }
}

proptest! {
    #[test]
    fn the_rules_do_what_the_model_does(
        max in proptest::option::of(1..5_usize),
        max_idle in 0..4_usize,
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let idle_timeout = Duration::from_millis(100);
        let max_age = Some(Duration::from_millis(250));
        let mut both = Both::new(Limits { max, max_idle, idle_timeout, max_age });
        for step in steps {
            both.step(step);
            both.holds();
        }
    }
}

/// Connections that carry many calls at once.
mod shared {
    use super::*;

    #[derive(Debug, Clone)]
    struct Wide;

    impl Pooled for Wide {
        fn is_open(&self) -> bool {
            true
        }

        fn share(&self) -> Option<Self> {
            Some(Self)
        }
    }

    fn ledger(max: usize) -> Ledger<Wide, (), u32> {
        let hour = Duration::from_secs(3_600);
        Ledger::new(Limits { max: Some(max), max_idle: 1, idle_timeout: hour, max_age: None }, true)
    }

    fn ask(ledger: &mut Ledger<Wide, (), u32>) -> Option<u64> {
        let mut ticket = None;
        let found = ledger.look(&mut ticket, 0, time::now(), &mut After::default());
        assert_eq!(found.is_none(), ticket.is_some());
        ticket
    }

    #[test]
    fn one_connection_serves_all_that_wait_and_those_to_come() {
        let (mut ledger, now, mut after) = (ledger(2), time::now(), After::default());
        assert!((0..3).all(|_| ask(&mut ledger).is_some()));
        assert_eq!((ledger.dials_due(), ledger.dials_due()), (1, 0), "one may be enough");
        ledger.dialed(Ok(Wide), 0, now, 0.0, &mut after);
        assert_eq!(after.woken.len(), 3);
        assert!(ask(&mut ledger).is_none() && ask(&mut ledger).is_none());
        ledger.empty(&mut after);
        assert!(ask(&mut ledger).is_some() && ask(&mut ledger).is_some());
        ledger.closed(&mut after);
        assert_eq!(ledger.dials_due(), 1);
    }

    /// One that could not be made, or that carries one call at a time.
    #[test]
    fn where_one_is_not_enough_the_others_are_made_at_once() {
        let (mut ledger, now, mut after) = (ledger(9), time::now(), After::default());
        assert!((0..5).all(|_| ask(&mut ledger).is_some()));
        assert_eq!(ledger.dials_due(), 1);
        ledger.dialed(Err(()), 0, now, 0.0, &mut after);
        ledger.closed(&mut after);
        assert_eq!((after.woken.len(), ledger.dials_due()), (5, 4), "all look");
    }
}
