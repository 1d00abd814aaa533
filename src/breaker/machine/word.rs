//! What a call reads of a circuit, and takes along: one word each.

use std::fmt;

use crate::telemetry::state::CircuitState;

/// The state, in bits 0–2, and from 8 on the generation. The states in which calls pass come first, so
/// that one comparison finds them. Those last in which calls pass once it was looked whether others hang:
/// so where it does not matter how long calls take nothing has to be asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::breaker) struct Word(pub(in crate::breaker) u64);

const STATE: u64 = 0b111;
const LAST_PASSING: u64 = 2;
const OPEN: u64 = 3;
const FIRST_TIMED: u64 = 6;
const GENERATION_SHIFT: u32 = 8;

/// In the order of their numbers.
const STATES: [CircuitState; 8] = [
    CircuitState::Closed,
    CircuitState::Disabled,
    CircuitState::MetricsOnly,
    CircuitState::Open,
    CircuitState::HalfOpen,
    CircuitState::ForcedOpen,
    CircuitState::Closed,
    CircuitState::MetricsOnly,
];

impl Word {
    pub(in crate::breaker) fn new(state: CircuitState, generation: u64) -> Self {
        let state = match state {
            CircuitState::Closed => 0,
            CircuitState::Disabled => 1,
            CircuitState::MetricsOnly => LAST_PASSING,
            CircuitState::Open => OPEN,
            CircuitState::HalfOpen => 4,
            CircuitState::ForcedOpen => 5,
        };
        Self(state | generation << GENERATION_SHIFT)
    }

    /// The same where it matters how long calls take.
    pub(in crate::breaker) fn timed(self) -> Self {
        let state = match self.0 & STATE {
            0 => FIRST_TIMED,
            LAST_PASSING => FIRST_TIMED + 1,
            other => other,
        };
        Self(self.0 & !STATE | state)
    }

    pub(in crate::breaker) fn state(self) -> CircuitState {
        STATES.get((self.0 & STATE) as usize).copied().unwrap_or(CircuitState::Closed)
    }

    pub(in crate::breaker) fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    pub(in crate::breaker) const fn next_generation(generation: u64) -> u64 {
        (generation + 1) & (u64::MAX >> GENERATION_SHIFT)
    }

    /// Whether calls pass without a place of their own, and without another look.
    #[inline]
    pub(in crate::breaker) fn is_passing(self) -> bool {
        self.0 & STATE <= LAST_PASSING
    }

    /// Whether they pass if no others hang.
    #[inline]
    pub(in crate::breaker) fn is_timed(self) -> bool {
        self.0 & STATE >= FIRST_TIMED
    }

    #[inline]
    pub(in crate::breaker) fn is_open(self) -> bool {
        self.0 & STATE == OPEN
    }

