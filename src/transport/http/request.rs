//! The requests that are sent to a plugin.

use std::{fmt::Display, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    header::{
        ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST,
        IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
};
use serde::Serialize;

use super::{bounds::has_user, config::HttpConfig};
use crate::{
    auth::Credentials,
    duration::go_duration,
    endpoint::{Address, EndpointCheck, HTTP_UNIX, socket_of, without_user},
    error::{Code, Error, Kind, Quoted},
    member::Member,
    plugin::{
        Call,
        wire::{Question, to_json, unwritable},
    },
    transport::{counts::Counts, description::Description},
};

/// The endpoint that requests are made for.
pub(super) struct Target {
    pub(super) key: Arc<str>,
    pub(super) address: Address,
    pub(super) counts: Arc<Counts>,
    /// Of what carries none of its own.
    credentials: Credentials,
    pub(super) info: Description,
    /// How the endpoint says that its health is asked for.
    check: Option<EndpointCheck>,
    /// Or why calls cannot be sent there.
    uri: Result<Uri, Error>,
}

impl Target {
    pub(super) fn new(member: &Member, counts: Arc<Counts>, credentials: Credentials) -> Self {
        let endpoint = member.endpoint();
        let (key, address) = (member.shared_key().clone(), endpoint.address().clone());
        let check = endpoint.check().cloned();
        let uri = usable_socket(&address).and_then(|()| usable(&absolute(&address)));
        Self { key, uri, address, counts, credentials, info: Description::default(), check }
    }

    /// Makes the request of a page: a `GET`, unless the endpoint says otherwise.
    pub(super) fn get(&self, page: &Page, config: &HttpConfig) -> Result<Request<()>, Error> {
        let mut headers = headers(config);
        let mut method = Method::GET;
        if let Some(check) = &page.check {
            for (name, value) in check.headers() {
                let parsed = HeaderName::from_bytes(name.as_bytes());
                let parsed = parsed.map_err(|error| unusable(error.to_string()))?;
                let mut value = header_value(name, value)?;
                value.set_sensitive(true);
                insert(&mut headers, parsed, value)?;
            }
            if let Some(own) = check.method() {
                let own = Method::from_bytes(own.as_bytes());
                method = own.map_err(|error| unusable(error.to_string()))?;
            }
        }
        add_credentials(&mut headers, &self.credentials)?;
        Ok(request(method, page.url.clone(), headers))
    }

    /// What a call shows to be let in.
    pub(super) fn credentials_of<'a, Req>(&'a self, call: &'a Call<Req>) -> &'a Credentials {
        call.credentials().unwrap_or(&self.credentials)
    }

    /// Whether what a `GET` shows to be let in must not be read on the way.
    pub(super) fn is_private(&self) -> bool {
        self.credentials.is_private()
    }

    /// Makes the request of a call.
    pub(super) fn post<Req: Serialize>(
        &self,
        call: &Call<Req>,
        config: &HttpConfig,
    ) -> Result<Request<Bytes>, Error> {
        let id = call.id();
        let head = self.head(call, &id, config)?;
        let question = Question {
            data: call.body(),
            request_id: &id,
            timeout: go_duration(call.timeout_within(config.request_timeout)),
            headers: call.headers(),
            metadata: call.metadata(),
        };
        let body = to_json(&question).map_err(|error| unwritable("the call", error))?;
        Ok(head.map(|()| body.into()))
    }

    /// Makes the request of a call without its body.
    pub(super) fn post_head<Req>(
        &self,
        call: &Call<Req>,
        config: &HttpConfig,
    ) -> Result<Request<()>, Error> {
        self.head(call, &call.id(), config)
    }

    fn head<Req>(
        &self,
        call: &Call<Req>,
        id: &str,
        config: &HttpConfig,
    ) -> Result<Request<()>, Error> {
        let uri = self.uri.clone()?;
        let mut headers = headers(config);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let id = header_value("X-Request-Id", id)?;
        headers.insert(HeaderName::from_static("x-request-id"), id);
        add_headers(&mut headers, call)?;
        add_credentials(&mut headers, self.credentials_of(call))?;
        Ok(request(Method::POST, uri, headers))
    }

    /// A URL of the host that calls go to. Without a host, if they go nowhere.
    pub(super) fn host(member: &Member) -> Uri {
        usable(&absolute(member.endpoint().address())).unwrap_or_default()
    }

    pub(super) fn info(&self) -> Result<Page, Error> {
        usable(&below(&self.address, "info")).map(Page::here)
    }

    pub(super) fn health(&self, config: &HttpConfig) -> Result<Page, Error> {
        let own = self.check.as_ref().map_or("", EndpointCheck::path);
        let path = match config.health_path.as_str() {
            _ if !own.is_empty() => below(&self.address, own.trim_start_matches('/')),
            "" => below(&self.address, "health"),
            url if url.contains("://") => return Ok(Page::elsewhere(url)?.checked(&self.check)),
            path if path.starts_with('/') => {
                let address = absolute(&self.address);
                let root = &address[..address.len() - self.address.path().len()];
                format!("{root}{path}")
            }
            path => below(&self.address, path),
        };
        Ok(usable(&path).map(Page::here)?.checked(&self.check))
    }
}

/// What a `GET` reads, which may be on another host or socket than that of the calls.
pub(super) struct Page {
    pub(super) url: Uri,
    /// The path of another socket.
    pub(super) socket: Option<Arc<str>>,
    /// What the endpoint says of how it is asked, and of its answer.
    check: Option<EndpointCheck>,
}

impl Page {
    fn here(url: Uri) -> Self {
        Self { url, socket: None, check: None }
    }

    fn checked(self, check: &Option<EndpointCheck>) -> Self {
        Self { check: check.clone(), ..self }
    }

    pub(super) fn body(&self) -> Bytes {
        let body = self.check.as_ref().and_then(EndpointCheck::body);
        body.map(|body| Bytes::copy_from_slice(body.as_bytes())).unwrap_or_default()
    }

    /// Whether an answer with that status is good.
    pub(super) fn expects(&self, status: StatusCode) -> bool {
        match self.check.as_ref().and_then(EndpointCheck::expected) {
            Some(expected) => expected.contains(&status.as_u16()),
            None => status.is_success(),
        }
    }

    /// The host of a URL cannot be the path of a socket, which thus stands apart.
    fn elsewhere(url: &str) -> Result<Self, Error> {
        let rest = url.split_once("://").filter(|(of, _)| of.eq_ignore_ascii_case(HTTP_UNIX));
        let Some((_, rest)) = rest else { return usable(url).map(Self::here) };
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let socket = socket_of(host).map_err(|problem| {
            unusable(format!("cannot use the URL `{}`: {problem}", without_user(url)))
                .coded(Some(Code::PLUGIN_1004))
        })?;
        usable_path(&socket)?;
        let url = usable(&format!("{HTTP_UNIX}://localhost{path}"))?;
        Ok(Self { url, socket: Some(socket.into()), check: None })
    }
}

fn headers(config: &HttpConfig) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static("go-plugins/1.0"));
    if !config.disable_compression {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers
}

