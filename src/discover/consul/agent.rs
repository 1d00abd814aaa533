//! What may be asked of Consul's HTTP API, and what its errors mean.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{
    client::{Answer, Client},
    config::ConsulConfig,
};
use crate::{
    auth::Secret,
    error::{Error, Kind, cut},
    time,
};

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
/// When to ask again for what this token must not do.
const DENIED: Duration = Duration::from_secs(30);
/// How much of an error text is told on.
const MAX_TEXT: usize = 256;

/// An agent, with the token that it is asked with.
pub(super) struct Agent {
    client: Client,
    address: String,
    token: Secret,
    token_file: Option<PathBuf>,
}

impl Agent {
    pub(super) fn new(config: &ConsulConfig) -> Result<Self, Error> {
        Ok(Self {
            client: Client::new(config)?,
            address: config.address.clone(),
            token: config.token.clone(),
            token_file: config.token_file.clone(),
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn has_token(&self) -> bool {
        !self.token.is_empty() || self.token_file.is_some()
    }

    pub(super) async fn get(&self, target: &str, limit: Duration) -> Result<Answer, Error> {
        self.send(Method::GET, target, Bytes::new(), limit).await
    }

    /// Sends a request. Any answer but a 200 is an error.
    pub(super) async fn send(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer, Error> {
        let answer = self.ask(method, target, body, limit).await?;
        self.accept(answer)
    }

    /// Sends a request, and returns the answer, whatever its status.
    pub(super) async fn ask(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer, Error> {
        let mut headers = HeaderMap::new();
        if let Some(token) = self.token().await? {
            headers.insert(TOKEN, token);
        }
        self.client.send(method, target, headers, body, limit).await
    }

    /// Any answer but a 200 is an error.
    pub(super) fn accept(&self, answer: Answer) -> Result<Answer, Error> {
        let status = answer.status;
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(MAX_TEXT)]);
        let text: String = cut(text.trim(), MAX_TEXT).escape_debug().collect();
        let what = format!("Consul at `{}` answers {status}: {text}", self.address);
        Err(match status {
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                let denied = Error::not_sent(Kind::InvalidConfig);
                denied.message(what).retry_in(time::now(), DENIED)
            }
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                Error::not_sent(Kind::InvalidConfig).message(what)
            }
            _ => Error::failed(Kind::Connection).message(what),
        })
    }

    /// An answer that says something else than was asked for.
    pub(super) fn unreadable(&self, what: &str) -> Error {
        let text = format!("Consul at `{}`: the list of {what} cannot be read", self.address);
        Error::failed(Kind::Transport).message(text)
    }

    /// As it is now: a file is read each time.
    async fn token(&self) -> Result<Option<HeaderValue>, Error> {
        let unusable = |why: &str| {
            let path = self.token_file.as_deref().unwrap_or("".as_ref()).display();
            Error::not_sent(Kind::InvalidConfig)
                .message(format!("Consul's `token_file` ({path}) {why}"))
        };
        let token = match self.token_file.clone() {
            None => self.token.clone(),
            Some(path) => {
                let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path));
                let read =
                    read.await.map_err(|error| unusable("cannot be read").caused_by(error))?;
                let text = read.map_err(|error| unusable("cannot be read").caused_by(error))?;
                let token = Secret::from(text.trim());
                drop(Secret::from(text));
                token
            }
        };
        if token.is_empty() {
            return Ok(None);
        }
        let mut value = HeaderValue::from_str(token.expose())
            .map_err(|_| unusable("has characters that no token has"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}
