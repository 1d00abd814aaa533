//! The rules of a circuit, pure: what happened and when in, the state out. No clock, no lock.

pub(super) mod counts;
mod hand;
mod look;
pub(super) mod rules;
#[cfg(test)]
mod tests;
pub(super) mod window;
pub(super) mod word;

use std::{sync::Arc, time::Duration};

use self::{
    rules::{Ended, Trial, Verdict},
    window::Window,
    word::{Ticket, Word},
};
use super::{CircuitBreakerConfig, CircuitState};

/// A circuit, without what makes it fast: every call that may change it goes through here, but good
/// calls of a closed circuit are only counted outside, and told of as a sum.
#[derive(Debug)]
pub(super) struct Machine {
    config: Arc<CircuitBreakerConfig>,
    state: CircuitState,
    generation: u64,
    /// Only where a rule looks at it.
    window: Option<Window>,
    /// Calls that are overdue, as far as the rules have looked at them; while open, as many as there
    /// were when it opened.
    overdue: u64,
    /// Failures in a row.
    in_a_row: u32,
    /// The good calls of this generation that are in the window already.
    seen: u64,
    /// How often in a row it opened without having closed in between.
    openings: u32,
    /// From 0 up to 1: what is random about how long it is open the next time.
    pub(super) random: f64,
    /// Until when it is open.
    until: u64,
    /// When the generation began.
    turned_at: u64,
    trial: Trial,
    /// Whether an operator put it into its state, and not a rule.
    by_hand: bool,
    /// Whether good calls are looked at one by one.
    watches: bool,
    /// Whether a circuit that only measures would be open.
    would_be_open: bool,
    /// How often it opened, or would have.
    pub(super) opened: u64,
    pub(super) would_have_opened: u64,
}

/// What comes from outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Nanoseconds since the circuit was made.
    pub(super) nanos: u64,
    /// Good calls of the generation that it is in when this is told.
    pub(super) good: u64,
    pub(super) generation: u64,
    /// Calls of that generation that have been on their way for so long that they are slow.
    pub(super) overdue: u64,
}

/// The state in which a circuit is when nothing has happened.
fn rest(config: &CircuitBreakerConfig) -> CircuitState {
    match (config.enabled, config.metrics_only) {
        (false, _) => CircuitState::Disabled,
        (true, true) => CircuitState::MetricsOnly,
        (true, false) => CircuitState::Closed,
    }
}

impl Machine {
    pub(super) fn new(config: impl Into<Arc<CircuitBreakerConfig>>) -> Self {
        let config = config.into();
        let state = rest(&config);
        let window = config.needs_window().then(|| Window::new(config.window, 0));
        Self {
            config,
            state,
            generation: 0,
            window,
            overdue: 0,
            in_a_row: 0,
            seen: 0,
            openings: 0,
            random: 0.5,
            until: 0,
            turned_at: 0,
            trial: Trial::default(),
            by_hand: false,
            watches: false,
            would_be_open: false,
            opened: 0,
            would_have_opened: 0,
        }
    }

    /// Does what time has brought.
    pub(super) fn tick(&mut self, now: Now) {
        if let Some(due) = self.due().filter(|due| now.nanos >= *due) {
            match self.state {
                CircuitState::Open => self.turn(CircuitState::HalfOpen, now),
                _ => self.open(now, None),
            }
            self.turned_at = due;
        } else if self.is_counting() && now.overdue > self.overdue {
            self.count(None, 0, now);
        }
    }

    /// A place for one call, or `None`.
    pub(super) fn admit(&mut self, now: Now) -> Option<Ticket> {
        self.tick(now);
        match self.state {
            CircuitState::HalfOpen if !self.is_full() => {
                self.trial.admit(now.nanos);
                Some(Ticket::probe(self.generation))
            }
            CircuitState::Open | CircuitState::HalfOpen | CircuitState::ForcedOpen => None,
            _ => Some(self.word().ticket()),
        }
    }

    /// Whether a call would get a place.
    pub(super) fn would_admit(&mut self, now: Now) -> bool {
        self.tick(now);
        match self.state {
            CircuitState::HalfOpen => !self.is_full(),
            state => !matches!(state, CircuitState::Open | CircuitState::ForcedOpen),
        }
    }

    /// A call has ended; `None` if it says nothing. Whether it was of this generation: else nothing
    /// happened.
    pub(super) fn settle(&mut self, ticket: Ticket, ended: Option<Ended>, now: Now) -> bool {
        if !ticket.is_of(self.generation) {
            return false;
        }
        match self.state {
            _ if ticket.is_judged() => self.fail_after_all(ended, now),
            CircuitState::Closed | CircuitState::MetricsOnly => self.count(ended, 0, now),
            CircuitState::HalfOpen if ticket.is_probe() => self.try_out(ended, now),
            _ => {}
        }
        true
    }

