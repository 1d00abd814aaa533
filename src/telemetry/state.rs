use std::fmt;

/// The state of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// Calls pass and are counted.
    Closed,
    /// Calls are refused for a time.
    Open,
    /// A few calls pass, to find out whether the endpoint works again.
    HalfOpen,
    /// Calls are refused until a handle changes it.
    ForcedOpen,
    /// Every call passes, whatever its result, until a handle changes it. Only totals are counted.
    Disabled,
    /// Calls pass and are counted, and the circuit never opens, until a handle changes it.
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
