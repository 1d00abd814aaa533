/// Health of an endpoint, as its source reports it.
///
/// ```
/// use tower_upstream::{Endpoint, endpoint::Status};
/// let endpoint = Endpoint::new("a:1")?.with_status(Status::Warning);
/// assert_eq!(endpoint.status(), Status::Warning);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// The source does not report health. Treated as `Passing`.
    #[default]
    Unknown,
    /// Healthy.
    Passing,
    /// Degraded: usable, but the healthy endpoints come first.
    ///
    /// Gets the part of the load that the healthy endpoints of all priorities
    /// [cannot carry](crate::balance#which-endpoints-may-be-chosen): with one endpoint of a priority that
    /// passes and three that warn, the one gets 35 % of the calls.
    Warning,
    /// Unhealthy. Used only in a panic.
    Critical,
}
