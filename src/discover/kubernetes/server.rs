//! What may be asked of an API server, and what its errors mean.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION},
};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout_at;

use super::{
    super::answers::{gives_none, refused},
    access::Access,
    acts_as::ActsAs,
    credential::{Identity, Shown},
    object::Status,
    token::Token,
};
use crate::{
    dial::{Dialer, GivenTls, HttpClient, TlsConfig},
    endpoint::Address,
    error::{Error, Kind, cut},
    sync::lock,
    time::{self, Instant},
};

/// How much of an error text is told on.
const MAX_TEXT: usize = 256;
/// How much is read of the answer that tells it.
const MAX_ERROR: usize = 64 << 10;

/// An API server, with what it is asked with.
pub(super) struct Server {
    address: Address,
    tls: TlsConfig,
    given: GivenTls,
    token: Token,
    acts_as: ActsAs,
    /// For the identity that was shown last.
    client: Mutex<(Option<Arc<Identity>>, HttpClient)>,
    timeout: Duration,
    max_body: usize,
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) struct Failure {
    /// That of the answer.
    status: Option<StatusCode>,
    is_expired: bool,
    pub(super) error: Error,
}

impl Failure {
    /// Whether the server does not know the version that was asked for.
    pub(super) fn is_expired(&self) -> bool {
        self.is_expired
    }

    /// Whether there is no such thing.
    pub(super) fn is_missing(&self) -> bool {
        self.status == Some(StatusCode::NOT_FOUND)
    }

    /// Whether it must not be seen.
    pub(super) fn is_denied(&self) -> bool {
        self.status == Some(StatusCode::FORBIDDEN)
    }

    /// Whether there is no server, or it has too much to do: nothing else is answered either, or should be asked for.
    pub(super) fn is_of_all(&self) -> bool {
        match self.status {
            Some(status) => status == StatusCode::TOO_MANY_REQUESTS,
            None => !self.error.is_timeout(),
        }
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
        Self { status: None, is_expired: false, error }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Server {
    pub(super) fn new(access: Access, timeout: Duration, max_body: usize) -> Self {
        let Access { address, tls, given, token, acts_as, .. } = access;
        let client = HttpClient::new(&address, Dialer::with_given_tls(tls.clone(), given.clone()));
        let (token, client) = (Token::new(token), Mutex::new((None, client)));
        Self { address, tls, given, token, acts_as, client, timeout, max_body }
    }

    pub(super) fn url(&self) -> &str {
        self.address.as_str()
    }

    /// The body of a good answer.
    pub(super) async fn get(&self, target: &str) -> Result<Bytes, Failure> {
        let (body, due) = self.answer(target).await?;
        let whole = timeout_at(due, self.whole(body, self.max_body)).await;
        Ok(whole.unwrap_or_else(|_| Err(self.too_late()))?)
    }

    /// The body of a good answer, of which only the head has come.
    pub(super) async fn open(&self, target: &str) -> Result<Incoming, Failure> {
        Ok(self.answer(target).await?.0)
    }

    /// Asks; and once more with something else to show, if it was that. Tells until when there must be a whole
    /// answer.
    async fn answer(&self, target: &str) -> Result<(Incoming, Instant), Failure> {
        let mut is_second = false;
        loop {
            // A program that tells it may take longer than an answer.
            let shown = self.token.shown(self.timeout).await?;
            let due = time::later(time::now(), self.timeout);
            let answer = timeout_at(due, self.ask(target, &shown)).await;
            let answer = answer.map_err(|_| self.too_late())??;
            let status = answer.status();
            if status == StatusCode::OK {
                return Ok((answer.into_body(), due));
            }
            if status == StatusCode::UNAUTHORIZED && !is_second && self.token.refused(&shown).await
            {
                is_second = true;
                continue;
            }
            let failure = timeout_at(due, self.refused(answer)).await;
            return Err(failure.unwrap_or_else(|_| self.too_late().into()));
        }
    }

    async fn ask(&self, target: &str, shown: &Shown) -> Result<Response<Incoming>, Error> {
        let client = self.client(&shown.identity);
        let mut request = client
            .request(Method::GET, target)
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = &shown.header {
            request = request.header(AUTHORIZATION, token);
        }
        let mut request: Request<Bytes> = request.body(Bytes::new()).map_err(Error::caller)?;
        self.acts_as.tell(request.headers_mut());
        let answer = client.open(request).await;
        answer.map_err(|error| gives_none(&self.name(), error))
    }

    /// A connection is of one identity: with another, new ones are made.
    fn client(&self, identity: &Option<Arc<Identity>>) -> HttpClient {
        let mut client = lock(&self.client);
        if client.0 != *identity {
            let mut given = self.given.clone();
            if let Some(Identity { cert, key }) = identity.as_deref() {
                (given.cert, given.key) = (Some(cert.clone()), Some(key.clone()));
            }
            let dialer = Dialer::with_given_tls(self.tls.clone(), given);
            *client = (identity.clone(), HttpClient::new(&self.address, dialer));
        }
        client.1.clone()
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
        let is_expired = status == StatusCode::GONE || said.is_expired();
        let wait = said.wait();
        let text = said.message.map_or(body, Bytes::from);
        let error = refused(&self.name(), &Response::from_parts(head, text));
        let hint = match status {
            StatusCode::FORBIDDEN if error.what().contains(" cannot impersonate ") => "",
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
        let error = match wait.filter(|_| error.retry_after().is_none()) {
            Some(wait) => error.retry_in(time::now(), wait),
            None => error,
        };
        Failure { status: Some(status), is_expired, error }
    }

    /// What a watch tells of itself.
    pub(super) fn ended(&self, said: &Status) -> Error {
        let message = said.message.as_deref().unwrap_or_default();
        let text: String = cut(message, MAX_TEXT).escape_debug().collect();
        let error = self.failed(Kind::Connection, &format!("ends the watch: {text}"));
        match said.wait() {
            Some(wait) => error.retry_in(time::now(), wait),
            None => error,
        }
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
        format!("Kubernetes at `{}`", self.url())
    }
}
