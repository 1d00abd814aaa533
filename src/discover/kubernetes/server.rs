//! What may be asked of an API server, and what its errors mean.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION},
};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{
    super::answers::{gives_none, refused},
    access::Access,
    object::Status,
    token::Token,
};
use crate::{
    dial::HttpClient,
    error::{Error, Kind, cut},
    time,
};

/// How much of an error text is told on.
const MAX_TEXT: usize = 256;
/// How much is read of the answer that tells it.
const MAX_ERROR: usize = 64 << 10;
/// The longest that the body of an answer may ask for before it is asked again.
const MAX_RETRY: u64 = 300;

/// An API server, with what it is asked with.
pub(super) struct Server {
    client: HttpClient,
    url: String,
    token: Token,
    timeout: Duration,
    max_body: usize,
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) struct Failure {
    /// That of the answer.
    status: Option<StatusCode>,
    pub(super) error: Error,
}

impl Failure {
    /// Whether what was asked for is not kept any more.
    pub(super) fn is_expired(&self) -> bool {
        self.status == Some(StatusCode::GONE)
    }

    /// Whether there is no such thing.
    pub(super) fn is_missing(&self) -> bool {
        self.status == Some(StatusCode::NOT_FOUND)
    }

    /// Whether it must not be seen.
    pub(super) fn is_denied(&self) -> bool {
        self.status == Some(StatusCode::FORBIDDEN)
    }

    /// Whether the same may be answered later: there is no answer, or one that is not about what was asked for.
    pub(super) fn may_pass(&self) -> bool {
        self.status.is_none_or(|status| may_pass(status.as_u16().into()))
    }
}

/// Whether an error with this code is about the moment, or those that ask, and not about what was asked for.
pub(super) fn may_pass(code: i64) -> bool {
    matches!(code, 401 | 403 | 429 | 502..=504)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { status: None, error }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Server {
    pub(super) fn new(access: Access, timeout: Duration, max_body: usize) -> Self {
        Self {
            client: HttpClient::new(&access.address, access.dialer),
            url: access.address.as_str().to_owned(),
            token: Token::new(access.token),
            timeout,
            max_body,
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The body of a good answer.
    pub(super) async fn get(&self, target: &str) -> Result<Bytes, Failure> {
        let answered = async {
            let body = self.answer(target).await?;
            Ok(self.whole(body, self.max_body).await?)
        };
        timeout(self.timeout, answered).await.unwrap_or_else(|_| Err(self.too_late().into()))
    }

    /// The body of a good answer, of which only the head has come.
    pub(super) async fn open(&self, target: &str) -> Result<Incoming, Failure> {
        let answered = timeout(self.timeout, self.answer(target)).await;
        answered.unwrap_or_else(|_| Err(self.too_late().into()))
    }

    /// Asks; and once more with another token, if it was the token.
    async fn answer(&self, target: &str) -> Result<Incoming, Failure> {
        let mut is_second = false;
        loop {
            let mut request = self
                .client
                .request(Method::GET, target)
                .header(ACCEPT, HeaderValue::from_static("application/json"));
            if let Some(token) = self.token.header().await? {
                request = request.header(AUTHORIZATION, token);
            }
            let request: Request<Bytes> = request.body(Bytes::new()).map_err(Error::caller)?;
            let answer = self.client.open(request).await;
            let answer = answer.map_err(|error| gives_none(&self.name(), error))?;
            match answer.status() {
                StatusCode::OK => return Ok(answer.into_body()),
                StatusCode::UNAUTHORIZED if !is_second && self.token.refused() => is_second = true,
                _ => return Err(self.refused(answer).await),
            }
        }
    }

    async fn whole(&self, body: Incoming, max: usize) -> Result<Bytes, Error> {
        match Limited::new(body, max).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(self.failed(Kind::Transport, &format!("answers with more than {max} bytes")))
            }
            Err(error) => {
                Err(self.failed(Kind::Connection, "breaks off its answer").caused_by(error))
            }
        }
    }

    fn too_late(&self) -> Error {
        self.failed(Kind::Timeout, &format!("gives no whole answer within {:?}", self.timeout))
    }

    /// An answer that is none.
    async fn refused(&self, answer: Response<Incoming>) -> Failure {
        let (head, body) = answer.into_parts();
        let body = self.whole(body, MAX_ERROR).await.unwrap_or_default();
        let status = head.status;
        let said: Status = serde_json::from_slice(&body).unwrap_or_default();
        let text = said.message.map_or(body, Bytes::from);
        let error = refused(&self.name(), &Response::from_parts(head, text));
        let hint = match status {
            StatusCode::FORBIDDEN => {
                "; grant `get`, `list` and `watch` of `endpointslices` in `discovery.k8s.io`"
            }
            StatusCode::NOT_FOUND if said.reason.is_none() => {
                "; is it Kubernetes, of 1.21 or later?"
            }
            _ => "",
        };
        let told = format!("{}{hint}", error.what());
        let error = error.message(told);
        let asked = said.details.and_then(|of| of.retry_after_seconds);
        let error = match asked.filter(|_| error.retry_after().is_none()) {
            Some(wait) => error.retry_in(time::now(), Duration::from_secs(wait.min(MAX_RETRY))),
            None => error,
        };
        Failure { status: Some(status), error }
    }

    /// What a watch tells of itself.
    pub(super) fn ended(&self, said: &Status) -> Error {
        let message = said.message.as_deref().unwrap_or_default();
        let text: String = cut(message, MAX_TEXT).escape_debug().collect();
        self.failed(Kind::Connection, &format!("ends the watch: {text}"))
    }

    pub(super) fn has_too_many(&self) -> Error {
        self.failed(Kind::Transport, "has more than 10,000 slices or 100,000 endpoints for this")
    }

    pub(super) fn max_body(&self) -> usize {
        self.max_body
    }

    /// An error that names the server.
    pub(super) fn failed(&self, kind: Kind, what: &str) -> Error {
        Error::failed(kind).message(format!("{} {what}", self.name()))
    }

    fn name(&self) -> String {
        format!("Kubernetes at `{}`", self.url)
    }
}
