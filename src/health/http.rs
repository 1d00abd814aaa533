use std::{fmt, ops::RangeInclusive, pin::pin, sync::Arc};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri,
    header::{CONNECTION, HOST, USER_AGENT},
};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::check::{Check, Verdict};
use crate::{
    endpoint::{Address, Endpoint, without_user},
    error::BoxError,
};

const AGENT: &str = concat!("tower-upstream/", env!("CARGO_PKG_VERSION"));

/// What is read of an answer's head, at most.
const MAX_HEAD: usize = 16 * 1024;

/// Checks with an HTTP/1.1 `GET`: healthy if the status is from 200 to 399.
///
/// Each check makes a connection of its own, so it also finds an endpoint that takes no new ones.
/// Redirects are not followed: the answer itself counts. The body is not read. There is no TLS
/// here; for an `https` endpoint use [`check_fn`](crate::health::check_fn) with a client that has
/// it.
///
/// # Example
/// ```
/// use tower_upstream::{HealthGateLayer, HttpCheck};
///
/// // Below a balancer: the path is asked of each endpoint, below the path of its address.
/// let each = HealthGateLayer::new(HttpCheck::get("/health").expect(200..=299));
/// // Above it: one URL for the whole upstream.
/// let whole = HealthGateLayer::new(HttpCheck::get("http://10.0.0.1:8080/ready"));
/// # let _ = (each, whole);
/// ```
#[derive(Clone)]
pub struct HttpCheck {
    target: Target,
    expected: RangeInclusive<u16>,
    headers: HeaderMap,
    /// What is wrong with what was given to the builder.
    mistake: Option<String>,
}

#[derive(Clone)]
enum Target {
    /// Below the path of the endpoint.
    Path(String),
    /// As it is, whatever the endpoint.
    Url(Uri),
}

impl HttpCheck {
    /// Asks for `target`: a path, or a URL that starts with `http://`.
    ///
    /// A path is joined to the endpoint's own with one slash. A target that cannot work is
    /// reported by every call through the gate, as [`Kind::InvalidConfig`](crate::Kind).
    pub fn get(target: impl AsRef<str>) -> Self {
        let target = target.as_ref();
        let (target, mistake) = match parse_target(target) {
            Ok(target) => (target, None),
            Err(problem) => {
                let shown: String = without_user(target).escape_debug().take(64).collect();
                let mistake = format!(
                    "cannot check health at `{shown}`: {problem}; write `/path`, or \
                     `http://host:port/path`"
                );
                (Target::Path(String::new()), Some(mistake))
            }
        };
        Self { target, expected: 200..=399, headers: HeaderMap::new(), mistake }
    }

    /// Sets which statuses are healthy. Default 200 to 399.
    #[must_use]
    pub fn expect(mut self, statuses: RangeInclusive<u16>) -> Self {
        if statuses.is_empty() {
            self.mistake = Some("a health check expects no status at all".to_owned());
        }
        self.expected = statuses;
        self
    }

    /// Adds a header, or replaces it; also `Host` and `User-Agent`, which are set otherwise.
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

    /// Where to connect to, and what to ask there.
    fn request(
        &self,
        endpoint: Option<&Endpoint>,
    ) -> Result<(Peer, Request<Empty<Bytes>>), BoxError> {
        let (peer, authority, path) = match (&self.target, endpoint) {
            (Target::Url(url), _) => {
                let authority = url.authority().ok_or("the URL has no host")?;
                let host = authority.host().trim_matches(['[', ']']).to_owned();
                let port = authority.port_u16().unwrap_or(80);
                let path = url.path_and_query().map_or("/", |path| path.as_str());
                ((host, port), authority.as_str().to_owned(), path.to_owned())
            }
            (Target::Path(path), Some(endpoint)) => {
                let address = endpoint.address();
                let peer = (address.host().to_owned(), address.port().unwrap_or(80));
                (peer, address.authority().to_owned(), join(address, path))
            }
            (Target::Path(_), None) => return Err("a path needs an endpoint".into()),
        };
        let mut request = Request::get(path).body(Empty::new())?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&authority)?);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.extend(self.headers.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok((peer, request))
    }

    async fn ask(&self, endpoint: Option<&Endpoint>) -> Result<StatusCode, BoxError> {
        let ((host, port), request) = self.request(endpoint)?;
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        Ok(exchange(stream, request).await?.status())
    }
}

