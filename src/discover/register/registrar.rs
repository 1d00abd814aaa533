use std::time::Duration;

use super::instance::Instance;
use crate::error::BoxError;

/// A backend that instances can be announced to.
///
/// It writes, keeps alive and removes what it is told, and does nothing about failures, waiting, order or
/// sharing: a [`Registry`](super::Registry) does that for all backends alike.
///
/// # Sessions
/// What is written belongs to a session, such as a lease: the entries of all instances that one
/// [`Registry`](super::Registry) announces. Calls of one session are made one after another. When a session
/// is over, whatever ended it, the next call has a default one, and every instance is put again.
///
/// # Example
/// ```
/// use std::{collections::BTreeMap, sync::Mutex};
/// use tower_upstream::{BoxError, discover::{Instance, Registrar}};
///
/// /// Entries that last as long as this process.
/// #[derive(Default)]
/// struct Table(Mutex<BTreeMap<String, String>>);
///
/// impl Registrar for Table {
///     type Session = ();
///
///     fn name(&self) -> String {
///         "the table".to_owned()
///     }
///
///     async fn put(&self, _: &mut (), instance: &Instance) -> Result<(), BoxError> {
///         let mut table = self.0.lock().map_err(|_| "poisoned")?;
///         table.insert(instance.id().to_owned(), instance.endpoint().address().as_str().to_owned());
///         Ok(())
///     }
///
///     async fn remove(&self, _: &mut (), instance: &Instance) -> Result<(), BoxError> {
///         self.0.lock().map_err(|_| "poisoned")?.remove(instance.id());
///         Ok(())
///     }
/// }
/// ```
///
/// # Cancel safety
/// Each future may be dropped at any point, and is after [`timeout`](Self::timeout). The session is dropped
/// with it.
pub trait Registrar: Send + Sync + 'static {
    /// What is remembered while a session lasts, such as a lease and the stream that keeps it alive.
    ///
    /// The default is a session that has not begun: the first [`put`](Self::put) begins it.
    type Session: Default + Send;

    /// Returns the name of the backend, for logs and errors, such as ``consul at `127.0.0.1:8500` ``. Must
    /// not contain secrets.
    fn name(&self) -> String;

    /// Returns how often a session has to be kept alive, such as a third of the time to live. Default:
    /// `None`, for a backend whose entries do not expire.
    ///
    /// # Bounds
    /// From 100 ms to a day. Up to 10 % is taken off, so that many clients do not come together.
    fn keep_alive_every(&self) -> Option<Duration> {
        None
    }

    /// Returns the longest wait between two calls that fail. Default: 30 s.
    fn max_backoff(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Returns how long one call may take. Default: 5 s.
    fn timeout(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Writes the whole of `instance`, in place of what has its id.
    ///
    /// May be called again with the same instance, also if it is there. An error keeps the session, and the
    /// call is repeated after a wait that grows.
    fn put(
        &self,
        session: &mut Self::Session,
        instance: &Instance,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Keeps the session alive, with all `instances` that it has written. Default: does nothing.
    ///
    /// An error keeps the session, and the call is repeated after a wait that grows.
    fn keep_alive(
        &self,
        session: &mut Self::Session,
        instances: &[Instance],
    ) -> impl Future<Output = Result<Kept, BoxError>> + Send {
        let _ = (session, instances);
        std::future::ready(Ok(Kept::Alive))
    }

    /// Removes `instance`. One that is not there is removed already.
    ///
    /// May be called in another session than the one that wrote it.
    fn remove(
        &self,
        session: &mut Self::Session,
        instance: &Instance,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Ends the session after its last instance was removed. Default: drops it.
    ///
    /// Not repeated if it fails, since nothing is left but what expires.
    fn end(&self, session: Self::Session) -> impl Future<Output = Result<(), BoxError>> + Send {
        drop(session);
        std::future::ready(Ok(()))
    }
}

/// Whether a session is still alive.
///
/// ```
/// assert_ne!(tower_upstream::discover::Kept::Alive, tower_upstream::discover::Kept::Lost);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is, with everything that it wrote.
    Alive,
    /// It is not, or the backend lacks something that it wrote: every instance is put again, in a new
    /// session.
    Lost,
}
