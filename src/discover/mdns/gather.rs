//! When a watch has something to tell, as arithmetic.

use std::{sync::Arc, time::Duration};

use crate::{
    endpoint::Endpoint,
    time::{self, Instant},
};

/// For so long nothing may have changed before a first set counts as complete.
const QUIET: Duration = Duration::from_millis(300);
/// For so long nothing may have changed later, so that what changes together is told together.
const SETTLE: Duration = Duration::from_millis(50);

/// How the network looks.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// Those that may be used.
    pub(super) set: Vec<Arc<Endpoint>>,
    /// Whether all that were found were checked.
    pub(super) is_checked: bool,
    pub(super) changed_at: Instant,
    /// How many have left by themselves.
    pub(super) removals: u64,
    /// How often a way into the network was lost, which takes instances away that are still there.
    pub(super) lost: u64,
}

#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// The set is news. Certain: those that lack said so.
    Tell { is_certain: bool },
    /// It is not, until then.
    Wait(Option<Instant>),
}

/// How a watch stands.
#[derive(Debug)]
pub(super) struct Gather {
    until: Instant,
    /// Whether there was a set before, of which this one must not lack anything by chance.
    is_anew: bool,
    told: Option<View>,
}

impl Gather {
    pub(super) fn new(began: Instant, timeout: Duration, is_anew: bool) -> Self {
        Self { until: time::later(began, timeout), is_anew, told: None }
    }

    /// Whether all that are there had the time to say so.
    pub(super) fn is_complete(&self, now: Instant) -> bool {
        self.told.is_some() || now >= self.until
    }

    /// Whether a set was told.
    pub(super) fn has_told(&self) -> bool {
        self.told.is_some()
    }

    /// What was told last with that key.
    pub(super) fn told(&self, key: &str) -> Option<Arc<Endpoint>> {
        self.told.as_ref()?.set.iter().find(|endpoint| endpoint.key() == key).cloned()
    }

    pub(super) fn step(&mut self, view: View, now: Instant) -> Step {
        let Some(told) = &mut self.told else {
            let quiet = time::later(view.changed_at, QUIET);
            let is_enough = !self.is_anew && !view.set.is_empty() && view.is_checked;
            if now >= self.until || is_enough && now >= quiet {
                self.told = Some(view);
                return Step::Tell { is_certain: false };
            }
            return Step::Wait(Some(if is_enough { quiet.min(self.until) } else { self.until }));
        };
        if told.set == view.set {
            // What left was none of these.
            (told.removals, told.lost) = (view.removals, view.lost);
            return Step::Wait(None);
        }
        let settled = time::later(view.changed_at, SETTLE);
        if now < settled {
            return Step::Wait(Some(settled));
        }
        let is_certain = view.removals != told.removals && view.lost == told.lost;
        *told = view;
        Step::Tell { is_certain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn view(keys: &[&str], changed_at: Instant) -> View {
        let set = keys.iter().map(|key| Arc::new(Endpoint::new("a:1").unwrap().with_key(*key)));
        View { set: set.collect(), is_checked: true, changed_at, removals: 0, lost: 0 }
    }

    fn after(start: Instant, millis: u64) -> Instant {
        time::later(start, Duration::from_millis(millis))
    }

    const UNSURE: Step = Step::Tell { is_certain: false };

    #[test]
    fn an_empty_network_is_an_answer_after_the_browse_timeout() {
        let start = time::now();
        let mut gather = Gather::new(start, TIMEOUT, false);
        assert_eq!(gather.step(view(&[], start), start), Step::Wait(Some(after(start, 5_000))));
        assert!(!gather.is_complete(after(start, 4_999)));
        assert_eq!(gather.step(view(&[], start), after(start, 5_000)), UNSURE);
    }

    #[test]
    fn the_first_set_is_told_once_it_is_quiet_and_checked() {
        let start = time::now();
        let mut gather = Gather::new(start, TIMEOUT, false);
        let found = view(&["a"], after(start, 100));
        let quiet = Step::Wait(Some(after(start, 400)));
        assert_eq!(gather.step(found.clone(), after(start, 100)), quiet);
        let unchecked = View { is_checked: false, ..found.clone() };
        assert_eq!(
            gather.step(unchecked, after(start, 400)),
            Step::Wait(Some(after(start, 5_000)))
        );
        assert_eq!(gather.step(found, after(start, 400)), UNSURE);
    }

    #[test]
    fn a_set_that_is_gathered_anew_takes_the_whole_time() {
        let start = time::now();
        let mut gather = Gather::new(start, TIMEOUT, true);
        let found = view(&["a"], start);
        let whole = Step::Wait(Some(after(start, 5_000)));
        assert_eq!(gather.step(found.clone(), after(start, 4_999)), whole);
        assert_eq!(gather.step(found, after(start, 5_000)), UNSURE);
    }

    #[test]
    fn a_goodbye_is_certain_and_a_lost_interface_is_not() {
        let start = time::now();
        let mut gather = Gather::new(start, Duration::ZERO, false);
        assert_eq!(gather.step(view(&["a", "b", "c"], start), start), UNSURE);
        assert_eq!(gather.step(view(&["a", "b", "c"], start), after(start, 9)), Step::Wait(None));

        let goodbye = View { removals: 1, ..view(&["a", "b"], after(start, 10)) };
        let settled = Step::Wait(Some(after(start, 60)));
        assert_eq!(gather.step(goodbye.clone(), after(start, 10)), settled);
        let step = gather.step(goodbye, after(start, 60));
        assert_eq!(step, Step::Tell { is_certain: true });

        let lost = View { removals: 2, lost: 1, ..view(&["a"], after(start, 70)) };
        assert_eq!(gather.step(lost, after(start, 130)), UNSURE);
        let joined = View { removals: 2, lost: 1, ..view(&["a", "d"], after(start, 140)) };
        assert_eq!(gather.step(joined, after(start, 200)), UNSURE);
        let goodbye = View { removals: 3, lost: 1, ..view(&["a"], after(start, 210)) };
        assert_eq!(gather.step(goodbye, after(start, 300)), Step::Tell { is_certain: true });
    }
}
