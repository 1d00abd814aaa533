//! Serves a plugin over HTTP.

use std::{
    borrow::Cow,
    convert::Infallible,
    fmt,
    future::{Ready, ready as at_once},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use ::http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
    request::Parts,
};
use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use crate::{
    call::{Call, Reply},
    error::{BoxError, Error, Kind},
    plugin::{HealthStatus, PluginInfo},
    time::{self, Instant},
    wire::{self, Answer, Cut, Gather, to_json},
};

/// Serves `plugin` over HTTP: a service that mounts in axum as `route_service` or
/// `fallback_service`, and in hyper through `TowerToHyperService`.
///
/// | request | answer |
/// |---|---|
/// | `POST`, any path | calls the plugin |
/// | `GET …/health` | a [`HealthStatus`]; 200 if it is usable, else 503 |
/// | `GET …/info` | the [`PluginInfo`] |
/// | another `GET` | 404 |
/// | another method | 405 |
///
/// An error of the plugin is an answer of 200 with its text in `error`, as Go plugins answer it. A
/// refusal of this crate's guards is 429 for a rate limit and 503 otherwise, with `Retry-After`
/// rounded up. A body that is no call is 400; one over
/// [`max_request_bytes`](HttpServe::max_request_bytes) is 413; one that is encoded is 415.
///
/// The call has the id, headers, metadata and timeout that the caller wrote into the body; the
/// timeout becomes its deadline, which is the plugin's to obey. A body that comes slowly is the
/// server's to end: put a timeout around this, or set one there.
///
/// Each call goes to a clone of `plugin`, which is driven to readiness first, so a plugin that is
/// not ready does not hide its health.
///
/// # Example
/// ```
/// use tower::service_fn;
/// use tower_upstream::{Call, PluginInfo, Reply, serve};
///
/// let plugin = service_fn(|call: Call<u64>| async move {
///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
/// });
/// let app: axum::Router = axum::Router::new()
///     .fallback_service(serve::http(plugin).info(PluginInfo::new("double", "1.0.0")));
/// # let _ = app;
/// ```
pub fn http<S, T>(plugin: S) -> HttpServe<S, T> {
    HttpServe {
        plugin,
        health: always_healthy,
        about: Arc::new(About {
            info: PluginInfo::default(),
            max_request_bytes: wire::MAX_BODY,
        }),
        types: PhantomData,
    }
}

fn always_healthy() -> Ready<HealthStatus> {
    at_once(HealthStatus::healthy())
}

/// A plugin, served over HTTP. See [`http()`].
pub struct HttpServe<S, T, H = fn() -> Ready<HealthStatus>> {
    plugin: S,
    health: H,
    about: Arc<About>,
    types: PhantomData<fn(T)>,
}

#[derive(Debug, Clone)]
struct About {
    info: PluginInfo,
    max_request_bytes: usize,
}

impl<S, T, H> HttpServe<S, T, H> {
    /// What `GET …/info` answers. Default: empty.
    #[must_use]
    pub fn info(mut self, info: PluginInfo) -> Self {
        Arc::make_mut(&mut self.about).info = info;
        self
    }

    /// What `GET …/health` asks. Default: always healthy. The time is noted where the closure
    /// notes none.
    ///
    /// ```
    /// # use tower::service_fn;
    /// # use tower_upstream::{Call, Reply};
    /// use tower_upstream::{HealthStatus, serve};
    /// # let plugin = service_fn(|call: Call<u64>| async move {
    /// #     Ok::<_, std::io::Error>(Reply::new(*call.body()))
    /// # });
    /// let served = serve::http(plugin).health(|| async { HealthStatus::unhealthy("no database") });
    /// # let _: axum::Router = axum::Router::new().fallback_service(served);
    /// ```
    #[must_use]
    pub fn health<G, F>(self, health: G) -> HttpServe<S, T, G>
    where
        G: Fn() -> F,
        F: Future<Output = HealthStatus>,
    {
        HttpServe {
            plugin: self.plugin,
            health,
            about: self.about,
            types: PhantomData,
        }
    }

    /// How many bytes a body may have. Default 16 MiB. More is answered by 413, and not read.
    #[must_use]
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.about).max_request_bytes = bytes;
        self
    }
}

impl<S, T, U, H, F, B> Service<Request<B>> for HttpServe<S, T, H>
where
    S: Service<Call<T>, Response = Reply<U>> + Clone,
    S::Error: Into<BoxError>,
    T: DeserializeOwned,
    U: Serialize,
    H: Fn() -> F,
    F: Future<Output = HealthStatus>,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = ServeFuture<S, T, F, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let state = match route(&parts) {
            Route::Execute => State::Reading {
                body: Gather::new(body, self.about.max_request_bytes),
                plugin: Some(self.plugin.clone()),
                parts: Some(parts),
            },
            Route::Health => State::Checking {
                health: (self.health)(),
                start: time::now(),
            },
            Route::Info => State::answered(json(StatusCode::OK, &self.about.info)),
            Route::Nowhere(response) => State::answered(response),
        };
        ServeFuture { state }
    }
}

