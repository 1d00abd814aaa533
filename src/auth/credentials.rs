use std::{fmt, sync::Arc};

use http::{HeaderName, HeaderValue, header::AUTHORIZATION};

use super::{
    render::{self, named},
    secret::Secret,
};
use crate::error::{Code, Error, Kind};

pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
pub(super) const USERNAME: HeaderName = HeaderName::from_static("x-username");
pub(super) const PASSWORD: HeaderName = HeaderName::from_static("x-password");

/// What a caller shows to be let in: made once, and shared by its clones.
///
/// | constructor | over HTTP | over gRPC |
/// |---|---|---|
/// | [`none`](Self::none), [`mtls`](Self::mtls) | – | – |
/// | [`api_key`](Self::api_key) | `X-Api-Key: KEY` | `x-api-key` |
/// | [`bearer`](Self::bearer) | `Authorization: Bearer TOKEN` | the same |
/// | [`basic`](Self::basic) | `Authorization: Basic base64(USERNAME:PASSWORD)` | `x-username`, `x-password` |
/// | [`headers`](Self::headers) | the headers | the same |
///
/// An [`AuthLayer`](super::AuthLayer) adds them to calls, and a [`RequireAuthLayer`](super::RequireAuthLayer)
/// asks for them. What cannot be sent, such as an empty token or one with a line end, is reported by every
/// call, as [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig).
///
/// The memory is overwritten when the last clone drops, except for what an HTTP client copied into the
/// buffers of its connections.
///
/// # Example
/// ```
/// use tower_upstream::auth::Credentials;
/// let credentials = Credentials::bearer("abc.def");
/// assert_eq!(format!("{credentials:?}"), "Credentials(bearer)");
/// ```
#[derive(Clone)]
pub struct Credentials {
    shared: Arc<Shared>,
    plaintext: bool,
}

struct Shared {
    way: Way,
    /// Sent over gRPC in any case, over HTTP by [`Way::Headers`].
    headers: Vec<(HeaderName, Secret)>,
    /// As they go over HTTP; or why they cannot.
    http: Result<Vec<(HeaderName, HeaderValue)>, Mistake>,
}

/// Why credentials cannot be sent, and the code for that.
type Mistake = (Option<Code>, String);

pub(super) enum Way {
    None,
    ApiKey(Secret),
    Bearer(Secret),
    Basic { username: Secret, password: Secret },
    Mtls,
    Headers,
}

impl Credentials {
    /// Creates credentials that are none.
    ///
    /// ```
    /// # use tower_upstream::auth::Credentials;
    /// assert_eq!(format!("{:?}", Credentials::none()), "Credentials(none)");
    /// ```
    pub fn none() -> Self {
        Self::of(Way::None, Vec::new(), Vec::new())
    }

    /// Creates credentials of a client certificate, which TLS shows: no header is sent.
    ///
    /// A client has its certificate in a [`TlsConfig`](crate::dial::TlsConfig); see
    /// [`AuthConfig::tls`](super::AuthConfig::tls).
    ///
    /// ```
    /// # use tower_upstream::auth::Credentials;
    /// assert_eq!(format!("{:?}", Credentials::mtls()), "Credentials(mtls)");
    /// ```
    pub fn mtls() -> Self {
        Self::of(Way::Mtls, Vec::new(), Vec::new())
    }

    /// Creates credentials of an API key.
    ///
    /// ```
    /// let credentials = tower_upstream::auth::Credentials::api_key("k-17");
    /// # let _ = credentials;
    /// ```
    pub fn api_key(key: impl Into<Secret>) -> Self {
        Self::of(Way::ApiKey(key.into()), Vec::new(), Vec::new())
    }

    /// Creates credentials of a bearer token (RFC 6750).
    ///
    /// ```
    /// let credentials = tower_upstream::auth::Credentials::bearer("abc.def");
    /// # let _ = credentials;
    /// ```
    pub fn bearer(token: impl Into<Secret>) -> Self {
        Self::of(Way::Bearer(token.into()), Vec::new(), Vec::new())
    }

