//! The rules against a naive model of them: any calls, answers, deaths and changes, in any order.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use proptest::prelude::*;

use super::{
    kept::{Kept, Pooled},
    ledger::{After, Found, Ledger},
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
    Empty(bool),
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
        1 => any::<bool>().prop_map(Empty),
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
    /// Woken, and did not look yet.
    woken: BTreeSet<u64>,
}

impl Both {
    fn new(limits: Limits) -> Self {
        let model = Model::new(limits);
        let ledger = Ledger::new(limits);
        Self { ledger, model, leased: Vec::new(), born: Vec::new(), woken: BTreeSet::new() }
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

    fn after(&mut self, after: After<Conn, u64>) {
        self.woken.extend(after.woken);
    }

    fn pick(&mut self, at: usize) -> Option<Kept<Conn>> {
        let at = at.checked_rem(self.leased.len())?;
        self.model.leased -= 1;
        Some(self.leased.swap_remove(at))
    }

    fn place_closed(&mut self) {
        let after = self.ledger.closed();
        self.after(after);
    }

    fn step(&mut self, step: Step) {
        let now = self.model.now;
        match step {
            Step::Call => {
                let mut after = After::default();
                let taken = self.ledger.take(now, &mut after);
                let expected = self.model.take();
                assert_eq!(taken.as_ref().map(|kept| self.known(kept)), expected, "idle ones");
                match taken {
                    Some(kept) => self.lease(kept),
                    None => {
                        let ticket = self.model.line.last().map_or(0, |(ticket, _)| ticket + 1);
                        let ticket = ticket.max(self.ledger.join(u64::MAX));
                        // Its waker is its ticket.
                        let found = self.ledger.collect(ticket, |waker| *waker = ticket);
                        assert!(matches!(found, Found::Nothing));
                        self.model.line.push((ticket, None));
                        self.dials();
                    }
                }
                self.after(after);
            }
            Step::Poll(at) => {
                let Some(at) = at.checked_rem(self.model.line.len()) else { return };
                let (ticket, got) = self.model.line[at];
                self.woken.remove(&ticket);
                match (self.ledger.collect(ticket, |waker| *waker = ticket), got) {
                    (Found::Nothing, None) => {}
                    (Found::Connection(kept), Some(Ok(known))) => {
                        assert_eq!(self.known(&kept), known);
                        self.model.line.remove(at);
                        self.lease(kept);
                    }
                    (Found::Error(error), Some(Err(expected))) => {
                        assert_eq!(error, expected);
                        self.model.line.remove(at);
                    }
                    (found, got) => panic!("{found:?} instead of {got:?}"),
                }
                self.dials();
            }
            Step::Leave(at) => {
                let Some(at) = at.checked_rem(self.model.line.len()) else { return };
                let (ticket, got) = self.model.line.remove(at);
                self.woken.remove(&ticket);
                if let Some(Ok(known)) = got {
                    self.model.hand_on(known);
                }
                let after = self.ledger.leave(ticket, now);
                self.after(after);
            }
            Step::Made | Step::CannotMake | Step::Lost if self.model.dialing == 0 => {}
            Step::Made => {
                let id = self.born.len() as u32;
                let known = Known { id, epoch: self.model.epoch, born: now };
                self.born.push(known);
                self.model.dialing -= 1;
                self.model.hand_on(known);
                let conn = Conn { id, is_open: Arc::new(AtomicBool::new(true)) };
                let (after, _) = self.ledger.dialed(Ok(conn), now, 0.0);
                self.after(after);
            }
            Step::CannotMake => {
                self.model.dialing -= 1;
                let is_heard = self.model.give(Err(7));
                let (after, unheard) = self.ledger.dialed(Err(7), now, 0.0);
                assert_eq!(unheard.is_none(), is_heard);
                self.after(after);
                self.place_closed();
            }
            Step::Lost => {
                self.model.dialing -= 1;
                self.ledger.dial_lost();
                self.place_closed();
            }
            Step::GiveBack(at) => {
                let Some(kept) = self.pick(at) else { return };
                self.model.hand_on(self.known(&kept));
                let after = self.ledger.put(kept, now);
                self.after(after);
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
            Step::Empty(is_late) => {
                let epoch = self.model.epoch.checked_sub(u64::from(is_late));
                let after = self.ledger.empty(epoch);
                assert_eq!(after.is_none(), is_late && epoch.is_some(), "once for each epoch");
                if let Some(after) = after {
                    self.model.closing += self.model.idle.len();
                    self.model.idle.clear();
                    self.model.epoch += 1;
                    self.after(after);
                }
            }
            Step::Later(millis) => self.model.now += Duration::from_millis(millis),
            Step::Sweep => {
                self.model.sweep();
                let (after, next) = self.ledger.sweep(now);
                assert_eq!(next.is_some(), self.model.live() > 0);
                assert!(next.is_none_or(|next| next > now), "it would spin");
                self.after(after);
            }
            Step::Limits(max, max_idle) => {
                self.model.limits = Limits { max, max_idle, ..self.model.limits };
                let surplus = self.model.idle.len().saturating_sub(max_idle);
                self.model.idle.drain(..surplus);
                self.model.closing += surplus;
                let after = self.ledger.set_limits(self.model.limits);
                self.after(after);
            }
        }
    }

    /// What holds after every step.
    fn holds(&mut self) {
        assert_eq!(self.ledger.live(), self.model.live(), "what is open or being made");
        assert_eq!(self.ledger.is_dialing(), self.model.dialing > 0);
        let model = &self.model;
        for (ticket, _) in model.line.iter().filter(|(_, got)| got.is_some()) {
            assert!(self.woken.contains(ticket), "it got something and was not woken");
        }
        let is_usable = |&(_, until): &(Known, Instant)| model.now < until;
        let room = model.limits.max.is_none_or(|max| model.live() < max);
        let is_idle = model.idle.iter().any(is_usable);
        assert!(model.waiting() == 0 || !is_idle, "it waits beside an idle connection");
        // The one of the line that looks next makes all that are due.
        let is_due = room && model.waiting() > model.dialing;
        assert!(!is_due || !self.woken.is_empty(), "none sees to another connection");
        assert_eq!(self.ledger.has_room(), room || !model.idle.is_empty());
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
        let mut both = Both::new(Limits { max, max_idle, idle_timeout, max_age, shares: false });
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

    #[test]
    fn one_connection_serves_all_that_wait_and_those_to_come() {
        let hour = Duration::from_secs(3_600);
        let limits =
            Limits { max: Some(2), max_idle: 1, idle_timeout: hour, max_age: None, shares: false };
        let (mut ledger, now) = (Ledger::<Wide, (), u32>::new(limits), time::now());
        let ask = |ledger: &mut Ledger<Wide, (), u32>| {
            let mut after = After::default();
            ledger.take(now, &mut after).is_some().then_some(0).ok_or_else(|| ledger.join(0))
        };
        let tickets = [ask(&mut ledger), ask(&mut ledger), ask(&mut ledger)];
        assert!(tickets.iter().all(Result::is_err));
        assert_eq!(ledger.dials_due(), 2, "it is not known yet that one is enough");
        let (after, _) = ledger.dialed(Ok(Wide), now, 0.0);
        assert_eq!(after.woken.len(), 3);
        assert!(ask(&mut ledger).is_ok() && ask(&mut ledger).is_ok());
        let (after, _) = ledger.dialed(Ok(Wide), now, 0.0);
        assert_eq!(after.closed.len(), 1, "one too many");
        let _ = ledger.empty(None);
        assert!(ask(&mut ledger).is_err() && ask(&mut ledger).is_err());
        let _ = (ledger.closed(), ledger.closed());
        assert_eq!(ledger.dials_due(), 1, "now it is known");
    }
}
