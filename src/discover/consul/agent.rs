//! What may be asked of Consul's HTTP API, and what its errors mean.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use super::{
    super::answers::{gives_none, refused},
    config::ConsulConfig,
};
use crate::{
    auth::Secret,
    dial::{HttpClient, Limits},
    error::{Error, Kind},
};

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");

/// An agent, with the token that it is asked with.
pub(super) struct Agent {
    client: HttpClient,
    address: String,
    token: Secret,
    token_file: Option<PathBuf>,
    max_body: usize,
}

impl Agent {
    pub(super) fn new(config: &ConsulConfig) -> Result<Self, Error> {
        Ok(Self {
            client: HttpClient::new(&config.place()?, config.dialer()),
            address: config.address.clone(),
            token: config.token.clone(),
            token_file: config.token_file.clone(),
            max_body: config.max_response_bytes,
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn has_token(&self) -> bool {
        !self.token.is_empty() || self.token_file.is_some()
    }

    pub(super) async fn get(
        &self,
        target: &str,
        timeout: Duration,
    ) -> Result<Response<Bytes>, Error> {
        self.send(Method::GET, target, Bytes::new(), timeout).await
    }

    /// Sends a request. Any answer but a 200 is an error.
    pub(super) async fn send(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response<Bytes>, Error> {
        self.accept(self.ask(method, target, body, timeout).await?)
    }

    /// Sends a request, and returns the answer, whatever its status.
    pub(super) async fn ask(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response<Bytes>, Error> {
        let mut request = self.client.request(method, target);
        if let Some(token) = self.token().await? {
            request = request.header(TOKEN, token);
        }
        let request = request.body(body).map_err(Error::caller)?;
        let answered = self.client.send(request, Limits { timeout, max_body: self.max_body }).await;
        answered.map_err(|error| gives_none(&self.name(), error))
    }

    /// Any answer but a 200 is an error.
    pub(super) fn accept(&self, answer: Response<Bytes>) -> Result<Response<Bytes>, Error> {
        match answer.status() {
            StatusCode::OK => Ok(answer),
            _ => Err(refused(&self.name(), &answer)),
        }
    }

    fn name(&self) -> String {
        format!("Consul at `{}`", self.address)
    }

    /// An error that names the agent.
    pub(super) fn failed(&self, kind: Kind, what: &str) -> Error {
        Error::failed(kind).message(format!("{} {what}", self.name()))
    }

    /// As it is now: a file is read each time.
    pub(super) async fn token(&self) -> Result<Option<HeaderValue>, Error> {
        let token = match self.token_file.clone() {
            None => self.token.clone(),
            Some(path) => {
                let unreadable =
                    format!("Consul's `token_file` ({}) cannot be read", path.display());
                let unreadable = Error::not_sent(Kind::InvalidConfig).message(unreadable);
                let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
                let text = match read {
                    Ok(Ok(text)) => Secret::from(text),
                    Ok(Err(error)) => return Err(unreadable.caused_by(error)),
                    Err(error) => return Err(unreadable.caused_by(error)),
                };
                Secret::from(text.expose().trim())
            }
        };
        if token.is_empty() {
            return Ok(None);
        }
        let mut value = HeaderValue::from_str(token.expose()).map_err(|_| {
            Error::not_sent(Kind::InvalidConfig)
                .message("Consul's token has characters that no token has")
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}
