//! One message and its answer, bounded in time and size, and sent once more if an idle connection was
//! dead.

use std::{
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep_until},
};

use super::{
    config::SocketConfig,
    connection::{Lease, Waiting},
    pool::Pool,
};
use crate::{
    error::{Error, Kind},
    plugin::wire::{Malformed, NoMessage},
    time::{self, Instant},
    transport::limit::{Terms, TimeLimit},
};

/// An answer, and the connection on which it came, which the reader gives back if the answer is right.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) message: Bytes,
    /// `None` if the answer came before the question was whole.
    pub(super) lease: Option<Lease>,
}

/// Boxed, since it is for those calls alone that find a connection which was idle for long.
type Asking = Pin<Box<dyn Future<Output = (Lease, bool)> + Send>>;

pin_project! {
    pub(super) struct Exchange {
        state: State,
        // Made at the first poll that has to wait, which is inside a runtime; a call need not be.
        #[pin]
        timer: Option<Sleep>,
        begun: Instant,
        limit: TimeLimit,
        pool: Arc<Pool>,
        config: Arc<SocketConfig>,
        message: Vec<u8>,
        idempotent: bool,
        // It was sent on a connection that died, and maybe it arrived.
        was_sent: bool,
        was_resent: bool,
    }
}

enum State {
    Begun,
    /// Waits for a connection.
    Waiting(Waiting),
    /// Waits for a sign of life of one.
    Asking(Asking),
    /// Waits until the message is written.
    Sending {
        lease: Lease,
        written: usize,
    },
    /// Waits for the answer.
    Receiving(Lease),
    /// Waits for nothing. Whatever connection there was is closed, or with the answer.
    Over,
}

/// Why an attempt has no answer.
struct Broken {
    error: Error,
    /// That of the connection, if it broke before any answer came and had been there before the call.
    epoch: Option<u64>,
    /// All of the message was written, so the plugin may have got it.
    was_sent: bool,
}

