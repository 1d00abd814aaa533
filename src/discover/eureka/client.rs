//! What may be asked of Eureka's HTTP API, and at which of its servers.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE},
};

use super::{
    super::answers::{gives_none, refused},
    config::EurekaConfig,
    server::Server,
};
use crate::{
    auth::Credentials,
    dial::Limits,
    error::{Error, Kind},
    sync::random_below,
    wire::unzip,
};

/// Of all applications.
pub(super) const APPS: &str = "/apps";
/// Of what has changed in them.
pub(super) const DELTA: &str = "/apps/delta";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) struct Client {
    servers: Vec<Server>,
    /// The one that answered last.
    current: AtomicUsize,
    credentials: Vec<(HeaderName, HeaderValue)>,
    limits: Limits,
}

impl Client {
    pub(super) fn new(config: &EurekaConfig) -> Result<Self, Error> {
        let servers = Server::all(config)?;
        let credentials = match config.username.is_empty() {
            true => Vec::new(),
            false => {
                let basic = Credentials::basic(&*config.username, config.password.clone());
                basic.http_fields()?.to_vec()
            }
        };
        let first = if config.shuffle { random_below(servers.len() as u32) as usize } else { 0 };
        let limits =
            Limits { timeout: config.request_timeout, max_body: config.max_response_bytes };
        Ok(Self { servers, current: AtomicUsize::new(first), credentials, limits })
    }

    /// Longest time of one question.
    pub(super) fn longest(&self) -> Duration {
        self.limits.timeout * self.servers.len() as u32
    }

    /// The servers, for logs and errors.
    pub(super) fn name(&self) -> String {
        let first = self.servers.first().map_or("", |server| &*server.url);
        match self.servers.len() {
            0 | 1 => format!("Eureka at `{first}`"),
            count => format!("Eureka at `{first}` and {} more", count - 1),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer<'_>, Error> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Asks the server that answered last, and then each other one until one answers that is well. Returns the
    /// answer, whatever its status.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer<'_>, Error> {
        // Only a hint where to begin: no order is needed.
        let first = self.current.load(Ordering::Relaxed);
        let mut failed = Error::not_sent(Kind::InvalidConfig);
        for index in (0..self.servers.len()).map(|of| (first + of) % self.servers.len()) {
            match self.ask_at(index, method.clone(), path, body.clone()).await {
                Ok(answer) if !answer.is_of_an_unwell_server(&method, path) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(answer) => failed = answer.refused(),
                Err(error) => failed = error,
            }
            tracing::debug!(url = %self.servers[index].url, error = %failed, "Eureka fails");
        }
        Err(failed)
    }

    async fn ask_at(
        &self,
        index: usize,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer<'_>, Error> {
        let server = &self.servers[index];
        let mut request = server.client.request(method, path).header(ACCEPT, JSON);
        request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        for (name, value) in &self.credentials {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(Error::caller)?;
        let name = format!("Eureka at `{}`", server.url);
        let answered = server.client.send(request, self.limits).await;
        let (head, body) = answered.map_err(|error| gives_none(&name, error))?.into_parts();
        let body = unzip(&body, &head.headers, self.limits.max_body).map_err(|problem| {
            Error::failed(Kind::Transport).message(format!("{name}: {problem}"))
        })?;
        let response = Response::from_parts(head, body);
        Ok(Answer { client: self, server: index, name, response })
    }

    /// What a server answers cannot be read: the next question is for the next one.
    fn leave(&self, server: usize) {
        let next = (server + 1) % self.servers.len();
        // As for `ask`. Another may have left it before.
        let _ = self.current.compare_exchange(server, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// An answer of one of the servers.
pub(super) struct Answer<'a> {
    client: &'a Client,
    pub(super) server: usize,
    name: String,
    response: Response<Bytes>,
}

impl Answer<'_> {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Whether another server may do better. One that has just started tells of no application yet. (It tells of
    /// no changes either; but so does one that never does.)
    fn is_of_an_unwell_server(&self, method: &Method, path: &str) -> bool {
        let status = self.status();
        let is_unwell = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        match status {
            _ if method != Method::GET => is_unwell,
            StatusCode::FORBIDDEN => path != DELTA,
            // Otherwise there is no such thing.
            StatusCode::NOT_FOUND => path == APPS,
            _ => !status.is_success(),
        }
    }

    fn refused(&self) -> Error {
        refused(&self.name, &self.response)
    }

    /// Any status but that of a success is an error.
    pub(super) fn accept(self) -> Result<Self, Error> {
        if self.status().is_success() { Ok(self) } else { Err(self.refused()) }
    }

    /// The same, and `None` where there is no such thing.
    pub(super) fn accept_some(self) -> Result<Option<Self>, Error> {
        if self.status() == StatusCode::NOT_FOUND { Ok(None) } else { self.accept().map(Some) }
    }

    /// Reads it.
    pub(super) fn json<T>(
        &self,
        read: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, Error> {
        let (head, body) = (self.response.headers(), self.response.body());
        let failed = |what: &str| {
            self.client.leave(self.server);
            Error::failed(Kind::Transport).message(format!("{} {what}", self.name))
        };
        let kind = head.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let start = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if kind.to_ascii_lowercase().contains("xml") || start == Some(&b'<') {
            return Err(failed(
                "answers in XML, but only JSON is read; it was asked for with `Accept: application/json`",
            ));
        }
        read(body).map_err(|error| failed("has an answer that cannot be read").caused_by(error))
    }
}