impl<S: Clone, T, H: Clone> Clone for HttpServe<S, T, H> {
    fn clone(&self) -> Self {
        Self {
            plugin: self.plugin.clone(),
            health: self.health.clone(),
            about: self.about.clone(),
            types: PhantomData,
        }
    }
}

impl<S: fmt::Debug, T, H> fmt::Debug for HttpServe<S, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServe")
            .field("plugin", &self.plugin)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

enum Route {
    Execute,
    Health,
    Info,
    Nowhere(Response<Full<Bytes>>),
}

fn route(parts: &Parts) -> Route {
    let path = parts.uri.path();
    match parts.method {
        Method::POST if is_encoded(parts) => Route::Nowhere(refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body is encoded; send it as it is",
        )),
        Method::POST => Route::Execute,
        Method::GET | Method::HEAD if path.ends_with("/health") => Route::Health,
        Method::GET | Method::HEAD if path.ends_with("/info") => Route::Info,
        Method::GET | Method::HEAD => Route::Nowhere(refusal(
            StatusCode::NOT_FOUND,
            "there is nothing to get here but `health` and `info`; calls are a POST",
        )),
        _ => {
            let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "calls are a POST");
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            Route::Nowhere(response)
        }
    }
}

fn is_encoded(parts: &Parts) -> bool {
    parts
        .headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

pin_project! {
    /// The response of an [`HttpServe`]. Dropping it drops the call.
    pub struct ServeFuture<S, T, F, B>
    where
        S: Service<Call<T>>,
    {
        #[pin]
        state: State<S, T, F, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, T, F, B>
    where
        S: Service<Call<T>>,
    {
        // For the whole request.
        Reading { #[pin] body: Gather<B>, parts: Option<Parts>, plugin: Option<S> },
        // For the plugin to be ready.
        Readying { plugin: S, call: Option<Call<T>>, id: String },
        // For its answer.
        Calling { #[pin] future: S::Future, id: String },
        // For the verdict of the health closure.
        Checking { #[pin] health: F, start: Instant },
        // For nothing.
        Answered { response: Option<Response<Full<Bytes>>> },
    }
}

impl<S: Service<Call<T>>, T, F, B> State<S, T, F, B> {
    fn answered(response: Response<Full<Bytes>>) -> Self {
        Self::Answered {
            response: Some(response),
        }
    }
}

impl<S, T, U, F, B> Future for ServeFuture<S, T, F, B>
where
    S: Service<Call<T>, Response = Reply<U>>,
    S::Error: Into<BoxError>,
    T: DeserializeOwned,
    U: Serialize,
    F: Future<Output = HealthStatus>,
    B: Body,
{
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Reading {
                    body,
                    parts,
                    plugin,
                } => {
                    let result = ready!(body.poll_gather(cx));
                    match (read(result, parts.take()), plugin.take()) {
                        (Ok(call), Some(plugin)) => State::Readying {
                            id: call.id().into_owned(),
                            call: Some(call),
                            plugin,
                        },
                        (Err((status, text)), _) => State::answered(refusal(status, &text)),
                        (Ok(_), None) => return Poll::Pending,
                    }
                }
                StateProj::Readying { plugin, call, id } => match ready!(plugin.poll_ready(cx)) {
                    Ok(()) => match call.take() {
                        Some(call) => State::Calling {
                            // The very value that said ready.
                            future: plugin.call(call),
                            id: std::mem::take(id),
                        },
                        None => return Poll::Pending,
                    },
                    Err(error) => State::answered(failure(error.into(), id)),
                },
                StateProj::Calling { future, id } => {
                    State::answered(match ready!(future.poll(cx)) {
                        Ok(reply) => success(&reply, id),
                        Err(error) => failure(error.into(), id),
                    })
                }
                StateProj::Checking { health, start } => {
                    let mut health = ready!(health.poll(cx));
                    if health.last_check.is_none() {
                        let took = time::now().saturating_duration_since(*start);
                        health = health.checked_at(SystemTime::now(), took);
                    }
                    let status = if health.status.is_usable() {
                        StatusCode::OK
                    } else {
                        StatusCode::SERVICE_UNAVAILABLE
                    };
                    State::answered(json(status, &health))
                }
                StateProj::Answered { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response)),
                        None => Poll::Pending,
                    };
                }
            };
            state.set(next);
        }
    }
}

impl<S: Service<Call<T>>, T, F, B> fmt::Debug for ServeFuture<S, T, F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeFuture").finish_non_exhaustive()
    }
}

/// The call in a request; or what to say to one that holds none.
fn read<T, E>(
    body: Result<Bytes, Cut<E>>,
    parts: Option<Parts>,
) -> Result<Call<T>, (StatusCode, Cow<'static, str>)>
where
    T: DeserializeOwned,
{
    let body = body.map_err(|cut| match cut {
        Cut::TooLong => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is longer than this plugin reads (`max_request_bytes`)".into(),
        ),
        // The caller is gone, or will be told what it did.
        Cut::Broken(_) => (StatusCode::BAD_REQUEST, "the body broke off".into()),
    })?;
    let header_id = parts
        .as_ref()
        .and_then(|parts| parts.headers.get("x-request-id")?.to_str().ok());
    parse(&String::from_utf8_lossy(&body), header_id).map_err(|problem| {
        let problem = format!(
            "this is no call: {}",
            wire::start(&problem.to_string(), 1_024)
        );
        (StatusCode::BAD_REQUEST, problem.into())
    })
}

