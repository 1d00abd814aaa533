use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Request;
use tower_layer::Layer;

use super::{
    keys::Keys, path::cookie_path, same_site::SameSite, service::SessionCookie, slot::Slot,
    terms::Terms,
};
use crate::{
    error::{Error, Kind},
    session::{Binding, Home, Homes, Sessions},
};

/// Keeps a client at one endpoint, by a cookie that it sets.
///
/// Put it above the failover, and give a clone of it to [`Sticky`](crate::balance::Sticky), which chooses by it.
/// Set the [name](Self::with_name) and the [path](Self::with_path) before you clone it: a clone with another of them
/// is about another cookie. A call that comes to the balancer without the layer, or through one of another cookie, has
/// no session, and one warning is logged. [`session`](crate::session) has the rules of sessions.
///
/// The cookie is `HttpOnly`, and by default `Secure` and `SameSite=Lax`. It holds a hash of the key of an endpoint, by
/// which that cannot be told, and when the session ends; and it is signed by HMAC-SHA256, together with its name and
/// its path. Nothing is kept in this process, so sessions survive a restart, and several proxies with the same secret
/// share them. A response that sets the cookie gets `Cache-Control: private` as well, so that no shared cache gives
/// the session of one client to others; and so does each field for certain caches that it has, such as
/// `CDN-Cache-Control` or `Surrogate-Control`. A cache of answers in this process, such as
/// [`fallback::Cached`](crate::fallback::Cached), belongs below this layer.
///
/// *Several groups of endpoints.* On one host, each needs a name or a path of its own: with the same, each group
/// replaces the cookie of the others. So does each of two proxies of which one calls the other. A client can send its
/// cookie with any call, and so chooses which endpoint it calls, but learns nothing of it.
///
/// *Secrets.* The first one signs, and all of them verify. To change the secret, put the new one in front of the old one
/// everywhere, and take the old one out after [`session_timeout`](Self::with_session_timeout). In a fleet, add the new
/// one behind the old one first. A cookie of the old one is replaced with the next answer.
///
/// # Bounds
/// A cookie is about 160 bytes. Of the cookies of a request with this name and the length of ours, four are verified.
/// One that is not valid is ignored: the call has no session, and its answer sets a new one. A sibling domain can set
/// cookies that come before ours; it cannot with a name that begins with `__Host-`.
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
    /// Whether it was told that calls come without it.
    is_told: Arc<AtomicBool>,
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
        let (path, same_site) = ("/".to_owned(), SameSite::default());
        let terms = Terms { keys: Arc::new(keys), name, path, timeout, secure: true, same_site };
        Ok(Self { terms: Arc::new(terms), is_told: Arc::default() })
    }

    /// Sets the name of the cookie. Characters that a name cannot have are left out, and so are those beyond 256. A
    /// cookie of which the name begins with `__Host-`, `__Secure-` or `__Http-` is `Secure`, and with `__Host-` has the
    /// path `/`, or browsers would not keep it. Default: `__upstream`.
    #[must_use]
    pub fn with_name(self, name: &str) -> Self {
        let is_token = |c: &char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(*c);
        let name: String = name.chars().filter(is_token).take(256).collect();
        if name.is_empty() { self } else { self.with(|terms| terms.name = name) }
    }

    /// Sets below which path clients send the cookie. Default: `/`.
    ///
    /// Text is written as browsers do, `/café` as `/caf%C3%A9`. What a cookie cannot have is left out, and of a path of
    /// more than 1,024 bytes the last parts.
    ///
    /// Let only calls below this path come to the layer: the client sends no cookie with others, so each of those begins
    /// a session anew, whose cookie replaces the one that the client has.
    ///
    /// ```
    /// use tower_upstream::http::SessionCookieLayer;
    /// let secrets = ["a secret of 16 bytes or more"];
    /// let shop = SessionCookieLayer::new(secrets)?.with_path("/shop");
    /// let search = SessionCookieLayer::new(secrets)?.with_path("/search");
    /// # let _ = (shop, search);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_path(self, path: &str) -> Self {
        self.with(|terms| terms.path = cookie_path(path))
    }

    /// Sets after which time without a call a session ends, from a second to a year. Default: 30 minutes.
    #[must_use]
    pub fn with_session_timeout(self, timeout: Duration) -> Self {
        self.with(|terms| terms.timeout = timeout)
    }

    /// Sets whether clients send the cookie over TLS only. Browsers do not keep such a cookie of a site without TLS, so
    /// a proxy that its clients reach by `http://` needs `with_secure(false)`.
    /// Default: true.
    #[must_use]
    pub fn with_secure(self, secure: bool) -> Self {
        self.with(|terms| terms.secure = secure)
    }

    /// Sets on which calls browsers send the cookie that come from pages of other sites. Default: [`SameSite::Lax`].
    ///
    /// ```
    /// use tower_upstream::http::{SameSite, SessionCookieLayer};
    /// let cookie = SessionCookieLayer::new(["a secret of 16 bytes or more"])?;
    /// let in_frames = cookie.with_same_site(SameSite::None);
    /// # let _ = in_frames;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_same_site(self, same_site: SameSite) -> Self {
        self.with(|terms| terms.same_site = same_site)
    }

    fn with(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        change(Arc::make_mut(&mut self.terms));
        self
    }

    fn slot<'r, B>(&self, request: &'r Request<B>) -> Option<&'r Slot> {
        let slot = request.extensions().get::<Slot>()?;
        slot.terms.is_alike(&self.terms).then_some(slot)
    }

    /// Sessions that never begin are noticed late, so it is told, once.
    #[cold]
    fn tell_missing(&self) {
        // Relaxed: it decides of nothing else.
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                cookie = self.terms.name,
                "calls have no session: put a clone of this `SessionCookieLayer` above the balancer"
            );
        }
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
        let Some(slot) = self.slot(request) else {
            self.tell_missing();
            return None;
        };
        if is_home && slot.is_settled() {
            return None;
        }
        let home = self.terms.keys.names(endpoint).next()?;
        let (moves, slot) = (slot.token.is_some() && !is_home, slot.clone());
        Some(Binding::new(move || {
            slot.bind(home);
            moves
        }))
    }
}

impl fmt::Debug for SessionCookieLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCookieLayer")
            .field("name", &self.terms.name)
            .field("path", &self.terms.path)
            .field("timeout", &self.terms.timeout)
            .field("secure", &self.terms.secure)
            .field("same_site", &self.terms.same_site)
            .finish_non_exhaustive()
    }
}
