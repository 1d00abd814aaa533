//! One request and its answer, bounded in time and size, and sent once more if an idle connection was
//! dead.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Request, response::Parts};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::{
    config::HttpConfig,
    connection::{BoxResponse, Lease, Waiting},
    failure::{Failure, broke_off, cannot_connect, farewell, is_farewell, shut_out, too_long},
    outgoing::{Outgoing, Sending},
    pool::Pool,
    timer::Timer,
};
use crate::{
    error::{Error, Kind},
    http::Moment,
    time,
    transport::limit::{Terms, TimeLimit},
    wire::{Cut, Gather},
};

/// Most bytes that are read of a response that is an error anyway.
const MAX_ERROR_BODY: usize = 64 << 10;

/// A response: all of it if the status is 2xx, otherwise as much as there was.
#[derive(Debug)]
pub(in crate::transport) struct Received {
    pub(in crate::transport) parts: Parts,
    pub(in crate::transport) body: Bytes,
    #[cfg_attr(not(feature = "grpc"), allow(dead_code, reason = "read"))]
    pub(in crate::transport) trailers: Option<Box<HeaderMap>>,
    pub(in crate::transport) config: Arc<HttpConfig>,
}

pin_project! {
    pub(in crate::transport) struct Exchange {
        #[pin]
        state: State,
        // Made at the first poll, which is inside a runtime; a call need not be.
        #[pin]
        timer: Option<Timer>,
        limit: TimeLimit,
        pool: Arc<Pool>,
        config: Arc<HttpConfig>,
        sending: Sending,
        // Connections that were there before may have died meanwhile.
        begun: Moment,
        idempotent: bool,
        // It must not be read on the way.
        private: bool,
        resent: Option<Resent>,
    }

    impl PinnedDrop for Exchange {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.state.give_up(this.pool);
        }
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
        // For a connection.
        Waiting { waiting: Waiting, request: Option<Request<Outgoing>> },
        // For the head of the answer.
        Requested { lease: Option<Lease>, response: BoxResponse },
        // For the rest of its body.
        Reading { lease: Option<Lease>, parts: Option<Parts>, #[pin] body: Gather<Incoming> },
        // For nothing. Whatever connection there was is given back, or closed.
        Over,
    }
}

impl State {
    /// No longer waits for what there is none of yet. A connection of HTTP/1.1 closes; one of HTTP/2 is
    /// only let go of if it is silent.
    fn give_up(self: Pin<&mut Self>, pool: &Pool) {
        let lease = match self.project() {
            StateProj::Requested { lease, .. } | StateProj::Reading { lease, .. } => lease,
            StateProj::Waiting { .. } | StateProj::Over => return,
        };
        if let Some(lease) = lease.take_if(|lease| lease.connection().is_silent()) {
            pool.connections().empty(lease.epoch());
        }
    }
}

impl Exchange {
    /// Begins to exchange `request` over a connection of `pool`, unless the deadline has passed.
    pub(in crate::transport) fn begin(
        pool: Arc<Pool>,
        config: Arc<HttpConfig>,
        request: Request<Bytes>,
        terms: Terms,
    ) -> Result<Self, Error> {
        let Terms { deadline, idempotent } = terms;
        let limit = TimeLimit::new(time::now(), deadline, config.request_timeout)?;
        let (parts, body) = request.into_parts();
        let (sending, begun) = (Sending::new(body), Moment::now());
        let request = Request::from_parts(parts, sending.outgoing());
        Ok(Self {
            state: State::Waiting { waiting: pool.wait(), request: Some(request) },
            timer: None,
            limit,
            pool,
            config,
            sending,
            begun,
            idempotent,
            private: false,
            resent: None,
        })
    }

    /// Goes only over a connection that cannot be read on the way, if it is `private`.
    pub(in crate::transport) fn kept_private(mut self, private: bool) -> Self {
        self.private = private;
        self
    }

    /// Whether the time that the caller gave, which is less than that of the settings, is as good as over.
    #[cfg(feature = "grpc")]
    pub(in crate::transport) fn is_over_by_caller(&self) -> bool {
        self.limit.is_over_by_caller(time::now())
    }

