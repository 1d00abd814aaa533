//! A connection to a plugin.

use std::{io, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{address::SocketAddress, config::SocketConfig};
use crate::{
    dial::Socket,
    error::{Code, Error, Kind, cut},
    plugin::wire::{
        Messages, NoMessage,
        stream::{PING, Told, own_message, proof},
        text,
    },
    pool::{self, Pooled},
};

/// Longest time that a connection may take for a sign of life. As in Go.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes of an answer to a message of ours, rather than to a call.
const MAX_ANSWER: usize = 64 << 10;

pub(super) type Connections = pool::Pool<Box<Connection>, Error>;
pub(super) type Waiting = pool::Waiting<Box<Connection>, Error>;
pub(super) type Dialing = pool::Dialing<Box<Connection>, Error>;
pub(super) type Lease = pool::Lease<Box<Connection>, Error>;
pub(super) type Place = pool::Place<Box<Connection>, Error>;

/// A connection to a plugin, between two exchanges or within one.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) messages: Messages<Socket>,
    // After the socket, so that it drops after it.
    _place: Arc<Place>,
}

impl Connection {
    /// Connects to `address`, and proves that this host belongs there.
    pub(super) async fn open(
        address: &SocketAddress,
        config: &SocketConfig,
        place: Arc<Place>,
    ) -> Result<Box<Self>, Error> {
        let limit = config.connect_timeout;
        let opening = async {
            let mut messages = Messages::new(address.connect(config).await?);
            if !config.token.is_empty() {
                prove(&mut messages, config).await?;
            }
            Ok(Box::new(Self { messages, _place: place }))
        };
        timeout(limit, opening).await.unwrap_or_else(|_| Err(Socket::too_late(limit)))
    }

    /// Asks for a sign of life, which is the answer to that and nothing else.
    pub(super) async fn is_alive(&mut self) -> bool {
        const ID: &str = "health-check";
        let Ok(ping) = own_message(PING, ID, None) else {
            return false;
        };
        let asking = async {
            self.messages.send(&ping).await.ok()?;
            let answer = self.messages.receive(MAX_ANSWER).await.ok()?;
            let id = Told::read(&text(&answer)).ok()?.request_id;
            // Go looks at no more than that it is JSON.
            (id.is_empty() || id == ID).then_some(())
        };
        matches!(timeout(PING_TIMEOUT, asking).await, Ok(Some(()))) && self.is_quiet()
    }

    /// Whether the plugin has neither closed it nor said anything unasked, as far as is known.
    fn is_quiet(&self) -> bool {
        self.messages.is_between() && self.messages.socket().is_quiet()
    }
}

/// Boxed, since each call moves it from hand to hand.
impl Pooled for Box<Connection> {
    fn is_open(&self) -> bool {
        self.is_quiet()
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
    let proof = proof(config.token.expose()).map_err(|error| broke(error.into()))?;
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
