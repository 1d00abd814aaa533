use std::{fmt, sync::Arc, time::Duration};

use http::Request;
use tower_layer::Layer;

use super::{keys::Keys, service::SessionCookie, slot::Slot, terms::Terms};
use crate::{
    error::{Error, Kind},
    session::{Binding, Home, Homes, Sessions},
};

/// Keeps a client at one endpoint, by a cookie that it sets.
///
/// Put it above the failover, and give a clone of it to [`Sticky`](crate::balance::Sticky), which chooses by it. The
/// clone and the layer must be of one value. [`session`](crate::session) has the rules of sessions.
///
/// The cookie is `HttpOnly` and `SameSite=Lax`, and by default `Secure`. It holds a hash of the key of an endpoint, by
/// which that cannot be told, and when the session ends; and it is signed by HMAC-SHA256. Nothing is kept in this
/// process, so sessions survive a restart, and several proxies with the same secret share them.
///
/// *Secrets.* The first one signs, and all of them verify. To change the secret, put the new one in front of the old one
/// everywhere, and take the old one out after [`session_timeout`](Self::with_session_timeout). In a fleet, add the new
/// one behind the old one first. A cookie of the old one is replaced with the next answer.
///
/// # Bounds
/// A cookie is about 160 bytes. Of the cookies of a request with the same name, four are verified. One that is not valid
/// is ignored: the call has no session, and its answer sets a new one.
///
/// # Example
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     BalanceLayer, BoxError, Endpoint, LeastRequest, balance::Sticky, connect_fn, discover,
///     http::SessionCookieLayer,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let cookie = SessionCookieLayer::new(["a secret of 16 bytes or more"])?;
/// let strategy = Sticky::new(LeastRequest::new(), cookie.clone());
/// let stack = ServiceBuilder::new()
///     .layer(cookie)
///     .layer(BalanceLayer::new(discover::fixed(["http://a:80", "http://b:80"])?, strategy))
///     .service(connect_fn(|_: &Endpoint| {
///         service_fn(async |_: http::Request<Full<Bytes>>| Ok::<_, BoxError>(http::Response::new(())))
///     }));
/// let response = stack.oneshot(http::Request::new(Full::default())).await?;
/// let cookie = response.headers()["set-cookie"].to_str()?;
/// assert!(cookie.starts_with("__upstream=") && cookie.ends_with("; HttpOnly; SameSite=Lax; Secure"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SessionCookieLayer {
    terms: Arc<Terms>,
}

impl SessionCookieLayer {
    /// Makes the layer with these secrets, of at least 16 random bytes each.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] without a secret, or with one that is shorter.
    pub fn new<K: AsRef<[u8]>>(secrets: impl IntoIterator<Item = K>) -> Result<Self, Error> {
        let secrets: Vec<_> = secrets.into_iter().collect();
        let keys = Keys::new(secrets.iter().map(AsRef::as_ref)).ok_or_else(|| {
            let mistake = "a session cookie needs a secret, and each must have at least 16 bytes";
            Error::not_sent(Kind::InvalidConfig).message(mistake)
        })?;
        let (name, timeout) = ("__upstream".to_owned(), Duration::from_secs(1_800));
        let terms = Terms { keys: Arc::new(keys), name, timeout, secure: true };
        Ok(Self { terms: Arc::new(terms) })
    }

    /// Sets the name of the cookie. Characters that a name cannot have are left out. Default: `__upstream`.
    #[must_use]
    pub fn with_name(self, name: &str) -> Self {
        let is_token = |c: &char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(*c);
        let name: String = name.chars().filter(is_token).collect();
        if name.is_empty() { self } else { self.with(|terms| terms.name = name) }
    }

    /// Sets after which time without a call a session ends, at least a second. Default: 30 minutes.
    #[must_use]
    pub fn with_session_timeout(self, timeout: Duration) -> Self {
        self.with(|terms| terms.timeout = timeout)
    }

    /// Sets whether clients send the cookie over TLS only. Browsers do not keep such a cookie of a site without TLS.
    /// Default: true.
    #[must_use]
    pub fn with_secure(self, secure: bool) -> Self {
        self.with(|terms| terms.secure = secure)
    }

    fn with(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        change(Arc::make_mut(&mut self.terms));
        self
    }

    fn slot<'r, B>(&self, request: &'r Request<B>) -> Option<&'r Slot> {
        let slot = request.extensions().get::<Slot>()?;
        (slot.of == Terms::id(&self.terms)).then_some(slot)
    }
}

impl<S> Layer<S> for SessionCookieLayer {
    type Service = SessionCookie<S>;

    fn layer(&self, inner: S) -> SessionCookie<S> {
        SessionCookie::new(inner, self.terms.clone())
    }
}

impl Homes for SessionCookieLayer {
    fn homes(&self, endpoint: &str) -> Vec<Home> {
        self.terms.keys.names(endpoint).map(Home::new).collect()
    }
}

impl<B> Sessions<Request<B>> for SessionCookieLayer {
    fn home(&self, request: &Request<B>) -> Option<Home> {
        self.slot(request)?.token.map(|token| Home::new(token.home))
    }

    fn bind(&self, request: &Request<B>, endpoint: &Arc<str>, is_home: bool) -> Option<Binding> {
        let slot = self.slot(request)?;
        // One that is about to end is set anew.
        if is_home && !slot.token.is_some_and(|token| self.terms.is_to_renew(token)) {
            return None;
        }
        let home = self.terms.keys.names(endpoint).next()?;
        let (moves, slot) = (slot.token.is_some() && !is_home, slot.clone());
        Some(Binding::new(moves, move || slot.bind(home)))
    }
}

impl fmt::Debug for SessionCookieLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCookieLayer")
            .field("name", &self.terms.name)
            .field("timeout", &self.terms.timeout)
            .field("secure", &self.terms.secure)
            .finish_non_exhaustive()
    }
}
