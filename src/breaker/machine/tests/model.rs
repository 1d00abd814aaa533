//! A naive model: every call with its time and generation, all rules by counting anew.

use super::*;

#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) config: CircuitBreakerConfig,
    pub(super) state: CircuitState,
    pub(super) generation: u64,
    /// Calls of this generation: when, failed, slow.
    calls: Vec<(u64, bool, bool)>,
    in_a_row: usize,
    pub(super) openings: i32,
    pub(super) until: u64,
    moved: u64,
    out: usize,
    /// Calls of this generation that hang.
    pub(super) overdue: usize,
}

impl Model {
    pub(super) fn new(config: CircuitBreakerConfig) -> Self {
        Self {
            config,
            state: CircuitState::Closed,
            generation: 0,
            calls: Vec::new(),
            in_a_row: 0,
            openings: 0,
            until: 0,
            moved: 0,
            out: 0,
            overdue: 0,
        }
    }

    pub(super) fn turn(&mut self, state: CircuitState) {
        (self.state, self.out, self.overdue, self.in_a_row) = (state, 0, 0, 0);
        self.generation += 1;
        self.calls.clear();
    }

    fn open(&mut self, now: u64, asked: u64) {
        let grown =
            self.config.open_for.as_secs_f64() * self.config.open_growth.powi(self.openings);
        let own = (grown.min(self.config.max_open_for.as_secs_f64()) * 1e9) as u64;
        self.until = now + own.max(asked.min(self.config.max_open_for.as_nanos() as u64));
        self.openings += 1;
        self.turn(CircuitState::Open);
    }

    fn inside(&self, now: u64) -> Vec<(u64, bool, bool)> {
        match self.config.window {
            Window::Calls(size) => {
                let from = self.calls.len().saturating_sub(size as usize);
                self.calls[from..].to_vec()
            }
            Window::Time(time) => {
                let bucket = time.as_nanos() as u64 / 10;
                let inside = |call: &&(u64, bool, bool)| call.0 / bucket + 10 > now / bucket;
                self.calls.iter().filter(inside).copied().collect()
            }
        }
    }

    fn tick(&mut self, now: u64) {
        let half_open_for = self.config.half_open_for.as_nanos() as u64;
        match self.state {
            CircuitState::Open if now >= self.until => self.turn(CircuitState::HalfOpen),
            CircuitState::HalfOpen if self.out > 0 && now >= self.moved + half_open_for => {
                self.open(now, 0);
            }
            _ => {}
        }
    }

    pub(super) fn admit(&mut self, now: u64) -> Option<u64> {
        self.tick(now);
        match self.state {
            CircuitState::Closed => Some(self.generation),
            CircuitState::HalfOpen => {
                let all = (self.config.successes + self.config.probe_failures) as usize;
                let free = self.out < self.config.probes as usize;
                (free && self.out + self.calls.len() < all).then(|| {
                    if self.out == 0 {
                        self.moved = now;
                    }
                    self.out += 1;
                    self.generation
                })
            }
            _ => None,
        }
    }

    pub(super) fn end(&mut self, generation: u64, ended: Option<Ended>, now: u64) {
        if generation != self.generation {
            return;
        }
        self.out = self.out.saturating_sub(1);
        let Some(Ended { failed, slow, retry_after }) = ended else {
            return;
        };
        self.moved = now;
        let asked = retry_after.map_or(0, |asked| asked.as_nanos() as u64);
        self.calls.push((now, failed, slow));
        self.in_a_row = if failed { self.in_a_row + 1 } else { 0 };
        self.decide(asked, now);
    }

    /// A call that goes on is counted with its head.
    pub(super) fn goes_on(&mut self, generation: u64, slow: bool, now: u64) {
        self.end(generation, Some(Ended { slow, ..GOOD }), now);
    }

    /// And only if it fails there is more to say.
    pub(super) fn end_of_body(&mut self, generation: u64, ended: Option<Ended>, now: u64) {
        let Some(Ended { failed: true, retry_after, .. }) = ended else {
            return;
        };
        if generation != self.generation || self.state == CircuitState::Open {
            return;
        }
        self.moved = now;
        let is_half_open = self.state == CircuitState::HalfOpen;
        let inside = if is_half_open { self.calls.clone() } else { self.inside(now) };
        let first = self.calls.len() - inside.len();
        // Of the trial any good one; else one that was slow.
        let stands = |call: &(u64, bool, bool)| !call.1 && (call.2 || is_half_open);
        match inside.iter().rposition(stands) {
            Some(index) => self.calls[first + index].1 = true,
            None => self.calls.push((now, true, false)),
        }
        self.in_a_row += 1;
        self.decide(retry_after.map_or(0, |asked| asked.as_nanos() as u64), now);
    }

    fn decide(&mut self, asked: u64, now: u64) {
        let config = &self.config;
        if self.state == CircuitState::HalfOpen {
            let bad = self.calls.iter().filter(|call| call.1).count();
            let slow = self.calls.iter().filter(|call| call.2).count() as f64;
            let is_slow = |ratio| slow / self.calls.len() as f64 >= ratio;
            if bad > config.probe_failures as usize {
                self.open(now, asked);
            } else if self.calls.len() - bad >= config.successes as usize {
                if config.slow_ratio.is_some_and(is_slow) {
                    self.open(now, asked);
                } else {
                    self.openings = 0;
                    self.turn(CircuitState::Closed);
                }
            }
            return;
        }
        self.evaluate(asked, now);
    }

    /// One more call hangs, and the circuit is looked at.
    pub(super) fn hang(&mut self, now: u64) {
        self.overdue += 1;
        self.evaluate(0, now);
    }

    fn evaluate(&mut self, asked: u64, now: u64) {
        let config = &self.config;
        let in_a_row = self.in_a_row;
        let inside = self.inside(now);
        let calls = inside.len() + self.overdue;
        let share = |part: usize| part as f64 / calls as f64;
        let failed = share(inside.iter().filter(|call| call.1).count());
        let slow = share(inside.iter().filter(|call| call.2).count() + self.overdue);
        let least = match config.window {
            Window::Calls(size) => config.min_calls.clamp(1, size),
            Window::Time(_) => config.min_calls.max(1),
        };
        let by_row = config.failures > 0
            && in_a_row >= config.failures as usize
            && calls.max(in_a_row) >= config.failures_min_calls as usize;
        let by_ratio = calls >= least as usize
            && (config.failure_ratio.is_some_and(|ratio| failed >= ratio)
                || config.slow_ratio.is_some_and(|ratio| slow >= ratio));
        if by_row || by_ratio {
            self.open(now, asked);
        }
    }
}
