use std::{
    any::Any,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use hyper_util::client::legacy;
use pin_project_lite::pin_project;

use super::{body::OriginBody, target::Target, upstream::Upstream};
use crate::{
    error::{BoxError, Error},
    http::connection::{Moment, broke_when_reused},
};

pin_project! {
    /// Future of a response of an [`Origin`](super::Origin).
    ///
    /// # Cancel safety
    /// Dropping it drops the call of the client.
    #[must_use = "futures do nothing unless polled"]
    pub struct OriginFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // Waits for the client.
        Called { #[pin] future: F, upstream: Option<Arc<Upstream>>, begun: Moment },
        // The request could not be sent.
        Unsent { error: Option<Error> },
    }
}

impl<F> OriginFuture<F> {
    pub(super) fn called(future: F, upstream: Arc<Upstream>, begun: Moment) -> Self {
        Self { state: State::Called { future, upstream: Some(upstream), begun } }
    }

    pub(super) fn unsent(error: Error) -> Self {
        Self { state: State::Unsent { error: Some(error) } }
    }
}

impl<F, B, E> Future for OriginFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError> + 'static,
    B: Body + Send + Unpin + 'static,
{
    type Output = Result<Response<OriginBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { future, upstream, begun } => {
                Poll::Ready(match ready!(future.poll(cx)) {
                    Ok(response) => Ok(OriginBody::of(response, upstream.take())),
                    Err(error) => {
                        let target = upstream.as_ref().and_then(|of| of.target.as_ref());
                        Err(failed(error, target, *begun))
                    }
                })
            }
            StateProj::Unsent { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for OriginFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginFuture").finish_non_exhaustive()
    }
}

/// Turns the error of the client into ours.
#[cold]
fn failed<E: Into<BoxError> + 'static>(error: E, target: Option<&Target>, begun: Moment) -> Error {
    let any = &error as &dyn Any;
    let boxed = any.downcast_ref::<BoxError>().and_then(|error| error.downcast_ref());
    let client = any.downcast_ref::<legacy::Error>().or(boxed);
    let confirm = |error: Error| match target {
        Some(target) if target.is_over_client() => error.confirm_unsent(),
        _ => error,
    };
    let error = if client.is_none_or(|error| !broke_when_reused(error, begun)) {
        confirm(Error::from_service(error))
    } else if confirm(Error::outline(&error)).is_unsent() {
        confirm(Error::from_service(error)).without_blame()
    } else {
        Error::connection(error)
    };
    named(error, target)
}

pub(super) fn named(error: Error, target: Option<&Target>) -> Error {
    match target {
        Some(target) => error.or_at_endpoint(&target.key),
        None => error,
    }
}
