//! Which target is checked when, in one run: orders and time in, checks out. It reads no clock.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    mem,
    sync::Arc,
};

use super::{
    gate::Gate,
    record::{Change, Finding},
    roster::Name,
};
use crate::{sync::RandomSource, time::Instant};

/// Void entries of the heap are borne up to so many.
pub(super) const SWEEP: usize = 64;

pub(super) struct Schedule {
    slots: BTreeMap<u64, Slot>,
    /// The earliest on top. An entry that is not what its slot says is void.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    round: Option<Round>,
    random: RandomSource,
}

struct Slot {
    name: Name,
    gate: Arc<Gate>,
    /// When the last check was due.
    last: Option<Instant>,
    /// When the next one is; `None` while one runs, and where checks are off.
    due: Option<Instant>,
    checking: bool,
    /// Not known yet, so it was asked soon; once it is, it is put anywhere within the interval.
    crowded: bool,
    /// A round waits for a check that has not begun.
    owed: bool,
    /// A round waits for the check that runs.
    in_round: bool,
}

/// A round at once: it is done when each that was there at its begin has been checked by a check
/// that began after that, or has left.
struct Round {
    left: usize,
    changed: usize,
}

/// A check that is done.
pub(super) struct Finished {
    number: u64,
    due: Instant,
    finding: Finding,
}

impl Schedule {
    pub(super) fn new(random: RandomSource) -> Self {
        Self { slots: BTreeMap::new(), due: BinaryHeap::new(), round: None, random }
    }

    pub(super) fn take_in(&mut self, arrivals: Vec<(Name, Arc<Gate>)>, now: Instant) {
        for (name, gate) in arrivals {
            let (number, pace) = (name.1, gate.pace());
            let slot = Slot {
                name,
                gate,
                last: None,
                due: None,
                checking: false,
                crowded: !pace.is_settled,
                owed: false,
                in_round: false,
            };
            self.slots.insert(number, slot);
            let first = pace.is_on().then(|| pace.first(now, self.random.fraction()));
            self.schedule(number, first);
        }
    }

    fn schedule(&mut self, number: u64, due: Option<Instant>) {
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.due = due;
            self.due.extend(due.map(|at| Reverse((at, number))));
        }
    }

    pub(super) fn let_go(&mut self, number: u64) {
        let slot = self.slots.remove(&number);
        if slot.is_some_and(|slot| slot.owed || slot.in_round) {
            self.count_in_round(false);
        }
    }

    /// Drops void entries where there are more of them than others. A constant share of what made
    /// them.
    pub(super) fn sweep(&mut self) {
        if self.due.len() > 2 * self.slots.len() + SWEEP {
            let dues = self.slots.iter();
            self.due =
                dues.filter_map(|(&number, slot)| Some(Reverse((slot.due?, number)))).collect();
        }
    }

    /// How many slots there are, and entries of the heap.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.slots.len(), self.due.len())
    }

    /// Puts all that wait at their time by the intervals that hold now.
    pub(super) fn replan(&mut self, now: Instant) {
        self.due.clear();
        for (&number, slot) in self.slots.iter_mut().filter(|(_, slot)| !slot.checking) {
            let (pace, random) = (slot.gate.pace(), self.random.fraction());
            // A round waits no more for what is switched off.
            if !pace.is_on() && mem::take(&mut slot.owed) {
                self.round.iter_mut().for_each(|round| round.left -= 1);
            }
            slot.due = match slot.last {
                _ if !pace.is_on() => None,
                _ if slot.owed => Some(now),
                // What would be late is spread, as the first checks are.
                Some(last) => {
                    let next = pace.next(last, random);
                    Some(if next > now { next } else { pace.first(now, self.random.fraction()) })
                }
                None => {
                    let first = pace.first(now, random);
                    Some(slot.due.map_or(first, |due| due.min(first)))
                }
            };
            self.due.extend(slot.due.map(|at| Reverse((at, number))));
        }
    }

    pub(super) fn begin_round(&mut self, now: Instant) {
        let mut round = Round { left: 0, changed: 0 };
        for (&number, slot) in &mut self.slots {
            if slot.gate.pace().is_on() {
                slot.owed = true;
                round.left += 1;
                if !slot.checking {
                    slot.due = Some(now);
                    self.due.push(Reverse((now, number)));
                }
            }
        }
        self.round = Some(round);
    }

    fn count_in_round(&mut self, changed: bool) {
        if let Some(round) = &mut self.round {
            round.left -= 1;
            round.changed += usize::from(changed);
        }
    }

    /// How many the round changed that is done by now.
    pub(super) fn end_round(&mut self) -> Option<usize> {
        let round = self.round.take_if(|round| round.left == 0)?;
        Some(round.changed)
    }

    /// When the next check is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Begins the check of the one that has been due for longest.
    pub(super) fn begin_due(
        &mut self,
        now: Instant,
    ) -> Option<impl Future<Output = Finished> + Send + use<>> {
        loop {
            let &Reverse((at, number)) = self.due.peek()?;
            if at > now {
                return None;
            }
            self.due.pop();
            let Some(slot) = self.slots.get_mut(&number).filter(|slot| slot.due == Some(at)) else {
                continue;
            };
            (slot.due, slot.last, slot.checking) = (None, Some(at), true);
            slot.in_round = mem::take(&mut slot.owed);
            let check = slot.gate.probe();
            return Some(async move { Finished { number, due: at, finding: check.await } });
        }
    }

    /// Hands a check that is done to its gate. What was checked and what that changed, if it counts.
    pub(super) fn settle(&mut self, finished: Finished, now: Instant) -> Option<(&Name, bool)> {
        let Finished { number, due, finding } = finished;
        // One that has left was let go, or will be.
        let slot = self.slots.get_mut(&number)?;
        let change = slot.gate.settle(finding);
        let changed = matches!(change, Change::Opens | Change::Shuts);
        let (pace, random) = (slot.gate.pace(), self.random.fraction());
        slot.checking = false;
        let spreads = slot.crowded && pace.is_settled;
        slot.crowded &= !spreads;
        let next = match pace.is_on() {
            false => None,
            true if slot.owed => Some(now),
            // The first checks of a set come close together, and would go on like that.
            true if spreads && !slot.in_round && pace.slows_down() => Some(pace.first(now, random)),
            true => Some(pace.next_after(due, now, random)),
        };
        // A round waits no more for what is switched off.
        let is_given_up = !pace.is_on() && mem::take(&mut slot.owed);
        let was_in_round = mem::take(&mut slot.in_round);
        self.schedule(number, next);
        if was_in_round || is_given_up {
            self.count_in_round(changed);
        }
        let slot = self.slots.get(&number)?;
        (change != Change::Void).then_some((&slot.name, changed))
    }
}
