use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use ::http::{Response, request::Parts};
use bytes::Bytes;
use http_body::Body;
use pin_project_lite::pin_project;
use tonic::Status;
use tower_service::Service;

use super::{
    about::About,
    answer::{check, failure, refusal, status, success, told},
    body::GrpcBody,
    question::{Asked, call, health_service, message},
    serves::Codec,
};
use crate::{
    error::BoxError,
    plugin::{Call, HealthStatus, Reply},
    time,
    wire::{Cut, Gather},
};

pin_project! {
    /// Future of a response of a [`GrpcServe`](super::GrpcServe).
    ///
    /// # Cancel safety
    /// Dropping it drops the call.
    #[must_use = "futures do nothing unless polled"]
    pub struct GrpcServeFuture<S, T, U, F, B>
    where
        S: Service<Call<T>>,
    {
        #[pin]
        state: State<S, T, F, B>,
        asked: Asked<T, U>,
        parts: Parts,
        about: Arc<About>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, T, F, B>
    where
        S: Service<Call<T>>,
    {
        // Waits for the message.
        Reading { #[pin] body: Gather<B>, plugin: Option<S>, health: Option<F> },
        // Waits until the plugin takes a call.
        Readying { plugin: S, call: Option<Call<T>>, id: String },
        // Waits for the plugin.
        Calling { #[pin] future: S::Future, id: String },
        // Waits for the health closure.
        Checking { #[pin] health: F, start: time::Instant },
        // Waits for nothing.
        Answered { response: Option<Response<GrpcBody>> },
    }
}

impl<S: Service<Call<T>>, T, U, F, B: Body> GrpcServeFuture<S, T, U, F, B> {
    /// Reads the message, then does what is asked.
    pub(super) fn new(
        asked: Asked<T, U>,
        (parts, body): (Parts, B),
        about: Arc<About>,
        plugin: S,
        health: Option<F>,
    ) -> Self {
        let body = Gather::new(body, about.longest_request());
        let state = State::Reading { body, plugin: Some(plugin), health };
        Self { state, asked, parts, about }
    }
}

impl<S: Service<Call<T>>, T, F, B> State<S, T, F, B> {
    fn answered(response: Response<GrpcBody>) -> Self {
        Self::Answered { response: Some(response) }
    }

    fn calls(plugin: Option<S>, call: Result<Call<T>, Status>) -> Self {
        match (plugin, call) {
            (Some(plugin), Ok(call)) => {
                Self::Readying { id: call.id().into_owned(), call: Some(call), plugin }
            }
            (_, Err(problem)) => Self::answered(status(problem)),
            (None, _) => Self::Answered { response: None },
        }
    }

    fn checks(health: Option<F>) -> Self {
        match health {
            Some(health) => Self::Checking { health, start: time::now() },
            None => Self::Answered { response: None },
        }
    }
}

/// What follows once the message has come, or not.
fn next<S, T, U, F, B>(
    asked: &mut Asked<T, U>,
    parts: &Parts,
    about: &About,
    body: Result<Bytes, Cut<B::Error>>,
    (plugin, health): (Option<S>, Option<F>),
) -> State<S, T, F, B>
where
    S: Service<Call<T>>,
    B: Body,
{
    let message = match asked {
        Asked::Else(code) => return State::answered(refusal(*code)),
        Asked::Nothing(problem) => return State::answered(status(copied(problem))),
        _ => match message(parts, body, about.max_request_bytes) {
            Ok(message) => message,
            Err(problem) => return State::answered(status(problem)),
        },
    };
    match asked {
        Asked::Execute(codec) => State::calls(plugin, call(parts, &message, codec)),
        Asked::Info(Codec { info, .. }) => State::answered(told(&info(&about.info))),
        Asked::Check => match health_service(message) {
            Ok(service) if about.knows(&service) => State::checks(health),
            Ok(_) => State::answered(status(Status::not_found("there is no such service"))),
            Err(problem) => State::answered(status(problem)),
        },
        Asked::Watch(ask) => State::answered(match health_service(message) {
            Ok(service) => about.watches.begin(ask.take().filter(|_| about.knows(&service))),
            Err(problem) => status(problem),
        }),
        _ => State::checks(health),
    }
}

fn copied(status: &Status) -> Status {
    Status::new(status.code(), status.message())
}

impl<S, T, U, F, B> Future for GrpcServeFuture<S, T, U, F, B>
where
    S: Service<Call<T>, Response = Reply<U>>,
    S::Error: Into<BoxError>,
    F: Future<Output = HealthStatus>,
    B: Body,
{
    type Output = Result<Response<GrpcBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut state, about) = (this.state, &**this.about);
        loop {
            let following = match state.as_mut().project() {
                StateProj::Reading { body, plugin, health } => {
                    let body = ready!(body.poll_gather(cx));
                    next(this.asked, this.parts, about, body, (plugin.take(), health.take()))
                }
                StateProj::Readying { plugin, call, id } => match ready!(plugin.poll_ready(cx)) {
                    Ok(()) => match call.take() {
                        // The very value that said ready.
                        Some(call) => {
                            State::Calling { future: plugin.call(call), id: std::mem::take(id) }
                        }
                        None => return Poll::Pending,
                    },
                    Err(error) => State::answered(failure(error.into())),
                },
                StateProj::Calling { future, id } => {
                    let result = ready!(future.poll(cx));
                    State::answered(match (result, &*this.asked) {
                        (Ok(reply), Asked::Execute(codec)) => {
                            success(&reply, id, codec, about.max_response_bytes)
                        }
                        (Ok(_), _) => return Poll::Pending,
                        (Err(error), _) => failure(error.into()),
                    })
                }
                StateProj::Checking { health, start } => {
                    let mut health = ready!(health.poll(cx));
                    if health.last_check.is_none() {
                        let took = time::now().saturating_duration_since(*start);
                        health = health.checked_at(SystemTime::now(), took);
                    }
                    State::answered(told(&match this.asked {
                        Asked::Health(codec) => (codec.health)(&health),
                        _ => check(&health),
                    }))
                }
                StateProj::Answered { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response)),
                        None => Poll::Pending,
                    };
                }
            };
            state.set(following);
        }
    }
}

impl<S: Service<Call<T>>, T, U, F, B> fmt::Debug for GrpcServeFuture<S, T, U, F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcServeFuture").finish_non_exhaustive()
    }
}