    /// Creates credentials of a user name, which holds no colon, and a password (RFC 7617).
    ///
    /// ```
    /// let credentials = tower_upstream::auth::Credentials::basic("tax", "s3cret");
    /// # let _ = credentials;
    /// ```
    pub fn basic(username: impl Into<Secret>, password: impl Into<Secret>) -> Self {
        let (username, password) = (username.into(), password.into());
        Self::of(Way::Basic { username, password }, Vec::new(), Vec::new())
    }

    /// Creates credentials of any headers, such as `X-Signature`, except those that say how a request is
    /// sent.
    ///
    /// ```
    /// let credentials = tower_upstream::auth::Credentials::headers([("X-Tenant-Key", "k-17")]);
    /// # let _ = credentials;
    /// ```
    pub fn headers<N, V>(headers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: Into<Secret>,
    {
        let (headers, mistakes) = named(headers);
        Self::of(Way::Headers, headers, mistakes)
    }

    /// Sets whether they may go over a connection that can be read on the way: one without TLS to another
    /// host.
    ///
    /// By default, such a call fails with [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) before
    /// anything of it is sent, and counts against no endpoint. Connections to this host and Unix sockets
    /// are always allowed. Default: `false`.
    ///
    /// ```
    /// use tower_upstream::auth::Credentials;
    /// let behind_a_mesh_that_encrypts = Credentials::bearer("abc").allow_plaintext(true);
    /// # let _ = behind_a_mesh_that_encrypts;
    /// ```
    #[must_use]
    pub const fn allow_plaintext(mut self, allow: bool) -> Self {
        self.plaintext = allow;
        self
    }

    /// Returns the fields of an HTTP request, each of which replaces one of the same name.
    ///
    /// For a transport of your own. [`is_private`](Self::is_private) tells whether they may be sent over
    /// any connection.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) if they cannot be sent.
    ///
    /// ```
    /// use tower_upstream::auth::Credentials;
    /// let basic = Credentials::basic("Aladdin", "open sesame");
    /// let (name, value) = &basic.http_fields()?[0];
    /// assert_eq!(name, "authorization");
    /// assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn http_fields(&self) -> Result<&[(HeaderName, HeaderValue)], Error> {
        match &self.shared.http {
            Ok(fields) => Ok(fields),
            Err((code, problem)) => Err(Error::not_sent(Kind::InvalidConfig)
                .coded(code.or(Some(Code::AUTH_1105)))
                .message(format!("cannot send the credentials: {problem}"))),
        }
    }

    /// Returns the metadata of a gRPC call, by the keys of the Go plugin manager.
    ///
    /// # Errors
    /// Those of [`http_fields`](Self::http_fields).
    ///
    /// ```
    /// use tower_upstream::auth::Credentials;
    /// let metadata = Credentials::basic("tax", "s3cret").grpc_metadata()?;
    /// assert_eq!(metadata[1].0, "x-password");
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn grpc_metadata(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
        let fields = self.http_fields()?;
        let mut metadata = match &self.shared.way {
            Way::Basic { username, password } => {
                let pair = [(USERNAME, username), (PASSWORD, password)].into_iter();
                pair.filter_map(|(name, of)| Some((name, text(of)?))).collect()
            }
            Way::Headers => Vec::new(),
            _ => fields.to_vec(),
        };
        let headers = self.shared.headers.iter();
        metadata.extend(headers.filter_map(|(name, of)| Some((name.clone(), text(of)?))));
        Ok(metadata)
    }

    /// Returns whether there is something to send over HTTP that must not be read on the way.
    ///
    /// ```
    /// use tower_upstream::auth::Credentials;
    /// assert!(Credentials::bearer("abc").is_private());
    /// assert!(!Credentials::bearer("abc").allow_plaintext(true).is_private());
    /// assert!(!Credentials::mtls().is_private());
    /// ```
    pub fn is_private(&self) -> bool {
        let has_fields = self.shared.http.as_ref().is_ok_and(|fields| !fields.is_empty());
        has_fields && !self.plaintext
    }