fn parse<T: DeserializeOwned>(text: &str, header_id: Option<&str>) -> Result<Call<T>, BoxError> {
    let [data, request_id, timeout, headers, metadata] = wire::members(
        text,
        ["data", "request_id", "timeout", "headers", "metadata"],
    )?;
    let data = match data.filter(|data| data.get() != "null") {
        Some(data) => serde_json::from_str(data.get())?,
        None => wire::zero_value().ok_or("it has no `data`")?,
    };
    let mut call = Call::new(data);
    let id: String = wire::value(request_id)?;
    match (id.as_str(), header_id) {
        ("", None | Some("")) => {}
        ("", Some(id)) => call = call.with_id(id),
        (id, _) => call = call.with_id(id),
    }
    let timeout: String = wire::value(timeout)?;
    if !timeout.is_empty() {
        let timeout = wire::parse_go_duration(&timeout)
            .ok_or("its `timeout` is no duration such as `1m30s`")?;
        // Go writes "0s" where none is set.
        if timeout > Duration::ZERO {
            call = call.with_timeout(timeout);
        }
    }
    for (name, value) in wire::value::<wire::Pairs>(headers)?.0 {
        call = call.with_header(name, value);
    }
    for (key, value) in wire::value::<wire::Pairs>(metadata)?.0 {
        call = call.with_metadata(key, value);
    }
    Ok(call)
}

fn success<U: Serialize>(reply: &Reply<U>, id: &str) -> Response<Full<Bytes>> {
    let answer = Answer {
        data: Some(reply.body()),
        error: "",
        request_id: if reply.request_id().is_empty() {
            id
        } else {
            reply.request_id()
        },
        metadata: reply.metadata(),
    };
    match to_json(&answer) {
        Ok(body) => respond(StatusCode::OK, body),
        Err(error) => {
            let text = format!("cannot write the answer as JSON: {error}");
            error_response(StatusCode::OK, &text, id)
        }
    }
}

fn failure(error: BoxError, id: &str) -> Response<Full<Bytes>> {
    let Some(ours) = error.downcast_ref::<Error>() else {
        return error_response(StatusCode::OK, &error.to_string(), id);
    };
    let text = match (ours.kind(), std::error::Error::source(ours)) {
        (Kind::Service, Some(source)) => source.to_string(),
        _ => ours.to_string(),
    };
    if !ours.is_refused() {
        return error_response(StatusCode::OK, &text, id);
    }
    let mut response = error_response(ours.http_status(), &text, id);
    if let Some(wait) = ours.retry_after() {
        response
            .headers_mut()
            .insert(RETRY_AFTER, wire::retry_after_value(wait));
    }
    response
}

fn refusal(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    error_response(status, text, "")
}

fn error_response(status: StatusCode, text: &str, request_id: &str) -> Response<Full<Bytes>> {
    let answer = Answer::<()> {
        data: None,
        // An empty text would be no error at all.
        error: if text.is_empty() {
            "the plugin failed, and does not say why"
        } else {
            text
        },
        request_id,
        metadata: &Default::default(),
    };
    json(status, &answer)
}

fn json<V: Serialize>(status: StatusCode, value: &V) -> Response<Full<Bytes>> {
    match to_json(value) {
        Ok(body) => respond(status, body),
        // Texts and numbers of ours; they can be written.
        Err(_) => respond(StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    }
}

fn respond(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(error: Error) -> (StatusCode, Option<HeaderValue>, String) {
        use http_body_util::BodyExt;
        let response = failure(error.into(), "r-1");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (parts.status, parts.headers.get(RETRY_AFTER).cloned(), text)
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_has_a_status_and_a_failure_has_not() {
        let soon = time::now() + Duration::from_millis(1_500);
        let (status, wait, text) = answer(Error::refused(Kind::RateLimited).retry_at(soon)).await;
        assert_eq!((status.as_u16(), wait), (429, Some(HeaderValue::from(2))));
        assert!(text.contains("rate limit exceeded") && text.contains(r#""request_id":"r-1""#));
        let (status, wait, _) = answer(Error::refused(Kind::CircuitOpen)).await;
        assert_eq!((status.as_u16(), wait), (503, None));
        // One that came from elsewhere is the plugin's failure, not our refusal.
        let (status, wait, _) = answer(Error::failed(Kind::RateLimited).retry_at(soon)).await;
        assert_eq!((status.as_u16(), wait), (200, None));
        let (_, _, text) = answer(Error::failed(Kind::Service).caused_by("no rates")).await;
        assert_eq!(text, r#"{"error":"no rates","request_id":"r-1"}"#);
    }
}
