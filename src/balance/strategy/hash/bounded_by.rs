/// What [bounded load](crate::rules::hash::BoundedLoad) is a bound to.
///
/// ```
/// use tower_upstream::{Call, balance::{BoundedBy, ConsistentHash}};
/// let strategy = ConsistentHash::by_key(|call: &Call<u64>| *call.body())
///     .with_bounded_by(BoundedBy::Occupancy);
/// # let _ = strategy;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BoundedBy {
    /// Calls in flight at this moment.
    #[default]
    InFlight,
    /// Calls in flight on average of a second: seconds of work for each second (Little's law).
    ///
    /// For calls of milliseconds that come in bursts, of which those in flight at one moment say nothing. A call
    /// counts from when it waits for its response until that is there. Costs a call two atomic additions.
    Occupancy,
}
