//! One message and its answer, bounded in time and size, and sent once more if an idle connection was
//! dead.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep_until},
};

use super::{
    connection::Connection,
    pool::{Pool, Taken, Terms},
};
use crate::{
    error::{Error, Kind},
    plugin::wire::{Malformed, NoMessage},
    time::{self, Instant},
};

/// An answer, and the connection on which it came, which the reader gives back if the answer is right.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) message: Bytes,
    /// `None` if the answer came before the question was whole.
    pub(super) connection: Option<Connection>,
}

/// A message to be sent, and what is to be known of it.
pub(super) struct Outgoing {
    pub(super) message: Vec<u8>,
    pub(super) deadline: Option<Instant>,
    pub(super) idempotent: bool,
}

/// Boxed, since it is for those calls alone that find no connection.
type Connecting = Pin<Box<dyn Future<Output = Result<Connection, Error>> + Send>>;

pin_project! {
    pub(super) struct Exchange {
        state: State,
        // Made at the first poll that has to wait, which is inside a runtime; a call need not be.
        #[pin]
        timer: Option<Sleep>,
        until: Instant,
        pool: Arc<Pool>,
        terms: Arc<Terms>,
        permit: Option<OwnedSemaphorePermit>,
        message: Vec<u8>,
        // The deadline of the call comes before the timeout of the config.
        by_deadline: bool,
        idempotent: bool,
        // It was sent on a connection that died, and maybe it arrived.
        was_sent: bool,
        was_resent: bool,
    }
}

enum State {
    Begun,
    /// Waits for a connection.
    Connecting(Connecting),
    /// Waits until the message is written.
    Sending {
        connection: Connection,
        written: usize,
    },
    /// Waits for the answer.
    Receiving(Connection),
    /// Waits for nothing. Whatever connection there was is closed, or with the answer.
    Over,
}

/// A connection failed.
struct Broken {
    error: Error,
    /// Before any answer came, on a connection that had been used before.
    was_idle: bool,
    /// All of the message was written, so the plugin may have got it.
    was_sent: bool,
}

