/// Place of an endpoint. Empty parts are unknown.
///
/// ```
/// use tower_upstream::{Endpoint, endpoint::Locality};
/// let endpoint = Endpoint::new("a:1")?.with_locality(Locality::of_zone("eu-west-1a"));
/// assert_eq!(endpoint.locality().zone, "eu-west-1a");
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Locality {
    /// Region, such as `eu-west-1`.
    pub region: String,
    /// Zone, such as `eu-west-1a`.
    pub zone: String,
    /// Part of a zone, such as a rack.
    pub sub_zone: String,
}

impl Locality {
    /// Creates a place of which only the zone is known.
    pub fn of_zone(zone: impl Into<String>) -> Self {
        Self { zone: zone.into(), ..Self::default() }
    }
}
