/// Which hosts of a priority get its traffic while it is in panic.
///
/// Envoy has `All`, and `Fail` as `fail_traffic_on_panic`. `LastKnownGood` is ours: when too many hosts look
/// ill at once, it is often the eye that is ill, and those that were well before are the best guess.
///
/// ```
/// use tower_upstream::rules::PanicMode;
/// let is_well_and_was = [(true, true), (false, true), (false, false)];
/// let gets = |mode: PanicMode| is_well_and_was.map(|(is, was)| mode.admits(true, is, was));
/// assert_eq!(gets(PanicMode::All), [true, true, true]);
/// assert_eq!(gets(PanicMode::LastKnownGood), [true, true, false]);
/// assert_eq!(gets(PanicMode::Fail), [false, false, false]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum PanicMode {
    /// All hosts, whatever is known of them.
    #[default]
    All,
    /// Hosts that are available, and those that were when the panic began. All, if there is none of them.
    LastKnownGood,
    /// None: calls fail, so that the rest of the hosts is not overrun.
    Fail,
}

impl PanicMode {
    /// Returns whether a host gets traffic, that is or is not available, and [was](was_good) or was not when the
    /// panic began. Without panic, those that are available do.
    ///
    /// If [`LastKnownGood`](Self::LastKnownGood) admits no host of a priority, use [`All`](Self::All).
    pub const fn admits(self, is_in_panic: bool, is_available: bool, was_good: bool) -> bool {
        match self {
            _ if !is_in_panic => is_available,
            Self::All => true,
            Self::LastKnownGood => is_available || was_good,
            Self::Fail => false,
        }
    }
}

/// Returns what to remember of a host as "was good": outside a panic whether it is available, in a panic
/// what was known before, or that it became available.
///
/// ```
/// use tower_upstream::rules::was_good;
/// assert!(was_good(true, false, true), "the panic does not make it forget");
/// assert!(!was_good(true, false, false));
/// ```
pub const fn was_good(before: bool, is_available: bool, is_in_panic: bool) -> bool {
    is_available || is_in_panic && before
}