impl Exchange {
    /// Begins to exchange a message, unless the deadline has passed.
    pub(super) fn begin(
        pool: Arc<Pool>,
        config: Arc<SocketConfig>,
        message: Vec<u8>,
        Terms { deadline, idempotent }: Terms,
    ) -> Result<Self, Error> {
        let begun = time::now();
        Ok(Self {
            state: State::Begun,
            timer: None,
            begun,
            limit: TimeLimit::new(begun, deadline, config.request_timeout)?,
            pool,
            config,
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
        let result = loop {
            match self.as_mut().poll_arrival(cx) {
                Poll::Ready(Ok(arrived)) => break Ok(arrived),
                Poll::Ready(Err(broken)) => {
                    if let Err(error) = self.as_mut().send_again(broken) {
                        break Err(error);
                    }
                }
                Poll::Pending => {
                    let mut this = self.as_mut().project();
                    if this.timer.is_none() {
                        this.timer.set(Some(sleep_until(this.limit.until)));
                    }
                    if let Some(timer) = this.timer.as_pin_mut() {
                        ready!(timer.poll(cx));
                    }
                    break Err(self.as_mut().out_of_time());
                }
            }
        };
        *self.project().state = State::Over;
        Poll::Ready(result)
    }

    fn poll_arrival(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Arrived, Broken>> {
        let this = self.project();
        let limit = this.config.max_message_bytes;
        let broken = |no, lease: &mut Lease, was_sent| Broken {
            error: no_answer(no, this.pool, limit),
            epoch: died_of_age(lease, *this.begun),
            was_sent,
        };
        loop {
            *this.state = match this.state {
                State::Begun if Handle::try_current().is_err() => {
                    return Poll::Ready(Err(Error::not_sent(Kind::Unavailable).into()));
                }
                State::Begun => State::Waiting(this.pool.wait()),
                State::Waiting(waiting) => {
                    let mut lease = ready!(waiting.poll(cx, |dialing| this.pool.dial(dialing)))?;
                    let idle = this.begun.saturating_duration_since(lease.since());
                    if idle < this.config.ping_after {
                        State::Sending { lease, written: 0 }
                    } else {
                        State::Asking(Box::pin(async move {
                            let is_alive = lease.connection().is_alive().await;
                            (lease, is_alive)
                        }))
                    }
                }
                State::Asking(asking) => match ready!(asking.as_mut().poll(cx)) {
                    (lease, true) => State::Sending { lease, written: 0 },
                    (lease, false) => {
                        // Those beside it were idle for longer.
                        this.pool.connections().died(lease.epoch(), time::now());
                        State::Waiting(this.pool.wait())
                    }
                },
                State::Sending { lease, written } => {
                    let messages = &mut lease.connection().messages;
                    let sent = messages.poll_send(cx, this.message, written);
                    if let Poll::Ready(Ok(())) = sent {
                        let State::Sending { lease, .. } = mem::replace(this.state, State::Over)
                        else {
                            return Poll::Pending;
                        };
                        *this.state = State::Receiving(lease);
                        continue;
                    }
                    // It may say why it reads no more.
                    let said = messages.poll_receive(cx, limit);
                    let was_sent = is_whole(*written, this.message);
                    let no = match (sent, said) {
                        (_, Poll::Ready(Ok(message))) => {
                            return Poll::Ready(Ok(Arrived { message, lease: None }));
                        }
                        (Poll::Ready(Err(error)), _) => NoMessage::Failed(error),
                        (_, said) => match ready!(said) {
                            Err(no) => no,
                            Ok(_) => return Poll::Pending,
                        },
                    };
                    return Poll::Ready(Err(broken(no, lease, was_sent)));
                }
                State::Receiving(lease) => {
                    let received = ready!(lease.connection().messages.poll_receive(cx, limit));
                    let message = received.map_err(|no| broken(no, lease, true))?;
                    let State::Receiving(lease) = mem::replace(this.state, State::Over) else {
                        return Poll::Pending;
                    };
                    return Poll::Ready(Ok(Arrived { message, lease: Some(lease) }));
                }
                State::Over => return Poll::Pending,
            };
        }
    }

    /// Sends the message again, on a fresh connection, if that is safe and may help. Otherwise returns
    /// the error.
    ///
    /// The rule is that of HTTP: a connection that broke after it had been used before says nothing of
    /// the plugin, unless fresh ones fail as well.
    #[cold]
    fn send_again(self: Pin<&mut Self>, broken: Broken) -> Result<(), Error> {
        let this = self.project();
        let (connections, now) = (this.pool.connections(), time::now());
        *this.state = State::Over;
        *this.was_sent |= broken.was_sent;
        let error = broken.error;
        let error = if *this.was_sent { error.maybe_sent() } else { error.never_sent() };
        if *this.was_resent {
            connections.resent_in_vain(now);
            return Err(error);
        }
        let Some(epoch) = broken.epoch else {
            return Err(error);
        };
        let were_of_age = connections.died(epoch, now);
        if *this.was_sent && !*this.idempotent {
            return Err(if were_of_age { error.without_blame() } else { error });
        }
        if !connections.may_resend(now) {
            return Err(error);
        }
        *this.was_resent = true;
        *this.state = State::Waiting(this.pool.wait());
        Ok(())
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
        let in_line = matches!(this.state, State::Waiting(_));
        let in_line = in_line && !this.pool.connections().is_dialing();
        let error = this.limit.passed(error, "socket", this.config.request_timeout, in_line);
        if *this.was_resent && error.is_evidence() {
            this.pool.connections().resent_in_vain(time::now());
        }
        error
    }
}

impl From<Error> for Broken {
    /// Of a connection that could not be made.
    fn from(error: Error) -> Self {
        Self { error, epoch: None, was_sent: false }
    }
}

/// The epoch of a connection that broke and may have been dead before the call.
fn died_of_age(lease: &mut Lease, begun: Instant) -> Option<u64> {
    // Nothing of an answer came.
    let is_unanswered = lease.connection().messages.is_between();
    (is_unanswered && lease.is_older_than(begun)).then(|| lease.epoch())
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
fn no_answer(no: NoMessage, pool: &Pool, limit: usize) -> Error {
    let malformed = |problem: String| {
        Error::failed(Kind::Transport)
            .coded(pool.code())
            .message(format!("failed to decode response: {problem}"))
    };
    match no {
        NoMessage::Ended => broke("the plugin closed the connection without an answer", None),
        NoMessage::BrokeOff => broke("the answer broke off", None),
        NoMessage::Failed(error) => broke("the connection broke", Some(error)),
        NoMessage::Malformed(Malformed::TooLong) => {
            malformed(format!("it has more than {limit} bytes (`max_message_bytes`)"))
        }
        NoMessage::Malformed(Malformed::NoObject) => malformed("it is no JSON object".to_owned()),
    }
}
