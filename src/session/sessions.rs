use std::{fmt, sync::Arc};

/// What sessions call an endpoint: a hash of its key that they choose.
///
/// ```
/// use tower_upstream::session::Home;
/// assert_eq!(Home::new(7), Home::new(7));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Home(u64);

impl Home {
    /// Makes it of a hash. Two endpoints with the same hash share their sessions.
    pub const fn new(hash: u64) -> Self {
        Self(hash)
    }

    /// Returns the hash.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What endpoints are called: the part of [`Sessions`] that does not depend on the request.
pub trait Homes: Send + Sync + 'static {
    /// Returns all that the endpoint with this key is called. More than one where a secret changes.
    ///
    /// Asked once for each endpoint of a set, when it joins.
    fn homes(&self, endpoint: &str) -> Vec<Home>;

    /// Returns whether there are any sessions. Default: true.
    #[inline]
    fn are_on(&self) -> bool {
        true
    }
}

/// `None` is for no sessions at all.
impl<B: Homes> Homes for Option<B> {
    fn homes(&self, endpoint: &str) -> Vec<Home> {
        self.as_ref().map_or(Vec::new(), |sessions| sessions.homes(endpoint))
    }

    #[inline]
    fn are_on(&self) -> bool {
        self.as_ref().is_some_and(Homes::are_on)
    }
}

/// Which endpoint the session of a request belongs to.
///
/// Implemented by [`SessionTable`](super::SessionTable), and by `http::SessionCookieLayer` (feature `sticky`).
///
/// # Example
/// Sessions that are told by the endpoint itself, in a field of the request:
/// ```
/// use std::sync::Arc;
/// use tower_upstream::{
///     BalanceLayer, LeastRequest, balance::Sticky, discover, session::{Binding, Home, Homes, Sessions},
/// };
///
/// struct Upload { server: Option<u64> }
///
/// #[derive(Clone)]
/// struct ByServer;
///
/// impl Homes for ByServer {
///     fn homes(&self, endpoint: &str) -> Vec<Home> {
///         endpoint.rsplit('-').next().and_then(|id| id.parse().ok()).map(Home::new).into_iter().collect()
///     }
/// }
///
/// impl Sessions<Upload> for ByServer {
///     fn home(&self, upload: &Upload) -> Option<Home> {
///         upload.server.map(Home::new)
///     }
///     fn bind(&self, _: &Upload, _: &Arc<str>, _: bool) -> Option<Binding> {
///         None
///     }
/// }
///
/// let endpoints = discover::fixed(["http://server-1", "http://server-2"])?;
/// let layer = BalanceLayer::new(endpoints, Sticky::new(LeastRequest::new(), ByServer));
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub trait Sessions<Req>: Homes {
    /// Returns the endpoint that the session of `request` belongs to; `None` if it has none, or no session.
    fn home(&self, request: &Req) -> Option<Home>;

    /// Returns what remembers that the session of `request` belongs to `endpoint`, which is called now; `is_home`
    /// says whether it is the one that [`home`](Self::home) told. `None` if there is nothing to remember.
    fn bind(&self, request: &Req, endpoint: &Arc<str>, is_home: bool) -> Option<Binding>;
}

impl<Req, B: Sessions<Req>> Sessions<Req> for Option<B> {
    #[inline]
    fn home(&self, request: &Req) -> Option<Home> {
        self.as_ref()?.home(request)
    }

    #[inline]
    fn bind(&self, request: &Req, endpoint: &Arc<str>, is_home: bool) -> Option<Binding> {
        self.as_ref()?.bind(request, endpoint, is_home)
    }
}

/// Remembers the endpoint of a session, once that has answered. [`Sessions`] has an example.
#[must_use = "a session is remembered once its endpoint has answered"]
pub struct Binding {
    remember: Box<dyn FnOnce() -> bool + Send + Sync>,
}

impl Binding {
    /// Makes it of what is to be done, which returns whether the session moves: it belonged to another endpoint before.
    ///
    /// ```
    /// use tower_upstream::session::Binding;
    /// let binding = Binding::new(|| {
    ///     println!("a new session");
    ///     false
    /// });
    /// assert!(!binding.answered());
    /// ```
    pub fn new(remember: impl FnOnce() -> bool + Send + Sync + 'static) -> Self {
        Self { remember: Box::new(remember) }
    }

    /// Remembers it, and returns whether the session moves. For the balancer.
    pub fn answered(self) -> bool {
        (self.remember)()
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").finish_non_exhaustive()
    }
}
