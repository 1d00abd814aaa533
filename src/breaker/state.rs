//! The rules of a circuit: a word in, a word out. No clock, no lock, no future.

use std::fmt;

use super::CircuitBreakerConfig;
use crate::outcome::Outcome;

/// The state of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// Calls pass and are counted.
    Closed,
    /// Calls are refused for a time.
    Open,
    /// A few calls pass, to see whether it works again.
    HalfOpen,
    /// Calls are refused until somebody says otherwise.
    ForcedOpen,
    /// Calls pass whatever comes of them, until somebody says otherwise.
    ForcedClosed,
}

impl fmt::Display for CircuitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced open",
            Self::ForcedClosed => "forced closed",
        })
    }
}

/// All that decides over a call, in one word: bits 0–2 the state; 3–18 failures in a row while
/// closed, or probe places taken while half-open; 19–34 good probes; 35–63 the generation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

const STATE: u64 = 0b111;
const COUNT: u64 = 0xffff;
const TAKEN_SHIFT: u32 = 3;
const GOOD_SHIFT: u32 = 19;
const GENERATION_SHIFT: u32 = 35;
const GENERATION: u64 = (1 << 29) - 1;

const CLOSED: u64 = 0;
const OPEN: u64 = 1;
const HALF_OPEN: u64 = 2;
const FORCED_OPEN: u64 = 3;
const FORCED_CLOSED: u64 = 4;

/// The right to make one call: the generation that admitted it, and whether it is a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(pub(super) u64);

impl Ticket {
    const PROBE: u64 = 1 << 63;

    #[inline]
    pub(super) fn is_probe(self) -> bool {
        self.0 & Self::PROBE != 0
    }

    #[inline]
    fn generation(self) -> u64 {
        self.0 & GENERATION
    }
}

/// What a call that asks to pass is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Go. Nothing to write.
    Pass(Ticket),
    /// Go, once this word is in place.
    Probe(Word, Ticket),
    /// No.
    Refuse,
}

impl Word {
    pub(super) const fn closed() -> Self {
        Self(CLOSED)
    }

    pub(super) const fn disabled() -> Self {
        Self(FORCED_CLOSED)
    }

    pub(super) fn state(self) -> CircuitState {
        match self.0 & STATE {
            OPEN => CircuitState::Open,
            HALF_OPEN => CircuitState::HalfOpen,
            FORCED_OPEN => CircuitState::ForcedOpen,
            FORCED_CLOSED => CircuitState::ForcedClosed,
            _ => CircuitState::Closed,
        }
    }

    /// Failures in a row while closed; probe places taken while half-open.
    pub(super) fn taken(self) -> u64 {
        self.0 >> TAKEN_SHIFT & COUNT
    }

    fn good(self) -> u64 {
        self.0 >> GOOD_SHIFT & COUNT
    }

    pub(super) fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    fn with(self, taken: u64, good: u64) -> Self {
        let kept = self.0 & (STATE | GENERATION << GENERATION_SHIFT);
        Self(kept | taken.min(COUNT) << TAKEN_SHIFT | good.min(COUNT) << GOOD_SHIFT)
    }

    /// `state` in a new generation, with nothing counted.
    fn next(self, state: u64) -> Self {
        let generation = (self.generation() + 1) & GENERATION;
        Self(state | generation << GENERATION_SHIFT)
    }

    pub(super) fn forced(self, state: CircuitState) -> Self {
        self.next(match state {
            CircuitState::Closed => CLOSED,
            CircuitState::Open => OPEN,
            CircuitState::HalfOpen => HALF_OPEN,
            CircuitState::ForcedOpen => FORCED_OPEN,
            CircuitState::ForcedClosed => FORCED_CLOSED,
        })
    }

    /// Closed with no failure, or for good: nothing to decide, and a success has nothing to clear.
    #[inline]
    pub(super) fn is_quiet(self) -> bool {
        self.0 & (STATE | COUNT << TAKEN_SHIFT) == CLOSED || self.0 & STATE == FORCED_CLOSED
    }

    #[inline]
    pub(super) fn is_open(self) -> bool {
        self.0 & STATE == OPEN
    }

    /// Whether calls pass without a place of their own.
    #[inline]
    pub(super) fn is_passing(self) -> bool {
        matches!(self.0 & STATE, CLOSED | FORCED_CLOSED)
    }

    /// For a call that passes without a place of its own.
    #[inline]
    pub(super) fn ticket(self) -> Ticket {
        Ticket(self.generation())
    }

    #[inline]
    pub(super) fn admit(self, probes: u32) -> Admission {
        let Ticket(ticket) = self.ticket();
        match self.0 & STATE {
            CLOSED | FORCED_CLOSED => Admission::Pass(Ticket(ticket)),
            HALF_OPEN if self.taken() < u64::from(probes) => Admission::Probe(
                self.with(self.taken() + 1, self.good()),
                Ticket(ticket | Ticket::PROBE),
            ),
            _ => Admission::Refuse,
        }
    }

