//! A connection to a plugin.

use std::{
    collections::BTreeMap,
    io,
    task::{Context, Waker},
    time::Duration,
};

use tokio::time::timeout;

use super::{config::SocketConfig, place::Place};
use crate::{
    dial::Socket,
    error::{Code, Error, Kind, cut},
    plugin::wire::{
        Messages, NoMessage,
        stream::{AUTH, PING, StreamQuestion, Told, message, text},
    },
    time::{self, Instant},
};

/// Longest time that a connection may take for a sign of life. As in Go.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes of an answer to a message of ours, rather than to a call.
const MAX_ANSWER: usize = 64 << 10;

/// A connection to a plugin, between two exchanges or within one.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) messages: Messages<Socket>,
    pub(super) last_used: Instant,
    /// Whether an exchange went well on it.
    pub(super) was_used: bool,
    /// The time of the pool that it belongs to: of another, it is not kept.
    pub(super) epoch: u64,
}

impl Connection {
    /// Connects to `place`, and proves that this host belongs there.
    pub(super) async fn open(
        place: &Place,
        config: &SocketConfig,
        epoch: u64,
    ) -> Result<Self, Error> {
        let limit = config.connect_timeout;
        let opening = async {
            let mut messages = Messages::new(place.connect(config).await?);
            if !config.token.is_empty() {
                prove(&mut messages, config).await?;
            }
            Ok(Self { messages, last_used: time::now(), was_used: false, epoch })
        };
        timeout(limit, opening).await.unwrap_or_else(|_| {
            Err(Error::not_sent(Kind::Timeout)
                .message(format!("cannot connect within {limit:?} (`connect_timeout`)")))
        })
    }

    /// Whether the plugin has closed it, or said anything unasked, as far as is known.
    pub(super) fn is_dead(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.messages.poll_receive(&mut cx, MAX_ANSWER).is_ready()
    }

    /// Asks for a sign of life.
    pub(super) async fn is_alive(&mut self) -> bool {
        let Ok(ping) = own_message(PING, "health-check", None) else {
            return false;
        };
        let asking = async {
            self.messages.send(&ping).await.ok()?;
            self.messages.receive(MAX_ANSWER).await.ok()
        };
        matches!(timeout(PING_TIMEOUT, asking).await, Ok(Some(_)))
    }
}

async fn prove(messages: &mut Messages<Socket>, config: &SocketConfig) -> Result<(), Error> {
    let failed = |error: Error| error.coded(Some(Code::RPC_2002));
    let broke = |cause: io::Error| {
        failed(
            Error::not_sent(Kind::Connection).message("the connection broke within the handshake"),
        )
        .caused_by(cause)
    };
    let proof = own_message(AUTH, "auth", Some(config.token.expose()))
        .map_err(|error| broke(error.into()))?;
    messages.send(&proof).await.map_err(broke)?;
    let answer = messages.receive(MAX_ANSWER).await.map_err(|no| match no {
        NoMessage::Failed(error) => broke(error),
        _ => broke(io::ErrorKind::UnexpectedEof.into()),
    })?;
    let answer = text(&answer);
    let told = Told::read(&answer).map_err(|error| broke(error.into()))?;
    if told.success {
        return Ok(());
    }
    let error = Error::not_sent(Kind::Connection).message("the plugin does not accept the `token`");
    Err(failed(error).caused_by(cut(&told.error, 256).to_owned()))
}

fn own_message(operation: &str, id: &str, data: Option<&str>) -> serde_json::Result<Vec<u8>> {
    let none = BTreeMap::new();
    message(&StreamQuestion {
        operation,
        request_id: id,
        data: data.as_ref(),
        headers: &none,
        timeout_ms: 0,
        metadata: &none,
    })
}
