/// Whether an endpoint gets calls, by what outlier detection and active checks say of it.
///
/// The two are one table, so that they cannot contradict each other: "ejected but healthy" is `Ejected`,
/// "unhealthy but not ejected" is `Unhealthy`, and both is `EjectedUnhealthy`. A dot means that nothing
/// changes.
///
/// | | Eject | Expire | ProbeSucceeded | ProbeFailed | Warmed | CheckPassed | CheckFailed | Uneject |
/// |---|---|---|---|---|---|---|---|---|
/// | Healthy | Ejected | · | · | · | · | · | Unhealthy | · |
/// | Warming | Ejected | · | · | · | Healthy | · | Unhealthy | · |
/// | Probation | Ejected | · | Warming | Ejected | · | Warming | Unhealthy | Warming |
/// | Ejected | · | Probation | · | · | · | Warming | EjectedUnhealthy | Warming |
/// | Unhealthy | EjectedUnhealthy | · | · | · | · | Warming | · | · |
/// | EjectedUnhealthy | · | Unhealthy | · | · | · | Warming | · | Unhealthy |
///
/// So a passing check ends an ejection, as in Envoy; a recovery of any kind starts a slow start, and a check
/// that fails ends it. After an ejection that ran out, one request at a time is let through, as in linkerd,
/// until one of them succeeds, or nothing else is available.
///
/// ```
/// use tower_upstream::rules::{Standing, StandingEvent};
/// let ejected = Standing::Healthy.on(StandingEvent::Eject);
/// assert_eq!(ejected.on(StandingEvent::Expire), Standing::Probation);
/// assert_eq!(ejected.on(StandingEvent::CheckPassed), Standing::Warming);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Gets its whole share of calls.
    Healthy,
    /// In slow start: gets a share that grows.
    Warming,
    /// Gets one call at a time.
    Probation,
    /// Gets no calls, since its calls failed.
    Ejected,
    /// Gets no calls, since its checks fail or it has not passed one yet.
    Unhealthy,
    /// Gets no calls, since both is true.
    EjectedUnhealthy,
}

/// What happens to a [`Standing`].
///
/// ```
/// use tower_upstream::rules::{Standing, StandingEvent};
/// assert!(StandingEvent::ALL.map(|event| Standing::Healthy.on(event)).contains(&Standing::Unhealthy));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StandingEvent {
    /// Outlier detection, or an operator, ejects it.
    Eject,
    /// The time of its ejection is over.
    Expire,
    /// A call in probation succeeded.
    ProbeSucceeded,
    /// A call in probation failed, or was refused as one too many (429).
    ProbeFailed,
    /// Its slow start is over.
    Warmed,
    /// An active check says that it is healthy.
    CheckPassed,
    /// Active checks say that it is unhealthy.
    CheckFailed,
    /// An operator ends its ejection, or its probation ends since nothing else is available.
    Uneject,
}

impl Standing {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 6] = [
        Self::Healthy,
        Self::Warming,
        Self::Probation,
        Self::Ejected,
        Self::Unhealthy,
        Self::EjectedUnhealthy,
    ];

    /// Returns what it is after the event.
    #[must_use]
    pub const fn on(self, event: StandingEvent) -> Self {
        use StandingEvent as On;
        match (self, event) {
            (Self::Healthy | Self::Warming | Self::Probation, On::Eject)
            | (Self::Probation, On::ProbeFailed) => Self::Ejected,
            (Self::Unhealthy, On::Eject) | (Self::Ejected, On::CheckFailed) => {
                Self::EjectedUnhealthy
            }
            (Self::Ejected, On::Expire) => Self::Probation,
            (Self::EjectedUnhealthy, On::Expire | On::Uneject)
            | (Self::Healthy | Self::Warming | Self::Probation, On::CheckFailed) => Self::Unhealthy,
            (Self::Probation, On::ProbeSucceeded | On::CheckPassed | On::Uneject)
            | (Self::Ejected, On::CheckPassed | On::Uneject)
            | (Self::Unhealthy | Self::EjectedUnhealthy, On::CheckPassed) => Self::Warming,
            (Self::Warming, On::Warmed) => Self::Healthy,
            (same, _) => same,
        }
    }

    /// Returns whether it gets calls, in probation one at a time.
    pub const fn is_available(self) -> bool {
        matches!(self, Self::Healthy | Self::Warming | Self::Probation)
    }

    /// Returns whether it is ejected. For a limit, one on probation counts as well:
    /// [`Population::count`](super::Population::count).
    pub const fn is_ejected(self) -> bool {
        matches!(self, Self::Ejected | Self::EjectedUnhealthy)
    }
}

impl StandingEvent {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 8] = [
        Self::Eject,
        Self::Expire,
        Self::ProbeSucceeded,
        Self::ProbeFailed,
        Self::Warmed,
        Self::CheckPassed,
        Self::CheckFailed,
        Self::Uneject,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(line: &str) -> Vec<&str> {
        line.trim_start_matches("/// |").trim_end_matches('|').split('|').map(str::trim).collect()
    }

    /// The table of the docs is what is tested, so that it cannot be wrong.
    #[test]
    fn the_table_of_the_docs_holds_for_all_pairs() {
        let rows = include_str!("standing.rs").lines().filter(|line| line.starts_with("/// |"));
        let rows: Vec<_> = rows.map(cells).collect();
        let events = StandingEvent::ALL.map(|event| format!("{event:?}"));
        assert_eq!(rows[0][1..], events);
        let mut pairs = 0;
        for (row, standing) in rows[2..].iter().zip(Standing::ALL) {
            assert_eq!(row[0], format!("{standing:?}"));
            for (cell, event) in row[1..].iter().zip(StandingEvent::ALL) {
                let after = standing.on(event);
                let expected = if *cell == "·" { standing } else { after };
                assert_eq!(after, expected, "{standing:?} {event:?}");
                assert!(
                    *cell == "·" || *cell == format!("{after:?}"),
                    "{standing:?} {event:?}: {cell}"
                );
                pairs += 1;
            }
        }
        assert_eq!((pairs, rows.len()), (48, 8));
    }

    #[test]
    fn every_standing_is_left_again_and_reached() {
        for standing in Standing::ALL {
            assert!(StandingEvent::ALL.iter().any(|&event| standing.on(event) != standing));
            let mut all = Standing::ALL.iter().filter(|&&before| before != standing);
            assert!(
                all.any(|before| StandingEvent::ALL.iter().any(|&on| before.on(on) == standing))
            );
            assert!(!(standing.is_available() && standing.is_ejected()));
        }
    }
}
