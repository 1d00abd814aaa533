//! Calls in line, pure: in order, and none in the way of the others for longer than it may wait
//! itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::time::{Instant, later};

/// `W` is what wakes one in line.
#[derive(Debug)]
pub(in crate::limit) struct Line<W> {
    /// By number, and numbers are given in order.
    entries: BTreeMap<u64, Entry<W>>,
    /// The same by when they give up: one that is not polled cannot leave by itself.
    ends: BTreeSet<(Instant, u64)>,
    /// Those with a lower number have been called, and the others wait.
    first: u64,
    next: u64,
    waiting: usize,
    weight: u64,
}

#[derive(Debug)]
struct Entry<W> {
    until: Instant,
    weight: u64,
    /// There after the first poll.
    waker: Option<W>,
    /// How long it may take to come once it is called, if that is not until it gives up. As the waker.
    come_within: Option<Duration>,
}

/// One that looks where it stands.
pub(super) struct Look<'a, W> {
    pub(super) number: u64,
    pub(super) come_within: Option<Duration>,
    pub(super) now: Instant,
    /// What wakes it, in exchange for the one that was kept before.
    pub(super) waker: &'a mut Option<W>,
}

/// Where one in line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) enum Turn {
    /// It has been called.
    Called,
    /// Others come first. It has to look again at this time, though nothing woke it: then the one
    /// before it must be gone, and would hold up the others if it were not.
    Waits(Option<Instant>),
    /// It was not polled in its time, so those behind it moved up.
    Missed,
}

/// What is to be done for one that left; outside of any lock, since wakers do as they like.
#[derive(Debug)]
pub(super) struct Left<W> {
    pub(super) was_called: bool,
    /// Wakes the one that waits behind it, which has another before it to watch now.
    pub(super) behind: Option<W>,
    /// To be dropped.
    _waker: Option<W>,
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        let (entries, ends) = (BTreeMap::new(), BTreeSet::new());
        Self { entries, ends, first: 0, next: 0, waiting: 0, weight: 0 }
    }
}

impl<W> Line<W> {
    /// Returns how many are in line: those that wait, and those that were called.
    pub(in crate::limit) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns how many wait to be called.
    pub(in crate::limit) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns the sum of the weights of all in line.
    pub(in crate::limit) fn weight(&self) -> u64 {
        self.weight
    }

    /// Puts one at the end, which gives up at `until`, and returns its number.
    pub(super) fn push(&mut self, weight: u64, until: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting += 1;
        self.weight = self.weight.saturating_add(weight);
        self.entries.insert(number, Entry { until, weight, waker: None, come_within: None });
        self.ends.insert((until, number));
        number
    }

    /// Calls the first of those that wait, and returns what wakes it. If it has to come within a time, that
    /// is when it gives up.
    pub(super) fn call_first(&mut self, now: impl FnOnce() -> Instant) -> Option<W> {
        let (&number, entry) = self.entries.range_mut(self.first..).next()?;
        self.first = number + 1;
        self.waiting -= 1;
        let come_by = entry.come_within.map(|within| later(now(), within));
        if let Some(come_by) = come_by.filter(|come_by| *come_by < entry.until) {
            self.ends.remove(&(entry.until, number));
            self.ends.insert((come_by, number));
            entry.until = come_by;
        }
        entry.waker.take()
    }

    /// Takes what wakes the first of those that were called.
    pub(super) fn take_waker(&mut self) -> Option<W> {
        self.entries.range_mut(..self.first).find_map(|(_, entry)| entry.waker.take())
    }

    /// Tells where it stands, and keeps what wakes it.
    pub(super) fn turn(&mut self, look: Look<'_, W>) -> Turn {
        let Look { number, come_within, now, waker } = look;
        let Some(entry) = self.entries.get_mut(&number) else {
            return Turn::Missed;
        };
        std::mem::swap(&mut entry.waker, waker);
        entry.come_within = come_within;
        if number < self.first {
            return Turn::Called;
        }
        let before = self.entries.range(self.first..number).next_back();
        let called = || self.entries.range(..self.first).map(|(_, called)| called.until).min();
        let gone = before.map(|(_, before)| before.until).or_else(called);
        // Those before it may all be called in vain, each for so long; and none of them may look.
        let others = (number - self.first).min(self.waiting as u64).try_into().unwrap_or(u32::MAX);
        let missed =
            come_within.map(|within| later(now, within.saturating_mul(others.saturating_add(1))));
        Turn::Waits(gone.into_iter().chain(missed).min())
    }

