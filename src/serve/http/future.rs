use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use ::http::{Response, StatusCode, request::Parts};
use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::{
    answer::{failure, json, refusal, success},
    places::Place,
    question::read,
};
use crate::{
    error::BoxError,
    plugin::{Call, HealthStatus, Reply},
    time::{self, Instant},
    wire::Gather,
};

pin_project! {
    /// Future of a response of an [`HttpServe`](super::HttpServe).
    ///
    /// # Cancel safety
    /// Dropping it drops the call.
    #[must_use = "futures do nothing unless polled"]
    pub struct ServeFuture<S, T, F, B>
    where
        S: Service<Call<T>>,
    {
        #[pin]
        state: State<S, T, F, B>,
        // Of a call, until its answer.
        place: Option<Place>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, T, F, B>
    where
        S: Service<Call<T>>,
    {
        // Waits for the whole request.
        Reading { #[pin] body: Gather<B>, parts: Option<Parts>, plugin: Option<S> },
        // Waits for the plugin to be ready.
        Readying { plugin: S, call: Option<Call<T>>, id: String },
        // Waits for its answer.
        Calling { #[pin] future: S::Future, id: String },
        // Waits for the health closure.
        Checking { #[pin] health: F, start: Instant },
        // Waits for nothing.
        Answered { response: Option<Response<Full<Bytes>>> },
    }
}

impl<S: Service<Call<T>>, T, F, B: Body> ServeFuture<S, T, F, B> {
    /// Reads a call, then makes it.
    pub(super) fn read(parts: Parts, body: B, limit: usize, plugin: S, place: Place) -> Self {
        Self {
            state: State::Reading {
                body: Gather::new(body, limit),
                plugin: Some(plugin),
                parts: Some(parts),
            },
            place: Some(place),
        }
    }

    /// Waits for the health.
    pub(super) fn check(health: F) -> Self {
        Self { state: State::Checking { health, start: time::now() }, place: None }
    }

    /// Waits for nothing.
    pub(super) fn answered(response: Response<Full<Bytes>>) -> Self {
        Self { state: State::answered(response), place: None }
    }
}

impl<S: Service<Call<T>>, T, F, B> State<S, T, F, B> {
    fn answered(response: Response<Full<Bytes>>) -> Self {
        Self::Answered { response: Some(response) }
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
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut state = this.state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Reading { body, parts, plugin } => {
                    let result = ready!(body.poll_gather(cx));
                    match (read(result, parts.take()), plugin.take()) {
                        (Ok(call), Some(plugin)) => {
                            State::Readying { id: call.id().into_owned(), call: Some(call), plugin }
                        }
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
                    *this.place = None;
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