impl Exchange {
    /// Begins to exchange a message, unless the deadline has passed.
    pub(super) fn begin(
        pool: &Arc<Pool>,
        terms: Arc<Terms>,
        permit: Option<OwnedSemaphorePermit>,
        outgoing: Outgoing,
    ) -> Result<Self, Error> {
        let now = time::now();
        let Outgoing { message, deadline, idempotent } = outgoing;
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Error::blameless(Kind::Timeout)
                .message("the deadline of the call passed before it was sent"));
        }
        let by_config = time::later(now, terms.config.request_timeout);
        Ok(Self {
            state: State::Begun,
            timer: None,
            until: deadline.unwrap_or(by_config).min(by_config),
            by_deadline: deadline.is_some_and(|deadline| deadline < by_config),
            pool: pool.clone(),
            terms,
            permit,
            message,
            idempotent,
            was_sent: false,
            was_resent: false,
        })
    }

    pub(super) fn poll_exchange(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arrived, Error>> {
        let result = match self.as_mut().poll_arrival(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                let mut this = self.as_mut().project();
                if this.timer.is_none() {
                    this.timer.set(Some(sleep_until(*this.until)));
                }
                if let Some(timer) = this.timer.as_pin_mut() {
                    ready!(timer.poll(cx));
                }
                Err(self.as_mut().out_of_time())
            }
        };
        let this = self.project();
        *this.state = State::Over;
        // Its connection is idle again, or closed.
        *this.permit = None;
        Poll::Ready(result)
    }

    fn poll_arrival(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Arrived, Error>> {
        let this = self.project();
        let limit = this.terms.config.max_message_bytes;
        loop {
            let broken = match this.state {
                State::Begun => {
                    if Handle::try_current().is_err() {
                        return Poll::Ready(Err(Error::not_sent(Kind::Unavailable)));
                    }
                    let connect = |stale| {
                        State::Connecting(Box::pin(
                            this.pool.clone().connect(this.terms.clone(), stale),
                        ))
                    };
                    *this.state = match this.pool.take(time::now(), &this.terms.config) {
                        Taken::Fresh(connection) => State::Sending { connection, written: 0 },
                        Taken::Stale(connection) => connect(Some(connection)),
                        Taken::Nothing => connect(None),
                    };
                    continue;
                }
                State::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                    Ok(connection) => {
                        *this.state = State::Sending { connection, written: 0 };
                        continue;
                    }
                    Err(error) if *this.was_sent => return Poll::Ready(Err(error.maybe_sent())),
                    Err(error) => return Poll::Ready(Err(error)),
                },
                State::Sending { connection, written } => {
                    match connection.messages.poll_send(cx, this.message, written) {
                        Poll::Ready(Ok(())) => {
                            let State::Sending { connection, .. } =
                                std::mem::replace(this.state, State::Over)
                            else {
                                return Poll::Pending;
                            };
                            *this.state = State::Receiving(connection);
                            continue;
                        }
                        Poll::Ready(Err(error)) => {
                            // It may have said why.
                            match connection.messages.poll_receive(cx, limit) {
                                Poll::Ready(Ok(message)) => {
                                    return Poll::Ready(Ok(Arrived { message, connection: None }));
                                }
                                _ => Broken {
                                    error: broke("the connection broke", Some(error)),
                                    was_idle: connection.was_used,
                                    was_sent: is_whole(*written, this.message),
                                },
                            }
                        }
                        Poll::Pending => {
                            match ready!(connection.messages.poll_receive(cx, limit)) {
                                Ok(message) => {
                                    return Poll::Ready(Ok(Arrived { message, connection: None }));
                                }
                                Err(no) => {
                                    let was_sent = is_whole(*written, this.message);
                                    broken(no, connection, was_sent, this.pool, limit)
                                }
                            }
                        }
                    }
                }
                State::Receiving(connection) => {
                    match ready!(connection.messages.poll_receive(cx, limit)) {
                        Ok(message) => {
                            let State::Receiving(connection) =
                                std::mem::replace(this.state, State::Over)
                            else {
                                return Poll::Pending;
                            };
                            let connection = Some(connection);
                            return Poll::Ready(Ok(Arrived { message, connection }));
                        }
                        Err(no) => broken(no, connection, true, this.pool, limit),
                    }
                }
                State::Over => return Poll::Pending,
            };
            *this.state = State::Over;
            *this.was_sent |= broken.was_sent;
            let error = if *this.was_sent { broken.error } else { broken.error.never_sent() };
            if !broken.was_idle || *this.was_resent {
                return Poll::Ready(Err(error));
            }
            // It says nothing of the plugin, and those that are idle beside it may be as dead.
            this.pool.empty();
            if *this.was_sent && !*this.idempotent {
                return Poll::Ready(Err(error.without_blame()));
            }
            *this.was_resent = true;
            *this.state =
                State::Connecting(Box::pin(this.pool.clone().connect(this.terms.clone(), None)));
        }
    }

    #[cold]
    fn out_of_time(self: Pin<&mut Self>) -> Error {
        let this = self.project();
        let was_sent = *this.was_sent
            || match this.state {
                State::Sending { written, .. } => is_whole(*written, this.message),
                State::Receiving(_) => true,
                _ => false,
            };
        let error = Error::failed(Kind::Timeout);
        let error = if was_sent { error } else { error.never_sent() };
        if *this.by_deadline {
            // The caller's time was over, which says nothing of how long the plugin would have taken.
            return error
                .without_blame()
                .message("socket request failed: no answer before the deadline of the call");
        }
        error.message(format!(
            "socket request failed: no whole answer within {:?} (`request_timeout`)",
            this.terms.config.request_timeout
        ))
    }
}

/// Whether a plugin can have read a message of which so much was written: without its last brace it is
/// none.
fn is_whole(written: usize, message: &[u8]) -> bool {
    written >= message.trim_ascii_end().len()
}

fn broke(what: &str, cause: Option<io::Error>) -> Error {
    let error = Error::failed(Kind::Connection).message(format!("socket request failed: {what}"));
    match cause {
        Some(cause) => error.caused_by(cause),
        None => error,
    }
}

#[cold]
fn broken(
    no: NoMessage,
    connection: &Connection,
    was_sent: bool,
    pool: &Pool,
    limit: usize,
) -> Broken {
    let malformed = |problem: String| {
        let code = pool.place().ok().map(super::place::Place::code);
        Error::failed(Kind::Transport)
            .coded(code)
            .message(format!("failed to decode response: {problem}"))
    };
    // Nothing of an answer came, so the connection may have been dead.
    let is_unanswered = connection.messages.is_between();
    let error = match no {
        NoMessage::Ended => broke("the plugin closed the connection without an answer", None),
        NoMessage::BrokeOff => broke("the answer broke off", None),
        NoMessage::Failed(error) => broke("the connection broke", Some(error)),
        NoMessage::Malformed(Malformed::TooLong) => {
            malformed(format!("it has more than {limit} bytes (`max_message_bytes`)"))
        }
        NoMessage::Malformed(Malformed::NoObject) => malformed("it is no JSON object".to_owned()),
    };
    Broken { error, was_idle: connection.was_used && is_unanswered, was_sent }
}
