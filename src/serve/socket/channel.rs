//! One connection: a message, its answer, the next message.

use std::{
    future::{pending, poll_fn},
    io, mem,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
    time::{error::Elapsed, timeout, timeout_at},
};

use super::{answer, config::BridgeConfig, plugin::Answers};
use crate::{
    auth::Secret,
    dial::Socket,
    plugin::wire::{
        Malformed, Messages, NoMessage,
        stream::{AUTH, Asked},
        text,
    },
    time::{self, Instant},
    wire,
};

/// How much is read of a client that is told that it does wrong, and for how long, so that it reads what
/// it is told before the connection breaks.
const LINGER: (u64, Duration) = (1 << 20, Duration::from_secs(1));

/// Serves a connection until it ends, is silent for too long, does wrong, or the server stops.
pub(super) async fn serve<A: Answers>(
    socket: Socket,
    plugin: Arc<A>,
    config: Arc<BridgeConfig>,
    mut stop: watch::Receiver<bool>,
) {
    let messages = Messages::new(socket);
    let mut channel = Channel { messages, config, stop: &mut stop, is_ending: false };
    // Whatever ends it, the other end sees that.
    let _ = channel.run(&*plugin).await;
}

/// How long a runtime may take to find what has come.
const LOOK: Duration = Duration::from_millis(10);

struct Channel<'a> {
    messages: Messages<Socket>,
    config: Arc<BridgeConfig>,
    stop: &'a mut watch::Receiver<bool>,
    /// Nothing more is read.
    is_ending: bool,
}

impl Channel<'_> {
    async fn run<A: Answers>(&mut self, plugin: &A) -> io::Result<()> {
        let mut until = time::later(time::now(), self.config.accept_timeout);
        if self.config.require_auth {
            if !self.let_in(until).await? {
                return Ok(());
            }
            until = time::later(time::now(), self.config.channel_timeout);
        }
        while let Some(message) = self.next(until, self.config.max_message_bytes).await? {
            let message = text(&message);
            let answer = match Asked::read(&message) {
                Ok(asked) if asked.operation == AUTH => self.check(&asked),
                Ok(asked) => {
                    let answer = pin!(plugin.answer(&asked));
                    match select(answer, pin!(self.gone())).await {
                        Either::Left((answer, _)) => answer,
                        // The caller has gone, so the answer is not waited for.
                        Either::Right(_) => return Ok(()),
                    }
                }
                Err(error) => {
                    let problem = error.to_string();
                    let problem = wire::start(&problem, 1_024);
                    self.complain(&format!("this is no message: {problem}")).await;
                    return Ok(());
                }
            };
            self.send(&answer).await?;
            self.messages.shrink();
            until = time::later(time::now(), self.config.channel_timeout);
        }
        Ok(())
    }

    /// Whether the first message proves the token. A client that fails is not told what was wrong.
    async fn let_in(&mut self, until: Instant) -> io::Result<bool> {
        let Some(message) = self.next(until, self.config.handshake_buffer).await? else {
            return Ok(false);
        };
        let message = text(&message);
        let Ok(asked) = Asked::read(&message) else {
            self.complain(NOT_AUTHORIZED).await;
            return Ok(false);
        };
        let answer = self.check(&asked);
        self.send(&answer).await?;
        Ok(self.is_proven(&asked))
    }

    /// The answer to a token.
    fn check(&self, asked: &Asked<'_>) -> Vec<u8> {
        if self.is_proven(asked) {
            answer::done(asked)
        } else {
            answer::failed(asked, NOT_AUTHORIZED)
        }
    }

    fn is_proven(&self, asked: &Asked<'_>) -> bool {
        let token = asked.data.and_then(|data| serde_json::from_str::<Secret>(data.get()).ok());
        let is_right = self.config.token == token.unwrap_or_default();
        asked.operation == AUTH && (is_right || !self.config.require_auth)
    }

    /// The next message; `None` if there shall be no more.
    async fn next(&mut self, until: Instant, limit: usize) -> io::Result<Option<Bytes>> {
        let Some(received) = self.receive(until, limit).await else {
            return Ok(None);
        };
        match received {
            Ok(Ok(message)) => Ok(Some(message)),
            Ok(Err(NoMessage::Malformed(Malformed::TooLong))) => {
                self.complain(&format!("the message has more than {limit} bytes")).await;
                Ok(None)
            }
            Ok(Err(NoMessage::Malformed(Malformed::NoObject))) => {
                self.complain("this is no message: it is no JSON object").await;
                Ok(None)
            }
            Ok(Err(NoMessage::Failed(error))) => Err(error),
            Ok(Err(NoMessage::Ended | NoMessage::BrokeOff)) | Err(_) => Ok(None),
        }
    }

    /// `None` if the server stops before a message has come.
    async fn receive(
        &mut self,
        until: Instant,
        limit: usize,
    ) -> Option<Result<Result<Bytes, NoMessage>, Elapsed>> {
        if !self.is_ending && !*self.stop.borrow() {
            let receiving = pin!(timeout_at(until, self.messages.receive(limit)));
            let stopping = pin!(self.stop.wait_for(|stop| *stop));
            if let Either::Left((received, _)) = select(receiving, stopping).await {
                return Some(received);
            }
        }
        if !mem::replace(&mut self.is_ending, true) {
            // What has come by now is answered.
            let reading = poll_fn(|cx| self.messages.poll_ahead(cx, usize::MAX));
            let _ = timeout(LOOK, reading).await;
        }
        self.messages.take(limit).transpose().map(Ok)
    }

    /// Completes when the caller has gone. Never does for one that only has nothing more to say, nor for
    /// one that has said much more already.
    async fn gone(&mut self) {
        let limit = self.config.max_message_bytes;
        // What is read while the server stops would be answered as well.
        if self.is_ending || poll_fn(|cx| self.messages.poll_ahead(cx, limit)).await {
            self.messages.socket().closed().await;
        } else {
            pending().await
        }
    }

    async fn send(&mut self, answer: &[u8]) -> io::Result<()> {
        timeout(self.config.channel_timeout, self.messages.send(answer)).await?
    }

    /// Says what is wrong, and that there will be no more.
    async fn complain(&mut self, problem: &str) {
        let complaining = async {
            self.messages.send(&answer::unreadable(problem)).await?;
            let socket = self.messages.socket_mut();
            socket.shutdown().await?;
            tokio::io::copy(&mut socket.take(LINGER.0), &mut tokio::io::sink()).await
        };
        let _ = timeout(LINGER.1, complaining).await;
    }
}

const NOT_AUTHORIZED: &str = "not authorized";
