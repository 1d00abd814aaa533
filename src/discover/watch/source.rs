use std::time::Duration;

use super::super::set::EndpointSet;
use crate::error::BoxError;

/// A backend: something that can be asked which endpoints a service has.
///
/// It does one thing, [`observe`](Self::observe), and nothing about failures, waiting or sharing: a
/// [`Watched`](super::Watched) does that for all backends alike.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::{
///     BoxError, Endpoint,
///     discover::{EndpointSet, Observation, Source, Watched},
/// };
///
/// /// The addresses in a variable of the environment, which a supervisor may change.
/// struct Variable(&'static str);
///
/// impl Source for Variable {
///     type State = ();
///
///     fn name(&self) -> String {
///         format!("variable {}", self.0)
///     }
///
///     async fn observe(&self, _: &mut ()) -> Result<Observation, BoxError> {
///         let text = std::env::var(self.0)?;
///         let endpoints = text.split(',').map(Endpoint::new).collect::<Result<Vec<_>, _>>()?;
///         let set = EndpointSet::new(endpoints, text)?;
///         Ok(Observation::of(set).again_after(Duration::from_secs(10)))
///     }
/// }
///
/// let endpoints = Watched::new(Variable("TAX_ENDPOINTS"));
/// # let _ = endpoints;
/// ```
pub trait Source: Send + Sync + 'static {
    /// What one watch remembers from one observation to the next, such as a revision or an open stream.
    ///
    /// The default is a watch that has seen nothing.
    type State: Default + Send;

    /// Returns the name of the backend and the service, for logs and errors, such as
    /// ``file `/etc/tax.json` ``. Must not contain secrets.
    fn name(&self) -> String;

    /// Returns the longest wait between two observations that fail. Default: 30 s.
    ///
    /// Shorter for a backend that costs little to ask, and that no crowd asks, such as a local file.
    fn max_backoff(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Observes the endpoints.
    ///
    /// With a default `state` it answers with the whole set as soon as it can. Later it answers once
    /// something may have changed; a backend that cannot tell answers at once and says with
    /// [`again_after`](Observation::again_after) when to ask again.
    ///
    /// An answer that can be read and has no endpoints is `Ok` with an empty set. Everything else that is
    /// not an answer is an error. The set that is known stays in use then, and the next observation is
    /// made after a wait that grows, with the same `state`, so an error has to leave nothing half-read in it. After
    /// a panic it has a default one.
    ///
    /// # Cancel safety
    /// The future may be dropped at any point. The `state` is dropped with it, and the next observation
    /// has a default one.
    fn observe(
        &self,
        state: &mut Self::State,
    ) -> impl Future<Output = Result<Observation, BoxError>> + Send;
}

/// Answer of a [`Source`].
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::discover::{EndpointSet, Observation};
/// # use tower_upstream::Endpoint;
///
/// let set = EndpointSet::new([Endpoint::new("a:1")?], "7")?;
/// let answer = Observation::of(set).again_after(Duration::from_secs(10));
/// let same = Observation::unchanged().again_after(Duration::from_secs(10));
/// # let _ = (answer, same);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Observation {
    /// `None`: what was told last.
    pub(super) set: Option<EndpointSet>,
    pub(super) is_certain: bool,
    pub(super) again_after: Duration,
}

impl Observation {
    /// Creates an answer with the whole set.
    pub fn of(set: EndpointSet) -> Self {
        Self { set: Some(set), is_certain: false, again_after: Duration::ZERO }
    }

    /// Creates an answer that the set is what it was in the last observation with the same state.
    pub fn unchanged() -> Self {
        Self { set: None, is_certain: false, again_after: Duration::ZERO }
    }

    /// Marks the set as certain: it takes effect at once, even if it is empty or lacks most of the
    /// endpoints.
    ///
    /// For a backend that says explicitly that endpoints left, such as by the end of a lease.
    #[must_use]
    pub fn certain(mut self) -> Self {
        self.is_certain = true;
        self
    }

    /// Sets when to observe next, for a backend that has to be polled. Default: at once, for a backend
    /// whose next observation waits for a change.
    ///
    /// # Bounds
    /// Observations start at least 100 ms apart. Up to 10 % is added to the wait, so that many clients do
    /// not ask together.
    #[must_use]
    pub fn again_after(mut self, wait: Duration) -> Self {
        self.again_after = wait;
        self
    }
}
