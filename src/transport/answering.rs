//! The future of a reply, whatever carries the call: an exchange, or the error for which there is none.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::counts::Counts;
use crate::{
    error::Error,
    plugin::{Call, Reply},
};

pin_project! {
    pub(super) struct Answering<E> {
        #[pin]
        state: State<E>,
        call: Call<()>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<E> {
        // Waits for the answer.
        Exchanging { #[pin] exchange: E },
        // The call could not be sent.
        Unsent { error: Option<Error> },
    }
}

impl<E> Answering<E> {
    pub(super) fn new(call: Call<()>, begun: Result<E, Error>) -> Self {
        let state = match begun {
            Ok(exchange) => State::Exchanging { exchange },
            Err(error) => State::Unsent { error: Some(error) },
        };
        Self { state, call }
    }

    pub(super) fn call(&self) -> &Call<()> {
        &self.call
    }

    /// Polls for the reply of the endpoint with `key`, which `poll` reads of the exchange. An error counts,
    /// and names the endpoint.
    pub(super) fn poll_reply<T>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        key: &Arc<str>,
        counts: &Counts,
        poll: impl FnOnce(Pin<&mut E>, &Call<()>, &mut Context<'_>) -> Poll<Result<Reply<T>, Error>>,
    ) -> Poll<Result<Reply<T>, Error>> {
        let this = self.project();
        let result = match this.state.project() {
            StateProj::Exchanging { exchange } => ready!(poll(exchange, this.call, cx)),
            StateProj::Unsent { error } => match error.take() {
                Some(error) => Err(error),
                None => return Poll::Pending,
            },
        };
        Poll::Ready(
            result
                .map(|reply| reply.answering(this.call, key.clone()))
                .inspect_err(|error| counts.note(error))
                .map_err(|error| error.at_endpoint(key)),
        )
    }
}
