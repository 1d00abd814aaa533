use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    course::{Course, GIVE_UP},
    instance::Instance,
    shared::Shared,
};
use crate::{
    endpoint::{Endpoint, Status},
    error::Error,
    sync::lock,
    time,
};

/// Announcement of one instance. Dropping it deregisters the instance in the background.
///
/// Made by [`Registry::register`](super::Registry::register).
///
/// # Shutdown
/// [`drain`](Self::drain), wait until the calls that are in flight have ended, and
/// [`deregister`](Self::deregister): a program that ends right after the drop leaves the instance to expire.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::{
///     Endpoint,
///     discover::{MemoryRegistry, Registry},
///     endpoint::Status,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::Error> {
/// let backend = MemoryRegistry::new();
/// let registry = Registry::new(backend.clone());
/// let tax = registry.register("tax", Endpoint::new("10.0.0.1:8080")?.with_key("tax-1"))?;
/// tax.set_status(Status::Passing);
/// tax.update(|endpoint| endpoint.with_metadata("zone", "a"))?;
/// tax.registered(Duration::from_secs(5)).await?;
///
/// tax.drain();
/// tax.registered(Duration::from_secs(5)).await?;
/// assert!(backend.get("tax-1").is_some_and(|tax| tax.endpoint().is_draining()));
/// tax.deregister(Duration::from_secs(5)).await?;
/// assert!(backend.get("tax-1").is_none());
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "dropping it deregisters the instance"]
pub struct Registration {
    shared: Arc<Shared>,
    number: u64,
    instance: Mutex<Instance>,
    id: Arc<str>,
}

impl Registration {
    pub(super) fn announce(shared: &Arc<Shared>, instance: Instance) -> Result<Self, Error> {
        let number = shared.want(|course| course.announce(instance.clone()))?;
        let id = instance.shared_id().clone();
        Ok(Self { shared: shared.clone(), number, instance: instance.into(), id })
    }

    /// Returns the id, which stays as it is.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the instance as it is announced, or about to be.
    pub fn instance(&self) -> Instance {
        lock(&self.instance).clone()
    }

    /// Changes what is announced. The key of the endpoint stays.
    ///
    /// Several changes that come faster than the backend takes them are written together. `change` is called again
    /// if another change came meanwhile. It may use this registration.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::error::Kind::InvalidConfig) for an address that
    /// [cannot be announced](Instance::new); then nothing changes.
    pub fn update(&self, mut change: impl FnMut(Endpoint) -> Endpoint) -> Result<(), Error> {
        loop {
            // Not under the lock, and then no change of another thread may be lost.
            let before = self.instance();
            let changed = before.with_endpoint(change((**before.endpoint()).clone()))?;
            let mut instance = lock(&self.instance);
            if !Arc::ptr_eq(instance.endpoint(), before.endpoint()) {
                continue;
            }
            if changed.endpoint() != before.endpoint() {
                *instance = changed.clone();
                self.shared.want(|course| course.update(self.number, changed));
            }
            return Ok(());
        }
    }

    /// Changes the status that is announced.
    pub fn set_status(&self, status: Status) {
        // The address stays, so nothing is refused.
        let _ = self.update(|endpoint| endpoint.with_status(status));
    }

    /// Announces that the instance finishes the calls it has and wants no new ones.
    pub fn drain(&self) {
        let _ = self.update(|endpoint| endpoint.with_draining(true));
    }

    /// Returns whether the backend has the instance as it is now.
    pub fn is_registered(&self) -> bool {
        self.shared.look(|course| {
            course.get(self.number, &self.id).is_some_and(|entry| entry.is_written())
        })
    }

    /// Returns what the last call about this instance failed with, or `None` if it did not.
    pub fn last_error(&self) -> Option<Error> {
        self.shared.look(|course| course.get(self.number, &self.id)?.error.clone())
    }

    /// Waits until the backend has the instance as it is now, for at most `timeout`.
    ///
    /// # Errors
    /// [`Timeout`](crate::error::Kind::Timeout), whose source is the [last error](Self::last_error), if there
    /// is one. [`Unavailable`](crate::error::Kind::Unavailable) outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the instance announced.
    pub async fn registered(&self, timeout: Duration) -> Result<(), Error> {
        let (number, id) = (self.number, self.id.clone());
        let is_written =
            move |course: &Course| course.get(number, &id).is_some_and(|entry| entry.is_written());
        if self.shared.until(timeout, is_written).await? {
            return Ok(());
        }
        Err(self.shared.timeout("taken the instance", timeout, self.last_error()))
    }

    /// Deregisters the instance, and waits for that for at most `timeout`.
    ///
    /// # Errors
    /// [`Timeout`](crate::error::Kind::Timeout): it is tried again in the background for a minute, and
    /// expires then. [`Unavailable`](crate::error::Kind::Unavailable) outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future deregisters all the same.
    ///
    /// # Bounds
    /// Waits for at most a minute.
    pub async fn deregister(self, timeout: Duration) -> Result<(), Error> {
        self.withdraw();
        let timeout = timeout.min(GIVE_UP * 2 / 3);
        let (number, id) = (self.number, self.id.clone());
        if self.shared.until(timeout, move |course| course.is_gone(number, &id)).await? {
            return Ok(());
        }
        Err(self.shared.timeout("removed the instance", timeout, self.last_error()))
    }

    fn withdraw(&self) {
        self.shared.want(|course| course.withdraw(self.number, &self.id, time::now()));
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.withdraw();
    }
}
