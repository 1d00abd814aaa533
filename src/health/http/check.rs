use std::{fmt, ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request,
    header::{CONNECTION, HOST, USER_AGENT},
};
use http_body_util::Full;

use super::{
    exchange::{Answer, Exchange},
    target::{Place, Target},
};
use crate::{
    endpoint::Endpoint,
    error::BoxError,
    health::check::{Check, Verdict},
};

const AGENT: &str = concat!("tower-upstream/", env!("CARGO_PKG_VERSION"));

/// What is sent in a body, at most.
const MAX_SENT: usize = 64 << 10;
/// How long the text may be that is looked for in a body.
const MAX_WANTED: usize = 1 << 10;

/// Check by an HTTP/1.1 request: healthy if the status is from 200 to 399.
///
/// Each check makes a connection of its own, so it also detects an endpoint that accepts no new
/// connections. Redirects are not followed: the answer itself counts. There is no TLS; for an `https`
/// endpoint use [`check_fn`](crate::health::check_fn) with a client that has it.
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
    target: Target,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    expected: Vec<RangeInclusive<u16>>,
    wanted: Option<Bytes>,
    /// What is wrong with what was given to the builder.
    mistake: Option<String>,
}

impl HttpCheck {
    /// Creates a check that requests `target`: a path, or a URL that starts with `http://`.
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

    fn request(&self, place: &Place) -> Result<Request<Full<Bytes>>, BoxError> {
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
        let place = self.target.place(endpoint).ok_or("a path needs an endpoint")?;
        let request = self.request(&place)?;
        let wanted = self.wanted.as_deref();
        Exchange { place: &place, wanted }.run(request, |status| self.expects(status)).await
    }

    fn expects(&self, status: u16) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, endpoint: &str) -> ((String, u16), String, String) {
        let endpoint: Endpoint = endpoint.parse().unwrap();
        let check = HttpCheck::get(target);
        assert_eq!(check.problem(Some(&endpoint)), None);
        let place = check.target.place(Some(&endpoint)).unwrap();
        let request = check.request(&place).unwrap();
        let host = request.headers()[HOST].to_str().unwrap().to_owned();
        ((place.host, place.port), host, request.uri().to_string())
    }

    #[test]
    fn a_path_is_below_the_endpoint_s_and_a_url_is_verbatim() {
        let expect = |host: &str, port, authority: &str, path: &str| {
            ((host.to_owned(), port), authority.to_owned(), path.to_owned())
        };
        assert_eq!(asked("health", "http://a/base/"), expect("a", 80, "a", "/base/health"));
        assert_eq!(
            asked("/health?full=1", "http://[::1]:8080"),
            expect("::1", 8080, "[::1]:8080", "/health?full=1")
        );
        assert_eq!(
            asked("/", "http://[fe80::1%25eth0]:81"),
            expect("fe80::1%25eth0", 81, "[fe80::1]:81", "/")
        );
        assert_eq!(asked("/", "10.0.0.1:81"), expect("10.0.0.1", 81, "10.0.0.1:81", "/"));
        assert_eq!(
            asked("http://[::2]:1/x//y", "http://a/base"),
            expect("::2", 1, "[::2]:1", "/x//y")
        );
        assert_eq!(asked("http://b", "http://a"), expect("b", 80, "b", "/"));
    }

    #[test]
    fn what_cannot_work_is_said() {
        let endpoint: Endpoint = "http://a".parse().unwrap();
        let problem = |check: HttpCheck| check.problem(Some(&endpoint)).unwrap_or_default();
        assert!(problem(HttpCheck::get("https://a/")).contains("only `http`"));
        assert!(problem(HttpCheck::get("http://user@a/")).contains("user name"));
        for target in ["http://user:secret@a/", "ftp://user:secret@a", "http://user:sec/ret@a"] {
            let check = HttpCheck::get(target);
            assert!(!format!("{check:?} {}", problem(check.clone())).contains("sec"), "{target}");
        }
        let path = HttpCheck::get("user:secret@a/health");
        let shown = format!("{path:?} {:?}", path.problem(None));
        assert!(shown.contains("a/health") && !shown.contains("secret"), "{shown}");
        assert!(problem(HttpCheck::get("http://a:b/")).contains("port"));
        assert!(problem(HttpCheck::get("http://a:65536")).contains("port"));
        assert_eq!(HttpCheck::get("http://[::1]:/").problem(None), None);
        assert!(problem(HttpCheck::get("/a b")).contains("not a path"));
        assert!(problem(HttpCheck::get("/").header("x", "a\nsecret")).contains("header"));
        #[allow(clippy::reversed_empty_ranges)]
        let none = HttpCheck::get("/").expect(300..=200);
        assert!(problem(none).contains("no status"));
        assert!(problem(HttpCheck::get("/").expect(100..=199)).contains("no status"));
        assert!(problem(HttpCheck::get("/").method("A B")).contains("method"));
        assert!(problem(HttpCheck::get("/").method("CONNECT")).contains("method"));
        assert!(problem(HttpCheck::get("/").body(vec![0; MAX_SENT + 1])).contains("64 KiB"));
        assert!(problem(HttpCheck::get("/").expect_body("")).contains("1 byte"));
        assert!(problem(HttpCheck::get("/").method("HEAD").expect_body("x")).contains("HEAD"));
        let path = HttpCheck::get("/health");
        assert!(path.problem(None).is_some_and(|text| text.contains("absolute URL")));
        let unix: Endpoint = "unix:/run/a".parse().unwrap();
        assert!(path.problem(Some(&unix)).is_some_and(|text| text.contains("`unix`")));
        assert_eq!(HttpCheck::get("http://a").problem(None), None);
    }

    #[test]
    fn statuses_are_a_set_without_1xx() {
        let check = HttpCheck::get("/").expect(100..=204).or_expect(401..=401);
        let expected: Vec<_> = (0..1_000).filter(|&status| check.expects(status)).collect();
        assert_eq!(expected, [200, 201, 202, 203, 204, 401]);
        assert!(HttpCheck::get("/").expects(399) && !HttpCheck::get("/").expects(400));
    }

    #[test]
    fn what_is_sent_has_the_fixed_agent_and_the_given_headers() {
        let check = HttpCheck::get("http://a").header("Host", "b").header("X-Key", "abc");
        let check = check.body("secret");
        let request = check.request(&check.target.place(None).unwrap()).unwrap();
        assert_eq!(request.headers()[HOST], "b");
        assert_eq!(request.headers()["x-key"], "abc");
        assert_eq!(request.headers()[USER_AGENT], AGENT);
        let shown = format!("{check:?}");
        assert!(!shown.contains("abc") && !shown.contains("secret"), "{shown}");
    }
}