    /// A call has ended that is counted already, as a good one: only that it failed is news.
    fn fail_after_all(&mut self, ended: Option<Ended>, now: Now) {
        let Some(ended) = ended.filter(|ended| ended.failed) else {
            return;
        };
        if self.state == CircuitState::HalfOpen {
            let verdict = self.trial.fail_after_all(now.nanos, &self.config);
            self.conclude(verdict, Some(ended), now);
        } else if self.is_counting() {
            self.catch_up(now, 0);
            self.finds_overdue(now);
            self.in_a_row = self.in_a_row.saturating_add(1);
            if let Some(window) = &mut self.window {
                window.fail_slow(now.nanos);
            }
            self.decide(Some(ended), now);
        }
    }

    /// Good calls alone have ended, `own` of them just now.
    pub(super) fn look(&mut self, own: u64, now: Now) {
        if self.is_counting() {
            self.count(None, own, now);
        }
    }

    fn count(&mut self, ended: Option<Ended>, own: u64, now: Now) {
        let news = self.catch_up(now, own) | self.finds_overdue(now);
        // Time alone, which takes calls out of the window, opens nothing.
        if !news && ended.is_none() {
            return;
        }
        if let Some(Ended { failed, slow, .. }) = ended {
            self.in_a_row = if failed { self.in_a_row.saturating_add(1) } else { 0 };
            if let Some(window) = &mut self.window {
                window.add(failed, slow, now.nanos);
            }
        }
        self.decide(ended, now);
    }

    /// Opens the circuit if a rule is met.
    fn decide(&mut self, ended: Option<Ended>, now: Now) {
        let tally = self.held(now);
        let trips = rules::trips(&self.config, self.in_a_row, tally);
        if self.state == CircuitState::MetricsOnly {
            self.would_have_opened += u64::from(trips && !self.would_be_open);
            self.would_be_open = trips;
        } else if trips {
            self.open(now, ended.and_then(|ended| ended.retry_after));
        }
    }

    /// Whether more calls are overdue than before.
    fn finds_overdue(&mut self, now: Now) -> bool {
        let before = std::mem::replace(&mut self.overdue, now.overdue);
        now.overdue > before
    }

    /// Puts into the window what was only counted, if anything was.
    fn catch_up(&mut self, now: Now, own: u64) -> bool {
        let good = now.good.saturating_sub(self.seen);
        if good == 0 || now.generation != self.generation {
            return false;
        }
        self.seen = now.good;
        self.in_a_row = 0;
        let counts = self.is_counting();
        if let Some(window) = self.window.as_mut().filter(|_| counts) {
            let own = own.min(good);
            window.add_good(good - own, own, now.nanos);
        }
        true
    }

    fn try_out(&mut self, ended: Option<Ended>, now: Now) {
        let verdict = self.trial.end(ended, now.nanos, &self.config);
        self.conclude(verdict, ended, now);
    }

    fn conclude(&mut self, verdict: Verdict, ended: Option<Ended>, now: Now) {
        match verdict {
            Verdict::Undecided => {}
            Verdict::Open => self.open(now, ended.and_then(|ended| ended.retry_after)),
            Verdict::Close => {
                self.openings = 0;
                self.turn(CircuitState::Closed, now);
            }
        }
    }

    /// Opens without a call that failed.
    #[cfg(test)]
    pub(super) fn trip(&mut self, now: Now) {
        self.open(now, None);
    }

    fn open(&mut self, now: Now, asked: Option<Duration>) {
        let wait = rules::wait(&self.config, self.openings, self.random, asked);
        self.openings = self.openings.saturating_add(1);
        self.opened += 1;
        self.until = now.nanos.saturating_add(wait);
        self.turn(CircuitState::Open, now);
    }

    fn turn(&mut self, state: CircuitState, now: Now) {
        self.state = state;
        self.generation = Word::next_generation(self.generation);
        self.turned_at = now.nanos;
        self.seen = 0;
        self.in_a_row = 0;
        self.trial = Trial::default();
        self.would_be_open = false;
        // What opened it can be looked at while it is open.
        if state != CircuitState::Open {
            self.overdue = 0;
            if let Some(window) = &mut self.window {
                window.clear(now.nanos);
            }
        }
    }

    /// Another generation in which nothing else has changed.
    pub(super) fn renew(&mut self, now: Now) {
        self.catch_up(now, 0);
        self.generation = Word::next_generation(self.generation);
        self.seen = 0;
        self.overdue = 0;
    }
}