    /// For a call that passes without a place of its own.
    #[inline]
    pub(in crate::breaker) fn ticket(self) -> Ticket {
        Ticket::new(self.generation())
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

/// The right to make one call, and how it stands with it: from bit 44 on the low bits of the
/// generation that let it through, 43 whether it is a probe, 42 whether it matters if it is slow, below
/// that when it first had to wait.
///
/// One word, since it stands in every future. A call that outlives a million generations is taken
/// for one of its own again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::breaker) struct Ticket(u64);

pub(in crate::breaker) const TAG_SHIFT: u32 = 44;
const PROBE: u64 = 1 << 43;
const TIMED: u64 = 1 << 42;
const BEGAN: u64 = TIMED - 1;
/// How many times can be told apart.
const TIMES: u64 = BEGAN - 1;

impl Ticket {
    pub(in crate::breaker) const NONE: Self = Self(0);

    #[inline]
    pub(in crate::breaker) fn new(generation: u64) -> Self {
        Self(generation << TAG_SHIFT)
    }

    pub(in crate::breaker) fn probe(generation: u64) -> Self {
        Self(PROBE | generation << TAG_SHIFT)
    }

    #[inline]
    pub(in crate::breaker) fn is_probe(self) -> bool {
        self.0 & PROBE != 0
    }

    /// What is the same in all tickets of a generation.
    #[inline]
    pub(in crate::breaker) fn tag(self) -> u64 {
        self.0 & !(PROBE | TIMED | BEGAN)
    }

    #[inline]
    pub(in crate::breaker) fn is_of(self, generation: u64) -> bool {
        self.tag() == generation << TAG_SHIFT
    }

    /// Whether it has had to wait.
    #[inline]
    pub(in crate::breaker) fn has_begun(self) -> bool {
        self.0 & BEGAN != 0
    }

    /// Whether it has had to wait where it matters if it is slow.
    #[inline]
    pub(in crate::breaker) fn is_timed(self) -> bool {
        self.0 & TIMED != 0
    }

    /// It had to wait at this time; `None` if the time is not needed.
    pub(in crate::breaker) fn begin(&mut self, nanos: Option<u64>) {
        // Microseconds, of which 42 bits hold fifty days: durations, not times, are asked for.
        let began = nanos.map_or(BEGAN, |nanos| (nanos / 1_000) % TIMES + 1);
        self.0 = self.0 & !(TIMED | BEGAN) | began;
    }

    /// It had to wait at this time, and it matters whether it is slow.
    pub(in crate::breaker) fn begin_timed(&mut self, nanos: u64) {
        self.begin(Some(nanos));
        self.0 |= TIMED;
    }

    /// It is counted by the head of its response, and what follows that goes on.
    #[cfg(any(test, feature = "http"))]
    pub(in crate::breaker) fn judge(&mut self) {
        // No time that is noted has all of these bits.
        self.0 |= TIMED | BEGAN;
    }

    /// Whether it is counted already, as a good call.
    #[inline]
    pub(in crate::breaker) fn is_judged(self) -> bool {
        self.0 & (TIMED | BEGAN) == TIMED | BEGAN
    }

    /// A number that stays the same while the call is on its way, and that calls which begin at once
    /// seldom share.
    pub(in crate::breaker) fn lot(self) -> usize {
        // Fibonacci hashing, since many calls begin with the same tick of a timer or one after another.
        ((self.0 & BEGAN).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as usize
    }

    /// In which microsecond it first had to wait, by the clock that now tells `nanos`; `None` if that
    /// was not noted.
    pub(in crate::breaker) fn began(self, nanos: u64) -> Option<u64> {
        let began = self.0 & BEGAN;
        if began == 0 || began == BEGAN {
            return None;
        }
        let now = nanos / 1_000;
        let took = (now % TIMES + 1 + TIMES - began) % TIMES;
        // More than half of all that can be: the clock of another processor is a little behind.
        Some(if took > TIMES / 2 { now + (TIMES - took) } else { now - took.min(now) })
    }

    /// Nanoseconds since it first had to wait; `None` if that was not noted.
    pub(in crate::breaker) fn since_begin(self, nanos: u64) -> Option<u64> {
        let began = self.began(nanos)?;
        Some((nanos / 1_000).saturating_sub(began) * 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_what_it_is_made_of() {
        for state in STATES {
            let word = Word::new(state, 7);
            assert_eq!((word.state(), word.generation()), (state, 7));
            let timed = word.timed();
            assert_eq!((timed.state(), timed.generation()), (state, 7));
            assert_eq!((timed.is_open(), word.is_timed()), (word.is_open(), false));
            let counts = matches!(state, CircuitState::Closed | CircuitState::MetricsOnly);
            assert_eq!(timed.is_timed(), counts);
            assert_eq!(timed.is_passing(), state == CircuitState::Disabled);
            assert!(word.ticket().is_of(7) && !word.ticket().is_probe());
            assert!(!word.ticket().is_of(6) && !word.ticket().is_of(8));
            let passes = matches!(
                state,
                CircuitState::Closed | CircuitState::Disabled | CircuitState::MetricsOnly
            );
            assert_eq!(word.is_passing(), passes);
            assert_eq!(word.is_open(), state == CircuitState::Open);
        }
        assert!(Ticket::probe(8).is_probe() && Ticket::probe(8).is_of(8));
    }

    #[test]
    fn a_ticket_knows_how_long_ago_it_had_to_wait() {
        let second = 1_000_000_000;
        let half = ((1 << 41) - 1) * 1_000;
        for start in [0, 1, 999, 7 * second, half, 101 * 86_400 * second, u64::MAX - 10 * second] {
            for mut ticket in [Ticket::new(3), Ticket::probe(u64::MAX >> 20)] {
                let before = (ticket.tag(), ticket.is_probe());
                assert_eq!((ticket.has_begun(), ticket.since_begin(start)), (false, None));
                ticket.begin_timed(start);
                assert!(ticket.has_begun() && ticket.is_timed());
                assert_eq!(ticket.began(start + 5 * second), Some(start / 1_000));
                // The clock of another processor may be behind.
                assert_eq!(ticket.began(start.saturating_sub(1_500)), Some(start / 1_000));
                let start = start / 1_000 * 1_000;
                assert_eq!(ticket.since_begin(start + 5 * second), Some(5 * second));
                assert_eq!((ticket.tag(), ticket.is_probe()), before);
                ticket.begin(Some(start + second));
                assert!(!ticket.is_timed());
                assert_eq!(ticket.since_begin(start + 5 * second), Some(4 * second));
                assert!(!ticket.is_judged());
                ticket.begin(None);
                assert_eq!((ticket.has_begun(), ticket.since_begin(start)), (true, None));
                assert!(!ticket.is_judged());
                ticket.judge();
                assert!(ticket.is_judged() && ticket.has_begun());
                assert_eq!(ticket.since_begin(start), None);
                assert_eq!((ticket.tag(), ticket.is_probe()), before);
            }
        }
    }

    #[test]
    fn a_generation_that_wraps_is_still_another_one() {
        let last = u64::MAX >> GENERATION_SHIFT;
        assert_eq!(Word::next_generation(last), 0);
        assert_eq!(Word::new(CircuitState::Open, last).generation(), last);
    }
}
