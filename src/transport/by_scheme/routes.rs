use std::{fmt, sync::Arc};

use super::service::OneOf;
use crate::{connect::Connect, member::Member, outcome::TypeName};

/// The connectors of a [`ByScheme`](super::ByScheme), each for its schemes.
///
/// Only this crate implements it.
///
/// ```
/// use tower_upstream::{Endpoint, connect_fn, transport::{ByScheme, Routes}};
/// fn is_fit<R: Routes>(_: &ByScheme<R>) {}
/// is_fit(&ByScheme::new(["http"], connect_fn(|_: &Endpoint| ())));
/// ```
pub trait Routes {
    /// The service for an endpoint with any of the schemes.
    type Service;

    /// Makes the service for `member`, if there is a connector for `scheme`. True if it is the client itself:
    /// see [`Connect::is_known_client`].
    #[doc(hidden)]
    fn route(&self, scheme: &str, member: &Arc<Member>) -> Option<(Self::Service, bool)>;

    /// The schemes that have a connector.
    #[doc(hidden)]
    fn schemes(&self) -> Box<dyn Iterator<Item = &str> + '_>;
}

/// A connector for some schemes. A part of a [`ByScheme`](super::ByScheme).
///
/// ```
/// use tower_upstream::transport::{ByScheme, HttpTransport, On};
/// let transport: ByScheme<On<HttpTransport<u64, u64>>> =
///     ByScheme::new(["http"], HttpTransport::new());
/// # let _ = transport;
/// ```
#[derive(Clone)]
pub struct On<C> {
    schemes: Arc<[String]>,
    connector: C,
}

impl<C> On<C> {
    pub(super) fn new<T>(schemes: impl IntoIterator<Item = T>, connector: C) -> Self
    where
        T: Into<String>,
    {
        Self { schemes: schemes.into_iter().map(Into::into).collect(), connector }
    }
}

/// Some connectors, and one more. A part of a [`ByScheme`](super::ByScheme).
///
/// ```
/// use tower_upstream::transport::{ByScheme, HttpTransport, On, Or, SocketTransport};
/// let transport: ByScheme<Or<On<HttpTransport<u64, u64>>, On<SocketTransport<u64, u64>>>> =
///     ByScheme::new(["http"], HttpTransport::new()).or(["unix"], SocketTransport::new());
/// # let _ = transport;
/// ```
#[derive(Debug, Clone)]
pub struct Or<A, B> {
    first: A,
    second: B,
}

impl<A, B> Or<A, B> {
    pub(super) fn new(first: A, second: B) -> Self {
        Self { first, second }
    }
}

impl<C: Connect> Routes for On<C> {
    type Service = C::Service;

    fn route(&self, scheme: &str, member: &Arc<Member>) -> Option<(Self::Service, bool)> {
        let is_ours = self.schemes.iter().any(|ours| ours.eq_ignore_ascii_case(scheme));
        is_ours.then(|| (self.connector.connect(member), self.connector.is_known_client()))
    }

    fn schemes(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.schemes.iter().map(String::as_str))
    }
}

impl<A: Routes, B: Routes> Routes for Or<A, B> {
    type Service = OneOf<A::Service, B::Service>;

    fn route(&self, scheme: &str, member: &Arc<Member>) -> Option<(Self::Service, bool)> {
        let first = || self.first.route(scheme, member).map(|(of, is)| (OneOf::First(of), is));
        let second = || self.second.route(scheme, member).map(|(of, is)| (OneOf::Second(of), is));
        first().or_else(second)
    }

    fn schemes(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.first.schemes().chain(self.second.schemes()))
    }
}

impl<C> fmt::Debug for On<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connector = TypeName::<C>::new();
        f.debug_struct("On").field("schemes", &self.schemes).field("connector", &connector).finish()
    }
}
