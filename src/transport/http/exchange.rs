//! One request and its answer, bounded in time and size, and sent once more if an idle connection was
//! dead.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, response::Parts};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use pin_project_lite::pin_project;

use super::{
    config::HttpConfig,
    failure::{Failure, broke_off, too_long},
    outgoing::Sending,
    pool::{Line, Pool},
    timer::Timer,
};
use crate::{
    error::{Error, Kind},
    http::Moment,
    time::{self, Instant},
    wire::{Cut, Gather},
};

/// Most bytes that are read of a response that is an error anyway.
const MAX_ERROR_BODY: usize = 64 << 10;

/// A response: all of it if the status is 2xx, otherwise as much as there was.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) parts: Parts,
    pub(super) body: Bytes,
    pub(super) line: Arc<Line>,
}

/// What an exchange needs to know of its call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) deadline: Option<Instant>,
    pub(super) idempotent: bool,
}

pin_project! {
    pub(super) struct Exchange {
        #[pin]
        state: State,
        // Made at the first poll, which is inside a runtime; a call need not be.
        #[pin]
        timer: Option<Timer>,
        until: Instant,
        pool: Arc<Pool>,
        line: Arc<Line>,
        sending: Sending,
        // Connections that were there before may have died meanwhile.
        begun: Moment,
        // The deadline of the call comes before the timeout of the config.
        by_deadline: bool,
        idempotent: bool,
        resent: Option<Resent>,
    }
}

/// The request was sent once more.
#[derive(Clone, Copy)]
struct Resent {
    /// The endpoint may have got it the first time.
    was_sent: bool,
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
    /// Begins to exchange `request` over `line` of `pool`, unless the deadline has passed.
    pub(super) fn begin(
        pool: &Arc<Pool>,
        line: Arc<Line>,
        request: Request<Bytes>,
        terms: Terms,
    ) -> Result<Self, Error> {
        let now = time::now();
        let Terms { deadline, idempotent } = terms;
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Error::blameless(Kind::Timeout)
                .message("the deadline of the call passed before it was sent"));
        }
        let by_config = time::later(now, line.config.request_timeout);
        let by_deadline = deadline.is_some_and(|deadline| deadline < by_config);
        let (parts, body) = request.into_parts();
        let (sending, begun) = (Sending::new(body), Moment::now());
        let request = Request::from_parts(parts, sending.outgoing());
        Ok(Self {
            state: State::Requested { response: line.client().request(request) },
            timer: None,
            until: deadline.unwrap_or(by_config).min(by_config),
            pool: pool.clone(),
            line,
            sending,
            begun,
            by_deadline,
            idempotent,
            resent: None,
        })
    }

    /// Polls for the response. `head` makes the request anew, without its body, if it must be sent again.
    pub(super) fn poll_exchange(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        head: impl Fn(&HttpConfig) -> Result<Request<()>, Error>,
    ) -> Poll<Result<Received, Error>> {
        let mut this = self.as_mut().project();
        if this.timer.is_none() {
            this.timer.set(Some(Timer::at(*this.until, this.pool.runtime())?));
        }
        let result = loop {
            match self.as_mut().poll_answer(cx) {
                Poll::Ready(Ok(received)) => break Ok(received),
                Poll::Ready(Err(failure)) => {
                    if let Err(error) = self.as_mut().send_again(failure, &head) {
                        break Err(error);
                    }
                }
                Poll::Pending => {
                    let this = self.as_mut().project();
                    if let Some(timer) = this.timer.as_pin_mut() {
                        ready!(timer.poll(cx, *this.until))?;
                    }
                    break self.as_mut().out_of_time();
                }
            }
        };
        self.project().state.set(State::Over);
        Poll::Ready(result)
    }

    fn poll_answer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Received, Failure>> {
        let mut this = self.project();
        let config = &this.line.config;
        loop {
            match this.state.as_mut().project() {
                StateProj::Requested { response } => match ready!(response.poll(cx)) {
                    Err(error) => {
                        let sent = this.sending.is_begun() || was_sent(*this.resent);
                        let failure = Failure::of_client(error, sent, *this.begun, config);
                        return Poll::Ready(Err(failure));
                    }
                    Ok(response) => {
                        let (parts, body) = response.into_parts();
                        let limit = if parts.status.is_success() {
                            config.max_response_bytes
                        } else {
                            config.max_response_bytes.min(MAX_ERROR_BODY)
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
                        Ok(body) => Ok(Received { parts, body, line: this.line.clone() }),
                        // The status alone is an error, and a better one.
                        Err(_) if !parts.status.is_success() => {
                            Ok(Received { parts, body: body.so_far(), line: this.line.clone() })
                        }
                        Err(Cut::TooLong) => Err(too_long(config).into()),
                        Err(Cut::Broken(error)) => Err(broke_off(error).into()),
                    });
                }
                StateProj::Over => return Poll::Pending,
            }
        }
    }

    /// Sends the request again, on a fresh connection, if `failure` allows it. Otherwise returns the error.
    ///
    /// The rule: a connection that broke after it had been used before says nothing of the endpoint, and
    /// those that are idle beside it may be as dead. So they are let go, and the request is sent once
    /// more, where that is safe. If fresh connections fail as well, it is the endpoint after all. A
    /// connection that brought the head of an answer was alive, so what comes after that is the
    /// endpoint's.
    #[cold]
    fn send_again(
        self: Pin<&mut Self>,
        failure: Failure,
        head: impl Fn(&HttpConfig) -> Result<Request<()>, Error>,
    ) -> Result<(), Error> {
        let mut this = self.project();
        let error = failure.error;
        if this.resent.is_some() {
            this.pool.resent_in_vain(time::now());
            return Err(error);
        }
        if !failure.is_of_connection {
            return Err(error);
        }
        let were_idle = this.pool.empty(this.line, time::now());
        let was_sent = !this.sending.give_up();
        if was_sent && !*this.idempotent {
            return Err(if were_idle { error.without_blame() } else { error });
        }
        if !this.pool.may_resend(time::now()) {
            return Err(error);
        }
        *this.line = this.pool.line();
        let request = head(&this.line.config)?;
        *this.sending = this.sending.again();
        *this.resent = Some(Resent { was_sent });
        let response = this.line.client().request(request.map(|()| this.sending.outgoing()));
        this.state.set(State::Requested { response });
        Ok(())
    }

    #[cold]
    fn out_of_time(self: Pin<&mut Self>) -> Result<Received, Error> {
        let mut this = self.project();
        if let StateProj::Reading { parts, body } = this.state.as_mut().project() {
            if let Some(parts) = parts.take_if(|parts| !parts.status.is_success()) {
                return Ok(Received { parts, body: body.so_far(), line: this.line.clone() });
            }
        }
        let error = if this.sending.give_up() && !was_sent(*this.resent) {
            Error::not_sent(Kind::Timeout)
        } else {
            Error::failed(Kind::Timeout)
        };
        if *this.by_deadline {
            // The caller's time was over, which says nothing of how long the endpoint would have taken.
            return Err(error
                .without_blame()
                .message("HTTP request failed: no answer before the deadline of the call"));
        }
        if this.resent.is_some() {
            this.pool.resent_in_vain(time::now());
        }
        Err(error.message(format!(
            "HTTP request failed: no whole answer within {:?} (`request_timeout`)",
            this.line.config.request_timeout
        )))
    }
}

fn was_sent(resent: Option<Resent>) -> bool {
    resent.is_some_and(|resent| resent.was_sent)
}
