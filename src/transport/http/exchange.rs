//! One request and its answer, bounded in time and size.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, response::Parts};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, Client};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::{
    config::HttpConfig,
    dial::{Dial, TookTooLong},
    outgoing::{Outgoing, Sending},
};
use crate::{
    error::{Error, Kind, causes, root},
    time::{self, Instant},
    wire::{Cut, Gather},
};

/// How much is read of an answer that is an error anyway.
const MAX_ERROR_BODY: usize = 64 << 10;

/// What came back: all of it where the status is 2xx, else as much as there was.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) parts: Parts,
    pub(super) body: Bytes,
}

pin_project! {
    pub(super) struct Exchange {
        #[pin]
        state: State,
        // Made at the first poll, which is inside a runtime; a call need not be.
        #[pin]
        timer: Option<Sleep>,
        until: Instant,
        sending: Sending,
        config: Arc<HttpConfig>,
        // The deadline of the call comes before the timeout of the config.
        by_deadline: bool,
    }
}

pin_project! {
    #[project = StateProj]
    enum State {
        // For the head of the answer.
        Requested { #[pin] response: legacy::ResponseFuture },
        // For the rest of its body.
        Reading { parts: Option<Parts>, #[pin] body: Gather<Incoming> },
        // For nothing. Whatever connection there was is given back, or closed.
        Over,
    }
}

impl Exchange {
    /// Begins to exchange `request`, unless the deadline has passed.
    pub(super) fn begin(
        client: &Client<Dial, Outgoing>,
        request: Request<Bytes>,
        deadline: Option<Instant>,
        config: &Arc<HttpConfig>,
    ) -> Result<Self, Error> {
        let now = time::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Error::blameless(Kind::Timeout)
                .message("the deadline of the call passed before it was sent"));
        }
        let by_config = time::later(now, config.request_timeout);
        let by_deadline = deadline.is_some_and(|deadline| deadline < by_config);
        let sending = Sending::default();
        let request = request.map(|bytes| Outgoing::new(bytes, sending.clone()));
        Ok(Self {
            state: State::Requested { response: client.request(request) },
            timer: None,
            until: deadline.unwrap_or(by_config).min(by_config),
            sending,
            config: config.clone(),
            by_deadline,
        })
    }
}

impl Future for Exchange {
    type Output = Result<Received, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.as_mut().project();
        if this.timer.is_none() {
            if tokio::runtime::Handle::try_current().is_err() {
                return Poll::Ready(Err(Error::not_sent(Kind::Unavailable)));
            }
            this.timer.set(Some(tokio::time::sleep_until(*this.until)));
        }
        let result = match self.as_mut().poll_answer(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                if let Some(timer) = self.as_mut().project().timer.as_pin_mut() {
                    ready!(timer.poll(cx));
                }
                self.as_mut().out_of_time()
            }
        };
        self.project().state.set(State::Over);
        Poll::Ready(result)
    }
}

impl Exchange {
    fn poll_answer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Received, Error>> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Requested { response } => match ready!(response.poll(cx)) {
                    Err(error) => {
                        return Poll::Ready(Err(broken(
                            error,
                            this.sending.is_begun(),
                            this.config,
                        )));
                    }
                    Ok(response) => {
                        let (parts, body) = response.into_parts();
                        let limit = if parts.status.is_success() {
                            this.config.max_response_bytes
                        } else {
                            this.config.max_response_bytes.min(MAX_ERROR_BODY)
                        };
                        let body = Gather::new(body, limit);
                        this.state.set(State::Reading { parts: Some(parts), body });
                    }
                },
                StateProj::Reading { parts, mut body } => {
                    let result = ready!(body.as_mut().poll_gather(cx));
                    let Some(parts) = parts.take() else {
                        return Poll::Pending;
                    };
                    return Poll::Ready(match result {
                        Ok(body) => Ok(Received { parts, body }),
                        // The status alone is an error, and a better one.
                        Err(_) if !parts.status.is_success() => {
                            Ok(Received { parts, body: body.so_far() })
                        }
                        Err(Cut::TooLong) => Err(too_long(this.config)),
                        Err(Cut::Broken(error)) => Err(broken_body(error)),
                    });
                }
                StateProj::Over => return Poll::Pending,
            }
        }
    }

    fn out_of_time(self: Pin<&mut Self>) -> Result<Received, Error> {
        let mut this = self.project();
        if let StateProj::Reading { parts, body } = this.state.as_mut().project() {
            if let Some(parts) = parts.take_if(|parts| !parts.status.is_success()) {
                return Ok(Received { parts, body: body.so_far() });
            }
        }
        let error = if this.sending.give_up() {
            Error::not_sent(Kind::Timeout)
        } else {
            Error::failed(Kind::Timeout)
        };
        Err(if *this.by_deadline {
            error.message("HTTP request failed: no answer before the deadline of the call")
        } else {
            error.message(format!(
                "HTTP request failed: no whole answer within {:?} (`request_timeout`)",
                this.config.request_timeout
            ))
        })
    }
}

fn too_long(config: &HttpConfig) -> Error {
    Error::failed(Kind::Transport).message(format!(
        "failed to decode response: its body has more than {} bytes (`max_response_bytes`)",
        config.max_response_bytes
    ))
}

/// What it means that there is no answer.
fn broken(error: legacy::Error, begun: bool, config: &HttpConfig) -> Error {
    let new = |kind| {
        if begun { Error::failed(kind) } else { Error::not_sent(kind) }
    };
    let cause = root(&error);
    let protocol = causes(&error)
        .find_map(|error| error.downcast_ref::<hyper::Error>())
        .filter(|error| error.is_parse());
    let outcome = if error.is_connect() {
        let late = cause.is::<TookTooLong>()
            || cause
                .downcast_ref::<io::Error>()
                .is_some_and(|e| e.kind() == io::ErrorKind::TimedOut);
        if late {
            new(Kind::Timeout).message(format!(
                "HTTP request failed: cannot connect within {:?} (`connect_timeout`)",
                config.connect_timeout
            ))
        } else {
            new(Kind::Connection).message(format!("HTTP request failed: cannot connect: {cause}"))
        }
    } else if protocol.is_some_and(is_too_large) {
        new(Kind::Transport).message(format!(
            "failed to decode response: its head has more than {} bytes (`max_header_bytes`) or \
             more than 100 headers",
            config.max_header_bytes
        ))
    } else if protocol.is_some() {
        new(Kind::Transport).message(format!("failed to decode response: {cause}"))
    } else {
        new(Kind::Connection).message(format!("HTTP request failed: {cause}"))
    };
    outcome.caused_by(error)
}

fn broken_body(error: hyper::Error) -> Error {
    let cause = root(&error);
    let nonsense = error.is_parse()
        || cause.downcast_ref::<io::Error>().is_some_and(|e| {
            matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
        });
    let outcome = if nonsense {
        Error::failed(Kind::Transport).message(format!("failed to decode response: {cause}"))
    } else {
        Error::failed(Kind::Connection)
            .message(format!("HTTP request failed: the answer broke off: {cause}"))
    };
    outcome.caused_by(error)
}

/// hyper tells this only to servers, other than in its text.
fn is_too_large(error: &hyper::Error) -> bool {
    error.to_string() == "message head is too large"
}
