use std::fmt;

/// Why a member is not eligible.
///
/// ```
/// use tower_upstream::member::Reason;
/// assert_eq!(Reason::CircuitOpen.to_string(), "circuit open");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A health check or discovery reports it unhealthy. Ignored in a panic.
    Unhealthy,
    /// A circuit breaker is open.
    CircuitOpen,
    /// A guard has no free place at present, such as for another probe. Calls see this at once, without
    /// a new snapshot.
    Busy,
    /// It does much worse than the others, or its service is dead and is being connected again. Ignored
    /// in a panic.
    Ejected,
    /// It finishes the calls that it has and gets no new ones.
    Draining,
    /// It was switched off.
    Disabled,
}

pub(super) mod bit {
    //! The layout of the eligibility word.
    pub(in crate::member) const UNHEALTHY: u64 = 0xffff | DISCOVERED_CRITICAL;
    pub(in crate::member) const CIRCUIT_OPEN: u64 = 0xffff << 16;
    pub(in crate::member) const BUSY: u64 = 0xffff << 32;
    pub(in crate::member) const EJECTED: u64 = 0xf << 48 | OPERATOR & 1 << 59;
    pub(in crate::member) const DISABLED: u64 = 0xf << 52 | OPERATOR & 1 << 60;
    pub(in crate::member) const DRAINING: u64 = 1 << 56 | DISCOVERED_DRAINING | OPERATOR & 1 << 61;
    pub(in crate::member) const DISCOVERED_CRITICAL: u64 = 1 << 57;
    pub(in crate::member) const DISCOVERED_DRAINING: u64 = 1 << 58;
    /// Set by the word of an operator: one for each reason that an operator may give.
    pub(in crate::member) const OPERATOR: u64 = 0b111 << 59;
    /// Set from what discovery or an operator says, so no guard may take them.
    pub(in crate::member) const RESERVED: u64 =
        DISCOVERED_CRITICAL | DISCOVERED_DRAINING | OPERATOR;
    /// A change of these makes a new snapshot.
    pub(in crate::member) const SLOW: u64 = !BUSY;
}

impl Reason {
    pub(super) const ALL: [Self; 6] = [
        Self::Unhealthy,
        Self::CircuitOpen,
        Self::Busy,
        Self::Ejected,
        Self::Draining,
        Self::Disabled,
    ];

    /// What a panic overlooks.
    pub(crate) const OVERLOOKED_IN_PANIC: u64 = bit::UNHEALTHY | bit::EJECTED;

    /// What is meant to get nothing, and so counts for no share.
    pub(crate) const EXCLUDED: u64 = bit::DRAINING | bit::DISABLED;

    /// What takes a member out of the snapshot, rather than only out of a choice.
    pub(crate) const IN_SNAPSHOT: u64 = bit::SLOW;

    pub(crate) const fn bits(self) -> u64 {
        match self {
            Self::Unhealthy => bit::UNHEALTHY,
            Self::CircuitOpen => bit::CIRCUIT_OPEN,
            Self::Busy => bit::BUSY,
            Self::Ejected => bit::EJECTED,
            Self::Draining => bit::DRAINING,
            Self::Disabled => bit::DISABLED,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unhealthy => "unhealthy",
            Self::CircuitOpen => "circuit open",
            Self::Busy => "busy",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        })
    }
}
