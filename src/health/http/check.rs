use std::{fmt, ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request,
    header::{CONNECTION, HOST, USER_AGENT},
};
use http_body_util::Full;
use tokio::time::timeout;

use super::{
    exchange::{Answer, Exchange},
    target::{Place, Target},
};
use crate::{
    dial::{AGENT, Dialer},
    endpoint::{Endpoint, EndpointCheck},
    error::BoxError,
    health::check::{Check, Verdict},
};

/// What is sent in a body, at most.
pub(super) const MAX_SENT: usize = 64 << 10;
/// How long the text may be that is looked for in a body.
const MAX_WANTED: usize = 1 << 10;

/// Check by an HTTP/1.1 request: healthy if the status is from 200 to 399.
///
/// Each check makes a connection of its own, so it also detects an endpoint that accepts no new
/// connections. Redirects are not followed: the answer itself counts.
///
/// With the feature `tls`, an endpoint or a URL may be `https`; see [`tls`](Self::tls). An endpoint such as
/// `http+unix://%2Frun%2Ftax.sock` is checked over its Unix socket, whichever user it belongs to.
///
/// An endpoint may [say itself](crate::endpoint::EndpointCheck) how it is checked: what it says replaces the
/// settings of this check and the interval of the gate, unless this check requests a URL.
///
/// # Bounds
/// Reads at most 64 KiB of the body to look for [`expect_body`](Self::expect_body), and otherwise 4 KiB,
/// so that a small body is not cut off.
///
/// # Example
/// ```
/// use tower_upstream::{HealthGateLayer, HttpCheck};
///
/// // Below a balancer: the path is asked of each endpoint, below the path of its address.
/// let each = HealthGateLayer::new(HttpCheck::get("/health").expect(200..=299));
/// // Above it: one URL for the whole upstream.
/// let whole = HealthGateLayer::new(HttpCheck::get("http://10.0.0.1:8080/ready"));
/// // A request with a body, and a text that the answer must have.
/// let asked = HealthGateLayer::new(
///     HttpCheck::get("/graphql")
///         .method("POST")
///         .header("content-type", "application/json")
///         .body(r#"{"query":"{ready}"}"#)
///         .expect_body(r#""ready":true"#),
/// );
/// # let _ = (each, whole, asked);
/// ```
#[derive(Clone)]
pub struct HttpCheck {
    pub(super) target: Target,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    expected: Vec<RangeInclusive<u16>>,
    wanted: Option<Bytes>,
    dialer: Dialer,
    /// What is wrong with what was given to the builder.
    mistake: Option<String>,
}