    /// Returns whether there is something to send over gRPC that must not be read on the way: there, the
    /// headers of an [`AuthConfig`](super::AuthConfig) are sent with any method.
    ///
    /// ```
    /// use tower_upstream::auth::AuthConfig;
    /// let text = r#"{"method": "none", "headers": {"x-key": "abc"}}"#;
    /// let credentials = serde_json::from_str::<AuthConfig>(text)?.credentials()?;
    /// assert!(credentials.is_private_over_grpc() && !credentials.is_private());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_private_over_grpc(&self) -> bool {
        self.is_private() || (!self.shared.headers.is_empty() && !self.plaintext)
    }

    /// The error for a way on which they could be read.
    #[cold]
    pub(crate) fn exposed(place: &str) -> Error {
        Error::not_sent(Kind::InvalidConfig).coded(Some(Code::AUTH_1105)).message(format!(
            "{place} is another host, and without TLS the credentials can be read on the way \
             there; use `https`, or set `allow_plaintext` if they may be"
        ))
    }

    pub(super) fn way(&self) -> &Way {
        &self.shared.way
    }

    pub(super) fn own_headers(&self) -> &[(HeaderName, Secret)] {
        &self.shared.headers
    }

    /// What is wrong with them, whatever else is.
    pub(super) fn mistake(&self) -> Option<(Option<Code>, &str)> {
        self.shared.http.as_ref().err().map(|(code, problem)| (*code, problem.as_str()))
    }

    pub(super) fn with_headers(way: Way, headers: impl Iterator<Item = (String, Secret)>) -> Self {
        let (headers, mistakes) = named(headers);
        Self::of(way, headers, mistakes)
    }

    fn of(way: Way, headers: Vec<(HeaderName, Secret)>, mut mistakes: Vec<String>) -> Self {
        let code = missing(&way, &mut mistakes);
        let mut fields = Vec::new();
        let mut add = |name: HeaderName, value: Option<HeaderValue>| match value {
            Some(value) => fields.push((name, value)),
            None => mistakes.push(unsendable(&name)),
        };
        match &way {
            Way::None | Way::Mtls => {}
            Way::ApiKey(key) => add(API_KEY, text(key)),
            Way::Bearer(token) => {
                add(AUTHORIZATION, render::value(&[b"Bearer ", token.expose().as_bytes()]));
            }
            Way::Basic { username, password } => {
                add(AUTHORIZATION, render::basic(username.expose(), password.expose()));
            }
            Way::Headers => headers.iter().for_each(|(name, of)| add(name.clone(), text(of))),
        }
        if !matches!(way, Way::Headers) {
            // Over gRPC they are sent as well.
            let unsent = headers.iter().filter(|(_, of)| text(of).is_none());
            mistakes.extend(unsent.map(|(name, _)| unsendable(name)));
        }
        let is_alone = mistakes.len() == 1;
        let http = match mistakes.is_empty() {
            true => Ok(fields),
            false => Err((code.filter(|_| is_alone), mistakes.join("; "))),
        };
        Self { shared: Arc::new(Shared { way, headers, http }), plaintext: false }
    }
}

/// Says what is missing, and the code for that.
fn missing(way: &Way, mistakes: &mut Vec<String>) -> Option<Code> {
    let (code, missing) = match way {
        Way::ApiKey(key) if key.is_empty() => (Code::AUTH_1101, "`api-key` needs an `api_key`"),
        Way::Bearer(token) if token.is_empty() => (Code::AUTH_1102, "`bearer` needs a `token`"),
        Way::Basic { username, password } if username.is_empty() || password.is_empty() => {
            (Code::AUTH_1103, "`basic` needs a `username` and a `password`")
        }
        Way::Basic { username, .. } if username.expose().contains(':') => {
            (Code::AUTH_1103, "the `username` of `basic` holds a colon")
        }
        _ => return None,
    };
    mistakes.push(missing.to_owned());
    Some(code)
}

/// Names the header, never the value, which is the secret.
fn unsendable(name: &HeaderName) -> String {
    format!("what `{name}` shall hold has a control character")
}

fn text(secret: &Secret) -> Option<HeaderValue> {
    render::value(&[secret.expose().as_bytes()])
}

/// Names the method alone.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self.shared.way {
            Way::None => "none",
            Way::ApiKey(_) => "api-key",
            Way::Bearer(_) => "bearer",
            Way::Basic { .. } => "basic",
            Way::Mtls => "mtls",
            Way::Headers => "custom",
        };
        write!(f, "Credentials({method})")
    }
}
