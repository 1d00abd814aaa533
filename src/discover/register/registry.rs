use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{
    course::{GIVE_UP, Pace},
    driver,
    instance::Instance,
    registrar::Registrar,
    registration::Registration,
    shared::Shared,
};
use crate::{
    endpoint::Endpoint,
    error::{Error, Kind},
    time,
};

/// Announces instances in a backend, and keeps them there.
///
/// Clones share one session, and all [registrations](Registration) of a registry are in it. The session
/// begins with the first registration and ends with the last one; nothing is left behind.
///
/// # What happens when
/// | | the instances |
/// |---|---|
/// | the backend fails, panics, hangs | are written again after a wait |
/// | the session is lost | are written again at once, under the same ids |
/// | the process is killed | expire, after the time to live of the backend |
/// | the runtime of the session ends | are written again once something is asked for in another runtime |
///
/// After a failure the next call waits for a random time of up to 250 ms, which doubles with each further
/// failure up to 30 s, and starts over after a minute without one.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::{Endpoint, discover::{MemoryRegistry, Registry}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::Error> {
/// let backend = MemoryRegistry::new();
/// let registry = Registry::new(backend.clone());
/// let tax = registry.register("tax", Endpoint::new("http://10.0.0.1:8080")?.with_tag("v2"))?;
/// tax.registered(Duration::from_secs(5)).await?;
/// assert_eq!(backend.instances("tax").len(), 1);
///
/// registry.deregister_all(Duration::from_secs(5)).await?;
/// assert!(backend.services().is_empty());
/// # Ok(()) }
/// ```
pub struct Registry<R> {
    shared: Arc<Shared>,
    backend: Arc<R>,
}

impl<R: Registrar> Registry<R> {
    /// Creates a registry that announces in `backend`. Does nothing yet.
    pub fn new(backend: R) -> Self {
        let pace = Pace {
            keep_alive_every: backend.keep_alive_every(),
            max_backoff: backend.max_backoff(),
        };
        let (name, backend) = (backend.name(), Arc::new(backend));
        let of_driver = backend.clone();
        let start = move |runtime: &Handle, shared: &_| driver::start(runtime, shared, &of_driver);
        Self { shared: Arc::new(Shared::new(name, pace, Box::new(start))), backend }
    }

    /// Returns the backend.
    pub fn backend(&self) -> &R {
        &self.backend
    }

    /// Announces an instance of `service` at `endpoint`, in the background.
    ///
    /// Its id is the [key](Endpoint::with_key) that the endpoint was given, or else
    /// [made here](Instance::new), once. Call this when the server listens.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for what [`Instance::new`] refuses, and for an id that is announced already.
    /// [`Kind::Unavailable`] outside a tokio runtime.
    pub fn register(
        &self,
        service: impl Into<Arc<str>>,
        endpoint: Endpoint,
    ) -> Result<Registration, Error> {
        let instance = Instance::new(service, endpoint)?;
        Handle::try_current().map_err(|_| Error::not_sent(Kind::Unavailable))?;
        Registration::announce(&self.shared, instance)
    }

    /// Deregisters everything, and waits for that for at most `timeout`. For a shutdown.
    ///
    /// # Errors
    /// [`Kind::Timeout`]: what is left is removed in the background, or expires. [`Kind::Unavailable`] outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future deregisters all the same.
    ///
    /// # Bounds
    /// Waits for at most a minute.
    pub async fn deregister_all(&self, timeout: Duration) -> Result<(), Error> {
        self.shared.want(|course| course.withdraw_all(time::now()));
        let timeout = timeout.min(GIVE_UP * 2 / 3);
        if self.shared.until(timeout, |course| course.is_over()).await? {
            return Ok(());
        }
        Err(self.shared.timeout("deregistered everything", timeout, None))
    }
}

impl<R> Clone for Registry<R> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), backend: self.backend.clone() }
    }
}

impl<R> fmt::Debug for Registry<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.shared.look(|course| course.ids().cloned().collect());
        f.debug_struct("Registry")
            .field("name", &self.shared.name)
            .field("announced", &ids)
            .finish_non_exhaustive()
    }
}