    /// Takes one out; `None` if it is gone already.
    pub(super) fn leave(&mut self, number: u64) -> Option<Left<W>> {
        let Entry { until, weight, waker, .. } = self.entries.remove(&number)?;
        self.ends.remove(&(until, number));
        self.weight = self.weight.saturating_sub(weight);
        let was_called = number < self.first;
        let mut behind = None;
        if !was_called {
            self.waiting -= 1;
            let next = self.entries.range_mut(number..).next();
            behind = next.and_then(|(_, next)| next.waker.take());
        }
        Some(Left { was_called, behind, _waker: waker })
    }

    /// Returns one whose time is over by `now`, other than `own`, which is alive and asks.
    pub(super) fn overdue(&self, now: Instant, own: Option<u64>) -> Option<u64> {
        let late = self.ends.iter().take_while(|(until, _)| *until <= now);
        late.map(|&(_, number)| number).find(|&number| own != Some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    const WITHIN: Duration = Duration::from_millis(250);

    /// A line with waits of so many seconds from now.
    fn line(until: &[u64], now: Instant) -> Line<u64> {
        let mut line = Line::default();
        for until in until {
            line.push(1, now + Duration::from_secs(*until));
        }
        line
    }

    fn look(of: &mut Line<u64>, number: u64, come_within: Option<Duration>, now: Instant) -> Turn {
        of.turn(Look { number, come_within, now, waker: &mut Some(number) })
    }

    fn later_than(turn: Turn, of: Turn) -> Option<Duration> {
        let (Turn::Waits(Some(at)), Turn::Waits(Some(since))) = (turn, of) else { return None };
        Some(at.saturating_duration_since(since))
    }

    #[test]
    fn one_looks_when_the_one_before_it_must_be_gone_or_all_may_have_been_called_in_vain() {
        let now = time::now();
        let mut all = line(&[10, 20, 30, 40, 50], now);
        // By itself the one before it; the first, those that were called.
        let of = |all: &mut Line<u64>, number| look(all, number, None, now);
        let second = of(&mut all, 1);
        assert_eq!(of(&mut all, 0), Turn::Waits(None));
        assert_eq!(later_than(of(&mut all, 3), second), Some(Duration::from_secs(20)));
        assert_eq!(all.call_first(time::now), Some(0));
        assert_eq!((of(&mut all, 0), of(&mut all, 1)), (Turn::Called, second));
        // One that has to come soon thinks so of the others.
        let soon = |all: &mut Line<u64>, number| look(all, number, Some(WITHIN), now);
        let first = soon(&mut all, 1);
        assert_eq!(later_than(second, first), Some(Duration::from_secs(10) - WITHIN));
        assert_eq!(later_than(soon(&mut all, 4), first), Some(3 * WITHIN));
        // One that has left delays none.
        assert_eq!(all.leave(2).and_then(|left| left.behind), Some(3));
        assert_eq!(later_than(soon(&mut all, 4), first), Some(3 * WITHIN));
        assert!(all.leave(3).is_some());
        assert_eq!(later_than(soon(&mut all, 4), first), Some(2 * WITHIN));
    }

    #[test]
    fn one_that_is_called_gives_up_sooner_if_it_has_to_come_within_a_time_and_never_later() {
        let now = time::now();
        let mut all = line(&[10, 10, 10], now);
        look(&mut all, 0, Some(WITHIN), now);
        look(&mut all, 1, Some(Duration::MAX), now);
        while all.waiting() > 0 {
            all.call_first(|| now);
        }
        assert_eq!(all.overdue(now + WITHIN, None), Some(0));
        assert_eq!(all.overdue(now + WITHIN, Some(0)), None, "it is here");
        assert_eq!(all.overdue(now + Duration::from_secs(11), Some(0)), Some(1));
        (0..3).for_each(|number| assert!(all.leave(number).is_some_and(|left| left.was_called)));
        assert_eq!(all.overdue(now + Duration::from_secs(3_600), None), None, "nothing is left");
        assert_eq!((all.len(), all.waiting(), all.weight()), (0, 0, 0));
    }
}
