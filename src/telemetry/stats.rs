/// What a layer has counted since it was made, in one shape for all handles.
///
/// A count that a layer does not keep is `None`: it is not worth what it would cost each call. A gauge,
/// such as [`in_flight`](Self::in_flight), says how it is just now.
///
/// ```
/// use tower_upstream::CircuitBreakerLayer;
/// let stats = CircuitBreakerLayer::default().handle().stats();
/// assert_eq!((stats.admitted, stats.refused), (Some(0), Some(0)));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that were let through and have finished.
    pub admitted: Option<u64>,
    /// Calls that were refused.
    pub refused: Option<u64>,
    /// Calls that waited for their turn, whatever came of it.
    pub waited: Option<u64>,
    /// Calls that succeeded.
    pub succeeded: Option<u64>,
    /// Calls that failed.
    pub failed: Option<u64>,
    /// Calls that say nothing about the endpoint: cancelled, or refused further down.
    pub ignored: Option<u64>,
    /// Calls of those that succeeded or failed that were slow.
    pub slow: Option<u64>,
    /// Calls in flight just now.
    pub in_flight: Option<u64>,
    /// Calls that wait just now.
    pub waiting: Option<u64>,
}