impl HttpCheck {
    /// Creates a check that requests `target`: a path, or a URL that starts with `http://` or `https://`.
    ///
    /// A path is joined to the endpoint's own with one slash. A target or a setting that cannot work is
    /// reported by every call through the gate, as
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig).
    ///
    /// ```
    /// let check = tower_upstream::HttpCheck::get("/health");
    /// # let _ = check;
    /// ```
    pub fn get(target: impl AsRef<str>) -> Self {
        let (target, mistake) = match Target::parse(target.as_ref()) {
            Ok(target) => (target, None),
            Err(mistake) => (Target::Path(String::new()), Some(mistake)),
        };
        Self {
            target,
            method: Method::GET,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            expected: vec![200..=399],
            wanted: None,
            dialer: Dialer::default(),
            mistake,
        }
    }

    /// Sets the method, such as `HEAD`. Default: `GET`.
    ///
    /// ```
    /// let check = tower_upstream::HttpCheck::get("/health").method("HEAD");
    /// # let _ = check;
    /// ```
    #[must_use]
    pub fn method(mut self, method: impl AsRef<str>) -> Self {
        match method.as_ref().parse() {
            Ok(Method::CONNECT) | Err(_) => {
                self.mistake = Some("the method of the health check cannot be used".to_owned());
            }
            Ok(method) => self.method = method,
        }
        self
    }

    /// Adds a header, or replaces it, including `Host` and `User-Agent`, which have defaults.
    ///
    /// ```
    /// let check = tower_upstream::HttpCheck::get("/health").header("authorization", "Bearer abc");
    /// # let _ = check;
    /// ```
    #[must_use]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let name = name.as_ref().parse::<HeaderName>();
        let value = HeaderValue::from_str(value.as_ref());
        match (name, value) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                self.headers.insert(name, value);
            }
            // Not what was given: it may be a secret.
            _ => self.mistake = Some("a header of the health check is not valid".to_owned()),
        }
        self
    }

    /// Sets the body of the request, at most 64 KiB. Default: empty.
    ///
    /// ```
    /// let check = tower_upstream::HttpCheck::get("/graphql").method("POST").body("{ready}");
    /// # let _ = check;
    /// ```
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        if self.body.len() > MAX_SENT {
            self.mistake = Some("the body of a health check may have 64 KiB".to_owned());
        }
        self
    }

    /// Sets which statuses are healthy. A status of 1xx never is. Default: 200 to 399.
    ///
    /// ```
    /// let check = tower_upstream::HttpCheck::get("/health").expect(200..=299);
    /// # let _ = check;
    /// ```
    #[must_use]
    pub fn expect(mut self, statuses: RangeInclusive<u16>) -> Self {
        self.expected.clear();
        self.or_expect(statuses)
    }

    /// Adds to the statuses that are healthy.
    ///
    /// ```
    /// use tower_upstream::HttpCheck;
    /// let check = HttpCheck::get("/admin").expect(200..=299).or_expect(401..=401);
    /// # let _ = check;
    /// ```
    #[must_use]
    pub fn or_expect(mut self, statuses: RangeInclusive<u16>) -> Self {
        if statuses.is_empty() || *statuses.end() < 200 {
            self.mistake =
                Some("a health check expects no status from 200 to 999 at all".to_owned());
        }
        self.expected.push(statuses);
        self
    }

    /// Sets a text that the first 64 KiB of the answer's body must contain, from 1 byte to 1 KiB long.
    ///
    /// ```
    /// let check = tower_upstream::HttpCheck::get("/health").expect_body(r#""ready":true"#);
    /// # let _ = check;
    /// ```
    #[must_use]
    pub fn expect_body(mut self, text: impl Into<Bytes>) -> Self {
        let text = text.into();
        if text.is_empty() || text.len() > MAX_WANTED {
            self.mistake = Some("a health check looks for a text of 1 byte to 1 KiB".to_owned());
        }
        self.wanted = Some(text);
        self
    }

    /// Sets the authorities to trust and the certificate to show, for `https`.
    ///
    /// Default: the authorities of the system, and no certificate.
    ///
    /// ```
    /// use tower_upstream::{HttpCheck, dial::TlsConfig};
    /// let tls = TlsConfig::default().with_ca_file("/etc/plugins/ca.pem");
    /// let check = HttpCheck::get("/health").tls(tls);
    /// # let _ = check;
    /// ```
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: crate::dial::TlsConfig) -> Self {
        if let Some(mistake) = tls.mistake() {
            self.mistake = Some(format!("the health check cannot use its TLS: {mistake}"));
        }
        self.dialer.config = tls;
        self
    }

    pub(super) fn request(&self, place: &Place) -> Result<Request<Full<Bytes>>, BoxError> {
        let body = Full::new(self.body.clone());
        let mut request = Request::builder().method(&self.method).uri(&place.path).body(body)?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&place.authority)?);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.extend(self.headers.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }

    async fn ask(&self, endpoint: Option<&Endpoint>) -> Result<Answer, BoxError> {
        let own = self.told_by(endpoint);
        let check = self.with_own(own);
        let answer = check.ask_as_it_is(endpoint);
        match own.and_then(EndpointCheck::timeout) {
            Some(limit) => timeout(limit, answer)
                .await
                .map_err(|_| format!("there was no answer within its {limit:?}"))?,
            None => answer.await,
        }
    }

    async fn ask_as_it_is(&self, endpoint: Option<&Endpoint>) -> Result<Answer, BoxError> {
        let place = self.target.place(endpoint).ok_or("a path needs an endpoint")?;
        let request = self.request(&place)?;
        let wanted = self.wanted.as_deref();
        Exchange { place: &place, dialer: &self.dialer, wanted }
            .run(request, |status| self.expects(status))
            .await
    }

    pub(super) fn expects(&self, status: u16) -> bool {
        status >= 200 && self.expected.iter().any(|statuses| statuses.contains(&status))
    }
}

impl Check for HttpCheck {
    async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Verdict {
        match self.ask(endpoint.as_deref()).await {
            Ok(Answer::Expected) => Verdict::Healthy,
            Ok(Answer::Status(status)) => {
                Verdict::Unhealthy(format!("unhealthy status code: {status}").into())
            }
            Ok(Answer::OtherBody) => Verdict::Unhealthy("unexpected body".into()),
            Err(error) => Verdict::Unhealthy(format!("request failed: {error}").into()),
        }
    }

    fn problem(&self, endpoint: Option<&Endpoint>) -> Option<String> {
        if self.method == Method::HEAD && self.wanted.is_some() {
            return Some("the answer to a `HEAD` has no body to look into".to_owned());
        }
        self.mistake.clone().or_else(|| self.target.problem(endpoint))
    }
}

/// Shows the names of the headers, not their values, nor what is sent: those may be secrets.
impl fmt::Debug for HttpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCheck")
            .field("target", &self.target)
            .field("method", &self.method)
            .field("expected", &self.expected)
            .field("headers", &self.headers.keys())
            .finish_non_exhaustive()
    }
}