/// The address as a URL. Without a scheme it is one of HTTP. The path of a socket cannot be its host, so
/// that is what curl sends there.
fn absolute(address: &Address) -> String {
    match address.scheme() {
        Some(of) if of.eq_ignore_ascii_case(HTTP_UNIX) => {
            format!("{HTTP_UNIX}://localhost{}", address.path())
        }
        Some(_) => address.as_str().to_owned(),
        None => format!("http://{address}"),
    }
}

fn below(address: &Address, name: &str) -> String {
    format!("{}/{name}", absolute(address).trim_end_matches('/'))
}

/// Whether the path of a socket may be one.
fn usable_socket(address: &Address) -> Result<(), Error> {
    address.socket_path().map_or(Ok(()), |path| usable_path(&path))
}

/// Whether a socket may have this path.
pub(in crate::transport) fn usable_path(path: &str) -> Result<(), Error> {
    #[cfg(unix)]
    return crate::dial::socket_path::check(path);
    #[cfg(not(unix))]
    Err(unusable(format!("there are no Unix sockets here, such as `{path}`")))
}

/// The URL, if this transport can reach it.
fn usable(url: &str) -> Result<Uri, Error> {
    let shown = without_user(url);
    let scheme = shown.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_secure = scheme.eq_ignore_ascii_case("https");
    if is_secure && !cfg!(feature = "tls") {
        return Err(unsupported(format!(
            "the HTTP transport cannot reach `{shown}`: `https` needs the feature `tls`; or use \
             `OriginLayer` over a client that speaks it"
        )));
    }
    let is_plain = ["http", HTTP_UNIX].iter().any(|of| scheme.eq_ignore_ascii_case(of));
    if !is_secure && !is_plain {
        return Err(unsupported(format!(
            "the HTTP transport cannot reach `{shown}`: it speaks `http`, `https` and \
             `{HTTP_UNIX}`, not `{scheme}`; or use `OriginLayer` over a client that speaks it"
        )));
    }
    let problem = |problem: &dyn Display| {
        let problem = format!("cannot use the URL `{shown}`: {problem}");
        unusable(problem).coded(Some(Code::PLUGIN_1004))
    };
    let uri: Uri = url.parse().map_err(|error| problem(&error))?;
    if has_user(url) {
        return Err(problem(&"it holds a user name, which is not sent"));
    }
    Ok(uri)
}

fn request(method: Method, uri: Uri, headers: HeaderMap) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

/// What a caller has no say in: how the request is sent, and headers that make the plugin answer in another form,
/// which would count against it.
const NOT_OF_CALLERS: [HeaderName; 16] = [
    HOST,
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    TRANSFER_ENCODING,
    TRAILER,
    TE,
    CONNECTION,
    UPGRADE,
    EXPECT,
    ACCEPT_ENCODING,
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
];

/// Adds the headers of the call, except those that a caller has no say in.
fn add_headers<Req>(headers: &mut HeaderMap, call: &Call<Req>) -> Result<(), Error> {
    for (name, value) in call.headers() {
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            let name = Quoted(name);
            unusable(format!("the call has a header whose name cannot be sent: `{name}`"))
        })?;
        if NOT_OF_CALLERS.contains(&parsed) {
            continue;
        }
        let mut value = header_value(name, value)?;
        value.set_sensitive(true);
        insert(headers, parsed, value)?;
    }
    Ok(())
}

/// Adds what is shown to be let in, in place of what the caller wrote there.
fn add_credentials(headers: &mut HeaderMap, credentials: &Credentials) -> Result<(), Error> {
    for (name, value) in credentials.http_fields()? {
        insert(headers, name.clone(), value.clone())?;
    }
    Ok(())
}

/// There is a bound to how many a map can have.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), Error> {
    let inserted = headers.try_insert(name, value);
    inserted.map(drop).map_err(|_| unusable("the call has too many headers".to_owned()))
}

/// Names the header, never the value, which may be a secret.
fn header_value(name: &str, value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
        unusable(format!("the header `{name}` holds a control character, so it cannot be sent"))
    })
}

fn unsupported(problem: String) -> Error {
    unusable(problem).coded(Some(Code::PLUGIN_1008))
}

fn unusable(problem: String) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(problem)
}