    /// The word after a call has finished. `calls` counts those that finished since it closed.
    pub(super) fn settle(
        self,
        ticket: Ticket,
        outcome: Outcome,
        calls: impl FnOnce() -> u64,
        config: &CircuitBreakerConfig,
    ) -> Self {
        if ticket.generation() != self.generation() {
            return self;
        }
        match (self.0 & STATE, outcome) {
            (CLOSED, Outcome::Success | Outcome::Slow) => self.with(0, 0),
            (CLOSED, Outcome::Failure | Outcome::Overload { .. }) => {
                let failures = (self.taken() + 1).min(COUNT);
                let trips = failures >= u64::from(config.failures)
                    && (config.min_calls == 0 || calls() >= u64::from(config.min_calls));
                if trips { self.next(OPEN) } else { self.with(failures, 0) }
            }
            (HALF_OPEN, _) if !ticket.is_probe() => self,
            (HALF_OPEN, Outcome::Success | Outcome::Slow) => {
                let good = self.good() + 1;
                if good >= u64::from(config.successes) {
                    self.next(CLOSED)
                } else {
                    self.with(self.taken().saturating_sub(1), good)
                }
            }
            (HALF_OPEN, Outcome::Failure | Outcome::Overload { .. }) => self.next(OPEN),
            (HALF_OPEN, Outcome::Ignored) => self.with(self.taken().saturating_sub(1), self.good()),
            _ => self,
        }
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word")
            .field("state", &self.state())
            .field("taken", &self.taken())
            .field("good", &self.good())
            .field("generation", &self.generation())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same rules, written the slow way.
    #[derive(Debug, Default)]
    struct Model {
        state: usize, // closed, open, half-open
        generation: u64,
        failures: u32,
        finished: u64,
        out: Vec<(u64, bool)>,
        good: u32,
    }

    impl Model {
        fn probes_out(&self) -> usize {
            self.out
                .iter()
                .filter(|&&(generation, probe)| probe && generation == self.generation)
                .count()
        }

        fn turn(&mut self, state: usize) {
            (self.state, self.failures, self.good, self.finished) = (state, 0, 0, 0);
            self.generation += 1;
        }

        fn settle(&mut self, index: usize, outcome: Outcome, config: &CircuitBreakerConfig) {
            let (generation, _) = self.out.remove(index);
            self.finished += 1;
            if generation != self.generation {
                return;
            }
            match (self.state, outcome) {
                (0, Outcome::Success) => self.failures = 0,
                (0, Outcome::Failure) => {
                    self.failures += 1;
                    if self.failures >= config.failures && self.finished >= config.min_calls.into()
                    {
                        self.turn(1);
                    }
                }
                (2, Outcome::Success) => {
                    self.good += 1;
                    if self.good >= config.successes {
                        self.turn(0);
                    }
                }
                (2, Outcome::Failure) => self.turn(1),
                _ => {}
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Admit,
        Settle(usize, Outcome),
        Due,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let outcome = prop_oneof![
            2 => Just(Outcome::Success),
            3 => Just(Outcome::Failure),
            1 => Just(Outcome::Ignored),
        ];
        let step = prop_oneof![
            4 => Just(Step::Admit),
            4 => (any::<usize>(), outcome).prop_map(|(index, outcome)| Step::Settle(index, outcome)),
            1 => Just(Step::Due),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn the_word_and_the_model_never_differ(
            steps in steps(),
            failures in 1_u32..4,
            successes in 1_u32..4,
            probes in 1_u32..4,
            min_calls in 0_u32..6,
        ) {
            let config = CircuitBreakerConfig { failures, successes, probes, min_calls, ..Default::default() };
            let (mut word, mut model) = (Word::closed(), Model::default());
            let mut tickets = Vec::new();
            for step in steps {
                match step {
                    Step::Admit => {
                        let admitted = match word.admit(probes) {
                            Admission::Pass(ticket) => Some(ticket),
                            Admission::Probe(next, ticket) => {
                                word = next;
                                Some(ticket)
                            }
                            Admission::Refuse => None,
                        };
                        let expected = match model.state {
                            0 => Some(false),
                            2 if model.probes_out() < probes as usize => Some(true),
                            _ => None,
                        };
                        prop_assert_eq!(admitted.map(Ticket::is_probe), expected);
                        if let (Some(ticket), Some(probe)) = (admitted, expected) {
                            tickets.push(ticket);
                            model.out.push((model.generation, probe));
                        }
                    }
                    Step::Settle(index, outcome) if !tickets.is_empty() => {
                        let index = index % tickets.len();
                        let finished = model.finished + 1;
                        word = word.settle(tickets.remove(index), outcome, || finished, &config);
                        model.settle(index, outcome, &config);
                    }
                    Step::Due if model.state == 1 => {
                        word = word.forced(CircuitState::HalfOpen);
                        model.turn(2);
                    }
                    _ => {}
                }
                let state = [CircuitState::Closed, CircuitState::Open, CircuitState::HalfOpen];
                prop_assert_eq!(word.state(), state[model.state]);
                prop_assert_eq!(word.generation(), model.generation);
            }
        }
    }

    #[test]
    fn a_count_that_is_full_stays_full() {
        let config = CircuitBreakerConfig { min_calls: u32::MAX, ..Default::default() };
        let mut word = Word::closed().with(COUNT, 0);
        word = word.settle(Ticket(0), Outcome::Failure, || 0, &config);
        assert_eq!((word.taken(), word.generation()), (COUNT, 0));
    }

    #[test]
    fn a_generation_that_wraps_is_still_another_one() {
        let last = Word(GENERATION << GENERATION_SHIFT | CLOSED);
        assert_eq!(last.forced(CircuitState::Open).generation(), 0);
    }
}
