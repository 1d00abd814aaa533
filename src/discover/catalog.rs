use super::register::Instance;
use crate::error::BoxError;

/// A backend that can tell which services and instances it has.
///
/// For tools and tests. To call a service, watch it: see [`Discover`](super::Discover).
///
/// # Example
/// ```
/// use tower_upstream::{Endpoint, discover::{Catalog, Instance, MemoryRegistry}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::BoxError> {
/// let registry = MemoryRegistry::new();
/// registry.put(&Instance::new("tax", Endpoint::new("10.0.0.1:8080")?.with_key("tax-1"))?);
/// assert_eq!(registry.list_services().await?, ["tax"]);
/// assert!(registry.find_instance("tax-1").await?.is_some());
/// # Ok(()) }
/// ```
pub trait Catalog: Send + Sync {
    /// Returns the names of the services that have instances, sorted.
    fn list_services(&self) -> impl Future<Output = Result<Vec<String>, BoxError>> + Send;

    /// Returns the instance with `id`, or `None` if there is none.
    fn find_instance(
        &self,
        id: &str,
    ) -> impl Future<Output = Result<Option<Instance>, BoxError>> + Send;
}
