use std::time::Duration;

use super::{
    super::set::EndpointSet,
    seen::{Seen, is_usable},
};
use crate::{endpoint::Status, error::Error};

/// Something that a [`Provider`](super::Provider) can do.
///
/// ```
/// use tower_upstream::discover::{Memory, Provider, ProviderFeature};
/// let provider = Provider::new("the list", Memory::new(["10.0.0.1:8080"])?);
/// assert!(!provider.features().contains(&ProviderFeature::Announce));
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProviderFeature {
    /// It lists endpoints, with their health as the backend tells it, and tells their changes.
    Find,
    /// Endpoints can be registered, updated and deregistered in this process.
    Register,
    /// Endpoints that are registered are announced in the backend.
    Announce,
    /// It tells how the backend is.
    Status,
}

/// Where the endpoints of a [`Provider`](super::Provider) come from, and how that is. Has no secrets.
///
/// ```
/// use tower_upstream::discover::{Memory, Provider};
/// let provider = Provider::new("the list", Memory::new(["10.0.0.1:8080"])?);
/// assert_eq!(provider.connection_info().source, "the list");
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Name of the backend and the service.
    pub source: String,
    /// Name of what endpoints are announced in.
    pub registry: Option<String>,
    /// Whether the backend is being asked, which it is while there is a user. `None` if it does not tell.
    pub is_running: Option<bool>,
    /// Time since the last answer of the backend.
    pub staleness: Option<Duration>,
    /// Number of failures since that.
    pub failures: u32,
    /// The last of them.
    pub last_error: Option<Error>,
}

/// Counts of a [`Provider`](super::Provider), as they were at one moment.
///
/// ```
/// use tower_upstream::discover::{Memory, Provider};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::Error> {
/// let provider = Provider::new("the list", Memory::new(["10.0.0.1:8080"])?);
/// provider.list(std::time::Duration::from_secs(5)).await?;
/// assert_eq!((provider.stats().endpoints, provider.stats().unknown), (1, 1));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProviderStats {
    /// Endpoints that were there when they were seen last.
    pub endpoints: usize,
    /// Those that may get new calls: that neither drain nor are critical.
    pub usable: usize,
    /// Those that the backend says are passing.
    pub passing: usize,
    /// Those that warn.
    pub warning: usize,
    /// Those that are critical.
    pub critical: usize,
    /// Those of whose health nothing is known.
    pub unknown: usize,
    /// Endpoints that are registered here now.
    pub own: usize,
    /// Endpoints that were registered here so far.
    pub registered: u64,
    /// Changes of such endpoints.
    pub updated: u64,
    /// Those that were deregistered.
    pub deregistered: u64,
    /// Times that the backend did not do what it was asked for.
    pub failed: u64,
    /// Time since the provider was created.
    pub uptime: Duration,
}

impl ProviderStats {
    pub(super) fn of(seen: &Seen, own: usize, uptime: Duration) -> Self {
        let all = seen.set.iter().flat_map(|set: &EndpointSet| set.iter());
        let count = |status| all.clone().filter(|of| of.status() == status).count();
        Self {
            endpoints: all.clone().count(),
            usable: all.clone().filter(|of| is_usable(of)).count(),
            passing: count(Status::Passing),
            warning: count(Status::Warning),
            critical: count(Status::Critical),
            unknown: count(Status::Unknown),
            own,
            registered: seen.registered,
            updated: seen.updated,
            deregistered: seen.deregistered,
            failed: seen.failed,
            uptime,
        }
    }
}