type Peer = (String, u16);

/// Sends one request. The connection ends when the answer drops.
async fn exchange(
    stream: TcpStream,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, BoxError> {
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await?;
    let response = pin!(sender.send_request(request));
    match select(response, pin!(connection)).await {
        Either::Left((response, _)) => Ok(response?),
        // The connection is over, so the answer is there, or why there is none.
        Either::Right((_, response)) => Ok(response.await?),
    }
}

fn parse_target(target: &str) -> Result<Target, &'static str> {
    if target.contains("://") {
        let url: Uri = target.parse().map_err(|_| "it is not a URL")?;
        if url.scheme_str() != Some("http") {
            return Err("only `http` is supported");
        }
        match url.authority() {
            Some(authority) if authority.as_str().contains('@') => Err("it holds a user name"),
            // The parser takes any text for a port.
            Some(authority)
                if authority.port_u16().is_none()
                    && authority.as_str().trim_end_matches(':') != authority.host() =>
            {
                Err("its port is not a number up to 65535")
            }
            Some(authority) if !authority.host().is_empty() => Ok(Target::Url(url)),
            _ => Err("it has no host"),
        }
    } else {
        let path = format!("/{}", target.trim_start_matches('/'));
        match path.parse::<Uri>() {
            Ok(_) => Ok(Target::Path(path)),
            Err(_) => Err("it is not a path"),
        }
    }
}

/// The base path of the address and `path`, which starts with a slash.
fn join(address: &Address, path: &str) -> String {
    format!("{}{path}", address.path().trim_end_matches('/'))
}

impl Check for HttpCheck {
    async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Verdict {
        match self.ask(endpoint.as_deref()).await {
            Ok(status) if self.expected.contains(&status.as_u16()) => Verdict::Healthy,
            Ok(status) => {
                Verdict::Unhealthy(format!("unhealthy status code: {}", status.as_u16()).into())
            }
            Err(error) => Verdict::Unhealthy(format!("request failed: {error}").into()),
        }
    }

    fn problem(&self, endpoint: Option<&Endpoint>) -> Option<String> {
        if self.mistake.is_some() {
            return self.mistake.clone();
        }
        match (&self.target, endpoint) {
            (Target::Url(_), _) => None,
            (Target::Path(path), None) => Some(format!(
                "a health check of the path `{}` needs an endpoint; here, above a balancer, give \
                 an absolute URL, or a closure with `check_upstream`",
                without_user(path)
            )),
            (Target::Path(_), Some(endpoint)) => match endpoint.address().scheme() {
                None | Some("http") => None,
                Some(scheme) => Some(format!(
                    "`HttpCheck` cannot reach a `{scheme}` endpoint; use `check_fn` with a client \
                     that can, or give an `http://` URL"
                )),
            },
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{:?}", without_user(path)),
            Self::Url(url) => write!(f, "{:?}", without_user(&url.to_string())),
        }
    }
}

/// Shows the names of the headers, not their values: those may be secrets.
impl fmt::Debug for HttpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCheck")
            .field("target", &self.target)
            .field("expected", &self.expected)
            .field("headers", &self.headers.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, endpoint: &str) -> (Peer, String, String) {
        let endpoint: Endpoint = endpoint.parse().unwrap();
        let check = HttpCheck::get(target);
        assert_eq!(check.problem(Some(&endpoint)), None);
        let (peer, request) = check.request(Some(&endpoint)).unwrap();
        let host = request.headers()[HOST].to_str().unwrap().to_owned();
        (peer, host, request.uri().to_string())
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
        let path = HttpCheck::get("/health");
        assert!(path.problem(None).is_some_and(|text| text.contains("absolute URL")));
        let unix: Endpoint = "unix:/run/a".parse().unwrap();
        assert!(path.problem(Some(&unix)).is_some_and(|text| text.contains("`unix`")));
        assert_eq!(HttpCheck::get("http://a").problem(None), None);
    }

    #[test]
    fn what_is_sent_has_the_fixed_agent_and_the_given_headers() {
        let check = HttpCheck::get("http://a").header("Host", "b").header("X-Key", "abc");
        let (_, request) = check.request(None).unwrap();
        assert_eq!(request.headers()[HOST], "b");
        assert_eq!(request.headers()["x-key"], "abc");
        assert_eq!(request.headers()[USER_AGENT], AGENT);
        assert!(!format!("{check:?}").contains("abc"));
    }
}
