//! One poll of one seed.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION},
};

use super::{
    document::Document,
    manifest::Manifest,
    record::{Polled, Tagged},
    seed::Seed,
};
use crate::{
    auth::leads_privately,
    dial::Limits,
    error::{Code, Error, Kind},
    time::{self, Instant},
    wire,
};

/// Most bytes of a document.
pub(super) const MAX_BODY: usize = 1 << 20;
const MAX_REDIRECTS: usize = 3;

/// What a poll knows beforehand, and may take.
pub(super) struct Fetch<'a> {
    pub(super) seed: &'a Seed,
    pub(super) token: Option<&'a HeaderValue>,
    pub(super) wants_manifest: bool,
    pub(super) timeout: Duration,
    pub(super) allow_plaintext: bool,
}

/// Why a poll brought nothing.
pub(super) struct Failed {
    pub(super) error: Error,
    /// Whether the server is there, and the service is not yet.
    pub(super) is_there: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, is_there: false }
    }
}

impl Fetch<'_> {
    pub(super) async fn run(
        &self,
        document: Option<Tagged<Document>>,
        manifest: Option<Tagged<Manifest>>,
    ) -> Result<Polled, Failed> {
        let until = time::later(time::now(), self.timeout);
        let path = self.seed.path("/_farp/discovery");
        let etag = document.as_ref().and_then(|of| of.etag.clone());
        let answer = self.get(path, etag, until).await?;
        let fresh_for = max_age(answer.headers());
        let document = match (answer.status(), document) {
            (StatusCode::NOT_MODIFIED, Some(document)) => document,
            (StatusCode::OK, _) => Tagged::of(&answer, Document::parse)?,
            (status, _) => {
                let text = format!("it answers {status}");
                let mut error = Error::failed(Kind::Transport).message(text);
                if let Some(wait) = wire::retry_after(status, answer.headers()) {
                    error = error.retry_in(time::now(), wait);
                }
                return Err(Failed { error, is_there: is_not_yet(&answer) });
            }
        };
        let manifest = match self.wants_manifest {
            true => self.manifest(&document.value, manifest, until).await?,
            false => None,
        };
        Ok(Polled { document, manifest, fresh_for })
    }

    /// The manifest, or what is known of it if it cannot be had. `None`: it has none that can be read.
    ///
    /// # Errors
    /// Nothing is known, and it cannot be had: whether the instance is to be called is not known yet.
    async fn manifest(
        &self,
        document: &Document,
        known: Option<Tagged<Manifest>>,
        until: Instant,
    ) -> Result<Option<Tagged<Manifest>>, Failed> {
        let known = known.filter(|known| known.value.is_of(document.id()));
        let mut is_there = false;
        let fetched = async {
            let path = match document.manifest() {
                Some(url) => self.seed.path_of(url)?,
                None => self.seed.path("/_farp/manifest"),
            };
            let etag = known.as_ref().and_then(|of| of.etag.clone());
            let answer = self.get(path, etag, until).await?;
            match answer.status() {
                StatusCode::NOT_MODIFIED => Ok(None),
                StatusCode::OK => {
                    let manifest = Tagged::of(&answer, Manifest::parse)?;
                    if !manifest.value.is_of(document.id()) {
                        let text = "its manifest is that of another instance";
                        return Err(Error::failed(Kind::Transport).message(text));
                    }
                    Ok(Some(manifest))
                }
                status => {
                    is_there = is_not_yet(&answer);
                    let text = format!("it answers {status} for its manifest");
                    let kind =
                        if status.is_server_error() { Kind::Unavailable } else { Kind::Transport };
                    Err(Error::failed(kind).message(text))
                }
            }
        };
        match fetched.await {
            Ok(fetched) => Ok(fetched.or(known)),
            // What was had, and is of no use, does not become better.
            Err(error) if known.is_some() || error.kind() == Kind::Transport => {
                tracing::debug!(seed = %self.seed.address, %error, "no new manifest");
                Ok(known)
            }
            Err(error) => Err(Failed { error, is_there }),
        }
    }

    /// Asks for a path, and follows redirects at the same server.
    async fn get(
        &self,
        mut path: String,
        etag: Option<HeaderValue>,
        until: Instant,
    ) -> Result<Response<Bytes>, Error> {
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.seed.client.request(Method::GET, &path);
            request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
            if let Some(token) = self.token {
                if !self.allow_plaintext && !leads_privately(&self.seed.address) {
                    return Err(Error::not_sent(Kind::InvalidConfig)
                        .coded(Some(Code::AUTH_1105))
                        .message(
                            "the token would be sent in plain text: use `https`, or set \
                         `allow_plaintext` if it may be read on the way",
                        ));
                }
                request = request.header(AUTHORIZATION, token.clone());
            }
            if let Some(etag) = &etag {
                request = request.header(IF_NONE_MATCH, etag.clone());
            }
            let request = request.body(Bytes::new()).map_err(Error::from_service)?;
            let timeout = until.saturating_duration_since(time::now());
            let limits = Limits { timeout, max_body: MAX_BODY };
            let answer = self.seed.client.send(request, limits).await?;
            if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let location = answer.headers().get(LOCATION).and_then(|of| of.to_str().ok());
            path = self.seed.path_of(location.unwrap_or_default())?;
        }
        let text = format!("it redirects more than {MAX_REDIRECTS} times");
        Err(Error::failed(Kind::Transport).message(text))
    }
}

impl<T> Tagged<T> {
    fn of(
        answer: &Response<Bytes>,
        parse: impl FnOnce(&[u8]) -> Result<T, Error>,
    ) -> Result<Self, Error> {
        let etag = answer.headers().get(ETAG).cloned();
        Ok(Self { value: parse(answer.body())?, etag })
    }
}

/// Whether it is the answer of a service that is not registered yet.
fn is_not_yet(answer: &Response<Bytes>) -> bool {
    #[derive(serde::Deserialize)]
    struct Told {
        #[serde(rename = "error")]
        _error: String,
    }
    answer.status() == StatusCode::SERVICE_UNAVAILABLE
        && serde_json::from_slice::<Told>(answer.body()).is_ok()
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(',')).map(str::trim);
    let age = directives.find_map(|of| of.strip_prefix("max-age="))?;
    age.parse().ok().map(Duration::from_secs)
}
