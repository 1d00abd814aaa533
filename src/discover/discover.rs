use futures_core::Stream;

use super::set::EndpointSet;
use crate::error::BoxError;

/// A source of the endpoints of one upstream.
///
/// It is a factory: each balancer asks for a stream of its own, and a source that watches
/// something shares one watch beneath them.
///
/// The stream yields the set as it is, then each set that differs. Its end freezes the last one.
/// Dropping it ends what it does; it may be dropped at any point.
///
/// # Example
/// ```
/// use futures::stream::{self, StreamExt};
/// use tower_upstream::discover::{Discover, EndpointSet};
///
/// struct Local;
///
/// impl Discover for Local {
///     type Stream = stream::Iter<std::option::IntoIter<EndpointSet>>;
///
///     fn discover(&self) -> Self::Stream {
///         let endpoint: tower_upstream::Endpoint = "http://127.0.0.1:8080".parse().expect("a good address");
///         stream::iter(EndpointSet::new([endpoint], "1").ok())
///     }
/// }
/// # futures::executor::block_on(async {
/// assert_eq!(Local.discover().next().await.map(|set| set.len()), Some(1));
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of endpoints",
    label = "expected something like `discover::fixed([..])?`",
    note = "`discover::fixed` returns a `Result`: is a `?` missing?"
)]
pub trait Discover: Send + Sync + 'static {
    /// Complete sets, in order.
    type Stream: Stream<Item = EndpointSet> + Send + 'static;

    /// Begins to watch.
    fn discover(&self) -> Self::Stream;

    /// Returns what the last look for endpoints failed with, or `None` if it succeeded.
    ///
    /// A balancer asks when it has no endpoint left, and for calls that have waited for one in vain; it gives that to
    /// calls as the cause of their error. Must not block. Default: `None`.
    ///
    /// ```
    /// use futures::stream::{Pending, pending};
    /// use tower_upstream::{BoxError, discover::{Discover, EndpointSet}};
    ///
    /// struct Unreachable;
    /// impl Discover for Unreachable {
    ///     type Stream = Pending<EndpointSet>;
    ///     fn discover(&self) -> Self::Stream {
    ///         pending()
    ///     }
    ///     fn last_error(&self) -> Option<BoxError> {
    ///         Some("the registry does not answer".into())
    ///     }
    /// }
    /// assert!(Unreachable.last_error().is_some());
    /// ```
    fn last_error(&self) -> Option<BoxError> {
        None
    }
}

impl<D: Discover + ?Sized> Discover for std::sync::Arc<D> {
    type Stream = D::Stream;

    fn discover(&self) -> Self::Stream {
        (**self).discover()
    }

    fn last_error(&self) -> Option<BoxError> {
        (**self).last_error()
    }
}
