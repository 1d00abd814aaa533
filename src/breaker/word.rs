//! What a call reads of a circuit, and takes along: one word each.

use std::fmt;

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
    /// Calls pass whatever comes of them, until somebody says otherwise. Only totals are counted.
    Disabled,
    /// Calls pass and are counted, and it never opens, until somebody says otherwise.
    MetricsOnly,
}

impl fmt::Display for CircuitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced open",
            Self::Disabled => "disabled",
            Self::MetricsOnly => "metrics only",
        })
    }
}

/// The state and what goes with it: bits 0–2 the state, 3 whether good calls must be told of one by
/// one, from 8 on the generation.
///
/// The states in which calls pass come first, so that one comparison finds them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

const STATE: u64 = 0b111;
const LAST_PASSING: u64 = 2;
const OPEN: u64 = 3;
const WATCHING: u64 = 1 << 3;
const PROBE: u64 = 1 << 4;
const GENERATION_SHIFT: u32 = 8;

/// In the order of their numbers.
const STATES: [CircuitState; 6] = [
    CircuitState::Closed,
    CircuitState::Disabled,
    CircuitState::MetricsOnly,
    CircuitState::Open,
    CircuitState::HalfOpen,
    CircuitState::ForcedOpen,
];

impl Word {
    pub(super) fn new(state: CircuitState, generation: u64, watching: bool) -> Self {
        let state = match state {
            CircuitState::Closed => 0,
            CircuitState::Disabled => 1,
            CircuitState::MetricsOnly => LAST_PASSING,
            CircuitState::Open => OPEN,
            CircuitState::HalfOpen => 4,
            CircuitState::ForcedOpen => 5,
        };
        Self(state | if watching { WATCHING } else { 0 } | generation << GENERATION_SHIFT)
    }

    pub(super) fn state(self) -> CircuitState {
        STATES.get((self.0 & STATE) as usize).copied().unwrap_or(CircuitState::Closed)
    }

    pub(super) fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    pub(super) const fn next_generation(generation: u64) -> u64 {
        (generation + 1) & (u64::MAX >> GENERATION_SHIFT)
    }

    /// Whether calls pass without a place of their own.
    #[inline]
    pub(super) fn is_passing(self) -> bool {
        self.0 & STATE <= LAST_PASSING
    }

    #[inline]
    pub(super) fn is_open(self) -> bool {
        self.0 & STATE == OPEN
    }

    /// For a call that passes without a place of its own.
    #[inline]
    pub(super) fn ticket(self) -> Ticket {
        Ticket(self.0 & !WATCHING)
    }

    /// Whether a good call with `ticket` need only be counted: nothing has changed since it was let
    /// through, and nothing waits for it.
    #[inline]
    pub(super) fn only_counts(self, ticket: Ticket) -> bool {
        self.0 == ticket.0
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word")
            .field("state", &self.state())
            .field("generation", &self.generation())
            .finish()
    }
}

/// The right to make one call: the word that let it through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl Ticket {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn probe(generation: u64) -> Self {
        Self(PROBE | 4 | generation << GENERATION_SHIFT)
    }

    #[inline]
    pub(super) fn is_probe(self) -> bool {
        self.0 & PROBE != 0
    }

    pub(super) fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_what_it_is_made_of() {
        for state in STATES {
            for watching in [false, true] {
                let word = Word::new(state, 7, watching);
                assert_eq!((word.state(), word.generation()), (state, 7));
                assert_eq!((word.ticket().generation(), word.ticket().is_probe()), (7, false));
                assert_eq!(word.only_counts(word.ticket()), !watching);
                let passes = matches!(
                    state,
                    CircuitState::Closed | CircuitState::Disabled | CircuitState::MetricsOnly
                );
                assert_eq!(word.is_passing(), passes);
                assert_eq!(word.is_open(), state == CircuitState::Open);
            }
        }
        assert!(!Word::new(CircuitState::Closed, 8, false).only_counts(Ticket::probe(8)));
    }

    #[test]
    fn a_generation_that_wraps_is_still_another_one() {
        let last = u64::MAX >> GENERATION_SHIFT;
        assert_eq!(Word::next_generation(last), 0);
        assert_eq!(Word::new(CircuitState::Open, last, true).generation(), last);
    }
}
