//! What may go wrong between a `SocketTransport` and a plugin, over Unix and TCP sockets.
#![cfg(all(feature = "http", unix))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/faults.rs"]
mod faults;
mod socket;

use std::{
    any::Any,
    os::unix::net::{UnixListener, UnixStream},
    time::Duration,
};

use faults::{Expected, Fault, Peer, check};
use socket::{Connection, Plugin, answer, connect, new_path, new_unix};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tower_upstream::{
    error::{Code, Kind},
    transport::{SocketConfig, SocketService},
};

/// A plugin that has a fault, or the address where there is none.
struct Faulty {
    address: String,
    plugin: Option<Plugin>,
    /// What keeps those out that would connect.
    _barrier: Option<Box<dyn Any>>,
}

async fn play(fault: Fault, mut connection: Connection) {
    if connection.number > 0 {
        return connection.answer_all().await;
    }
    let Some(line) = connection.next().await else { return };
    let right = answer(&line);
    match fault {
        Fault::KilledBeforeAnswer => {}
        Fault::KilledMidAnswer => connection.send(&right[..right.len() / 2]).await,
        Fault::HalfFrame => {
            connection.send(&right[..right.len() / 2]).await;
            connection.next().await;
        }
        Fault::Garbage => {
            connection.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
            connection.next().await;
        }
        Fault::WrongId => {
            connection.send(&right.replace("req_", "req_0")).await;
            connection.answer_all().await;
        }
        Fault::Late => {
            sleep(Duration::from_secs(12)).await;
            connection.send(&right).await;
            connection.answer_all().await;
        }
        Fault::Oversized => {
            connection.send(&format!("{{\"data\":\"{}", "x".repeat(100_000))).await;
            connection.next().await;
        }
        Fault::AnswerThenClose => connection.send(&right).await,
        Fault::Refused | Fault::ConnectHangs | Fault::Restarts => {
            connection.send(&right).await;
            connection.answer_all().await;
        }
    }
}

impl Faulty {
    async fn at(address: String, fault: Fault) -> Self {
        let plugin = Plugin::at(&address, move |connection| play(fault, connection)).await;
        Self { address: plugin.address.clone(), plugin: Some(plugin), _barrier: None }
    }

    fn config() -> SocketConfig {
        SocketConfig::default()
            .with_request_timeout(Duration::from_secs(5))
            .with_connect_timeout(Duration::from_secs(2))
            .with_max_message_bytes(10_000)
    }

    async fn healed(&mut self) {
        self._barrier = None;
        // Where there is a plugin, its fault was one of its first connection.
        if self.plugin.is_none() {
            *self = Self::at(self.address.clone(), Fault::Restarts).await;
        }
    }

    async fn restart(&mut self) {
        if self.plugin.take().is_some() {
            // The tasks of the old one end.
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn open(&self) -> usize {
        self.plugin.as_ref().map_or(0, Plugin::open)
    }
}

struct Unix(Faulty, Fault);

impl Peer for Unix {
    type Service = SocketService<u64, u64>;

    async fn start(fault: Fault) -> Self {
        let address = new_unix();
        let none = |barrier| Faulty { address: address.clone(), plugin: None, _barrier: barrier };
        let peer = match fault {
            Fault::Refused => none(None),
            Fault::ConnectHangs => {
                let path = address.strip_prefix("unix:").unwrap();
                let listener = UnixListener::bind(path).unwrap();
                let mut waiting = Vec::new();
                // The queue of those who wait to be let in is full when one is told to come later.
                while let Ok(stream) = tokio::net::UnixStream::connect(path).await {
                    waiting.push(stream);
                }
                none(Some(Box::new((listener, waiting))))
            }
            _ => Faulty::at(address, fault).await,
        };
        Self(peer, fault)
    }

    fn service(&self) -> Self::Service {
        // A deadline that comes before any other limit.
        let config = match self.1 {
            Fault::Late => Faulty::config().with_request_timeout(Duration::from_secs(30)),
            _ => Faulty::config(),
        };
        connect(config, &self.0.address)
    }

    async fn heal(&mut self) {
        if self.1 == Fault::Restarts {
            self.0.restart().await;
        }
        self.0.healed().await;
    }

    fn open(&self) -> usize {
        self.0.open()
    }
}

struct Tcp(Faulty, Fault);

impl Peer for Tcp {
    type Service = SocketService<u64, u64>;

    async fn start(fault: Fault) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let address = format!("tcp://{free}");
        let none = |barrier| Faulty { address: address.clone(), plugin: None, _barrier: barrier };
        let peer = match fault {
            Fault::Refused => none(None),
            Fault::ConnectHangs => {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                socket.bind(free).unwrap();
                let listener = socket.listen(1).unwrap();
                let mut waiting = Vec::new();
                let patience = Duration::from_millis(100);
                while let Ok(stream) = timeout(patience, TcpStream::connect(free)).await {
                    waiting.push(stream.unwrap());
                }
                none(Some(Box::new((listener, waiting))))
            }
            _ => Faulty::at(address, fault).await,
        };
        Self(peer, fault)
    }

    fn service(&self) -> Self::Service {
        Unix(Faulty { address: self.0.address.clone(), plugin: None, _barrier: None }, self.1)
            .service()
    }

    async fn heal(&mut self) {
        if self.1 == Fault::Restarts {
            self.0.restart().await;
        }
        self.0.healed().await;
    }

    fn open(&self) -> usize {
        self.0.open()
    }
}

/// `code` is that of what breaks the protocol.
fn expected(fault: Fault, code: Code) -> Expected {
    let connection = |unsent| Err((Kind::Connection, Code::PLUGIN_1205, unsent));
    match fault {
        Fault::Refused => connection(true),
        Fault::ConnectHangs => Err((Kind::Timeout, Code::PLUGIN_1204, true)),
        Fault::KilledBeforeAnswer | Fault::KilledMidAnswer => connection(false),
        Fault::HalfFrame | Fault::Late => Err((Kind::Timeout, Code::PLUGIN_1204, false)),
        Fault::Garbage | Fault::Oversized => Err((Kind::Transport, code, false)),
        Fault::WrongId => Err((Kind::Transport, Code::RPC_2003, false)),
        Fault::AnswerThenClose | Fault::Restarts => Ok(()),
    }
}

#[tokio::test(start_paused = true)]
async fn over_a_unix_socket_each_fault_is_told_and_none_is_left_behind() {
    for fault in Fault::ALL {
        check::<Unix>(fault, expected(fault, Code::TRANSPORT_1303)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn over_tcp_each_fault_is_told_and_none_is_left_behind() {
    for fault in Fault::ALL {
        check::<Tcp>(fault, expected(fault, Code::RPC_2003)).await;
    }
}

/// A socket whose plugin has ended without taking it away.
#[tokio::test(start_paused = true)]
async fn a_socket_that_was_left_behind_is_refused() {
    use tower::ServiceExt;
    let path = new_path();
    drop(UnixListener::bind(&path).unwrap());
    assert!(UnixStream::connect(&path).is_err());
    let service = connect::<u64, u64>(Faulty::config(), &format!("unix:{}", path.display()));
    let error = service.oneshot(tower_upstream::Call::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
}