    /// Polls for the response. `head` makes the request anew, without its body, if it must be sent again.
    pub(in crate::transport) fn poll_exchange(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        head: impl Fn(&HttpConfig) -> Result<Request<()>, Error>,
    ) -> Poll<Result<Received, Error>> {
        let mut this = self.as_mut().project();
        if this.timer.is_none() {
            this.timer.set(Some(Timer::at(this.limit.until, this.pool.runtime())?));
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
                        ready!(timer.poll(cx, this.limit.until))?;
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
        let config = &*this.config;
        loop {
            match this.state.as_mut().project() {
                StateProj::Waiting { waiting, request } => {
                    let made = ready!(waiting.poll(cx, |dialing| this.pool.dial(dialing)));
                    let mut lease = match made {
                        Ok(lease) => lease,
                        Err(error) => {
                            let sent = was_sent(*this.resent);
                            return Poll::Ready(Err(cannot_connect(error, sent, config).into()));
                        }
                    };
                    if *this.private && !lease.connection().is_private() {
                        this.pool.give_back(lease);
                        return Poll::Ready(Err(this.pool.exposed().into()));
                    }
                    let Some(request) = request.take() else {
                        return Poll::Pending;
                    };
                    let response = lease.connection().send(request);
                    this.state.set(State::Requested { lease: Some(lease), response });
                }
                StateProj::Requested { lease, response } => {
                    match ready!(response.as_mut().poll(cx)) {
                        Err(mut error) => {
                            let unsent = error.take_message();
                            let Some(mut lease) = lease.take() else {
                                return Poll::Pending;
                            };
                            let was_there = lease.connection().is_older_than(*this.begun);
                            if let (true, Some(request)) = (was_there, unsent) {
                                // It had closed, and none of the request reached it: not a word of
                                // the endpoint. Each connection of the past can do that once.
                                let (waiting, request) = (this.pool.wait(), Some(request));
                                this.state.set(State::Waiting { waiting, request });
                                continue;
                            }
                            if let Some(alert) = lease.connection().was_shut_out() {
                                let sent = was_sent(*this.resent);
                                return Poll::Ready(Err(shut_out(alert, sent).into()));
                            }
                            let sent = (this.sending.is_begun(), was_sent(*this.resent));
                            let of = was_there.then(|| lease.epoch());
                            let error = error.into_error();
                            return Poll::Ready(Err(Failure::of_connection(
                                error, sent, of, config,
                            )));
                        }
                        Ok(response) => {
                            let (parts, body) = response.into_parts();
                            let mut lease = lease.take();
                            if let Some(lease) = lease.as_mut().filter(|_| is_farewell(&parts)) {
                                if lease.connection().is_older_than(*this.begun) {
                                    let (error, epoch) = (farewell(config), Some(lease.epoch()));
                                    return Poll::Ready(Err(Failure { error, epoch }));
                                }
                            }
                            let limit = if parts.status.is_success() {
                                config.max_response_bytes
                            } else {
                                config.max_response_bytes.min(MAX_ERROR_BODY)
                            };
                            let body = Gather::new(body, limit);
                            this.state.set(State::Reading { lease, parts: Some(parts), body });
                        }
                    }
                }
                StateProj::Reading { lease, parts, mut body } => {
                    let result = ready!(body.as_mut().poll_gather(cx));
                    let Some(parts) = parts.take() else {
                        return Poll::Pending;
                    };
                    let config = this.config.clone();
                    let trailers = body.as_mut().trailers();
                    return Poll::Ready(match result {
                        Ok(body) => {
                            if let Some(mut lease) = lease.take() {
                                lease.connection().answered(&parts);
                                this.pool.give_back(lease);
                            }
                            Ok(Received { parts, body, trailers, config })
                        }
                        // The status alone is an error, and a better one.
                        Err(_) if !parts.status.is_success() => {
                            Ok(Received { parts, body: body.so_far(), trailers, config })
                        }
                        Err(Cut::TooLong) => Err(too_long(&config).into()),
                        Err(Cut::Broken(error)) => Err(broke_off(error, &config).into()),
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
    /// endpoint's; but for a farewell, which is no answer.
    #[cold]
    fn send_again(
        self: Pin<&mut Self>,
        failure: Failure,
        head: impl Fn(&HttpConfig) -> Result<Request<()>, Error>,
    ) -> Result<(), Error> {
        let mut this = self.project();
        let error = failure.error;
        if this.resent.is_some() {
            this.pool.connections().resent_in_vain(time::now());
            return Err(error);
        }
        let Some(epoch) = failure.epoch else {
            return Err(error);
        };
        let were_idle = this.pool.connections().died(epoch, time::now());
        let was_sent = !this.sending.give_up();
        if was_sent && !*this.idempotent {
            return Err(if were_idle { error.without_blame() } else { error });
        }
        if !this.pool.connections().may_resend(time::now()) {
            return Err(error);
        }
        *this.config = this.pool.config();
        let request = head(this.config)?;
        *this.sending = this.sending.again();
        *this.resent = Some(Resent { was_sent });
        let request = Some(request.map(|()| this.sending.outgoing()));
        this.state.set(State::Waiting { waiting: this.pool.wait(), request });
        Ok(())
    }

    #[cold]
    fn out_of_time(self: Pin<&mut Self>) -> Result<Received, Error> {
        let mut this = self.project();
        this.state.as_mut().give_up(this.pool);
        if let StateProj::Reading { parts, body, .. } = this.state.as_mut().project() {
            if let Some(parts) = parts.take_if(|parts| !parts.status.is_success()) {
                let config = this.config.clone();
                return Ok(Received { parts, body: body.so_far(), trailers: None, config });
            }
        }
        let error = if this.sending.give_up() && !was_sent(*this.resent) {
            Error::not_sent(Kind::Timeout)
        } else {
            Error::failed(Kind::Timeout)
        };
        let is_waiting = matches!(this.state.as_mut().project(), StateProj::Waiting { .. });
        let in_line = is_waiting && !this.pool.connections().is_dialing();
        let (protocol, timeout) = (this.config.speaks.name(), this.config.request_timeout);
        let error = this.limit.passed(error, protocol, timeout, in_line);
        if this.resent.is_some() && error.is_evidence() {
            this.pool.connections().resent_in_vain(time::now());
        }
        Err(error)
    }
}

fn was_sent(resent: Option<Resent>) -> bool {
    resent.is_some_and(|resent| resent.was_sent)
}
