//! What may go wrong between a `SocketTransport` and a plugin, over Unix and TCP sockets.
#![cfg(all(feature = "http", unix))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/faults.rs"]
mod faults;
#[path = "support/faulty.rs"]
mod faulty;
mod socket;

use std::{
    any::Any,
    os::unix::net::{UnixListener, UnixStream},
    time::Duration,
};

use faults::{Expected, Failed, Fault, Peer, Watch, check};
use faulty::Faulty;
use socket::{Connection, answer, connect, new_path, new_unix};
use tokio::time::sleep;
use tower_upstream::{
    Endpoint,
    connect::Connect,
    error::{Code, Kind},
    member::Member,
    telemetry::Stats,
    transport::{SocketConfig, SocketService, SocketTransport, SocketTransportHandle},
};

async fn play(fault: Option<Fault>, mut connection: Connection) {
    let Some(fault) = fault else { return connection.answer_all().await };
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
        Fault::GarbageWithin => {
            connection.send(&right.replace("\"data\":", "\"data\":\"x\",\"x\":")).await;
            connection.answer_all().await;
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
        other => panic!("{other:?} is none of a stream"),
    }
}

fn config(fault: Fault) -> SocketConfig {
    // A deadline comes before any other limit.
    let request = Duration::from_secs(if fault == Fault::Late { 30 } else { 5 });
    SocketConfig::default()
        .with_max_connections(1)
        .with_request_timeout(request)
        .with_connect_timeout(Duration::from_secs(2))
        .with_max_message_bytes(10_000)
}

fn service(faulty: &Faulty) -> (SocketService<u64, u64>, SocketTransportHandle) {
    let endpoint = Endpoint::new(&*faulty.address).unwrap().with_key("tax-1");
    let transport = SocketTransport::with_config(config(faulty.fault));
    (transport.connect(&Member::new(endpoint)), transport.handle())
}

impl Watch for SocketTransportHandle {
    fn stats(&self) -> Stats {
        self.stats()
    }

    fn connections(&self) -> usize {
        self.connections()
    }
}

struct Unix(Faulty);

impl Peer for Unix {
    type Service = SocketService<u64, u64>;
    type Handle = SocketTransportHandle;

    async fn start(fault: Fault) -> Self {
        let address = new_unix();
        let play = |fault, connection| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(play(fault, connection))
        };
        Self(match fault {
            Fault::Refused => Faulty::absent(address, fault, play, None),
            Fault::ConnectHangs => {
                let path = address.strip_prefix("unix:").unwrap();
                let listener = UnixListener::bind(path).unwrap();
                let mut waiting = Vec::new();
                // The queue of those who wait to be let in is full when one is told to come later.
                while let Ok(stream) = tokio::net::UnixStream::connect(path).await {
                    waiting.push(stream);
                }
                let barrier: Box<dyn Any> = Box::new((listener, waiting));
                Faulty::absent(address, fault, play, Some(barrier))
            }
            _ => Faulty::new(address, fault, play).await,
        })
    }

    fn connect(&self) -> (Self::Service, Self::Handle) {
        service(&self.0)
    }

    async fn heal(&mut self) {
        self.0.heal().await;
    }

    fn open(&self) -> usize {
        self.0.open()
    }
}

struct Tcp(Faulty);

impl Peer for Tcp {
    type Service = SocketService<u64, u64>;
    type Handle = SocketTransportHandle;

    async fn start(fault: Fault) -> Self {
        Self(Faulty::tcp(fault, |fault, connection| Box::pin(play(fault, connection))).await)
    }

    fn connect(&self) -> (Self::Service, Self::Handle) {
        service(&self.0)
    }

    async fn heal(&mut self) {
        self.0.heal().await;
    }

    fn open(&self) -> usize {
        self.0.open()
    }
}

/// `code` is that of what breaks the protocol.
fn expected(fault: Fault, code: Code) -> Option<Expected> {
    let broken = Failed::new(Kind::Connection, Code::PLUGIN_1205);
    let too_late = Failed::new(Kind::Timeout, Code::PLUGIN_1204);
    Some(match fault {
        Fault::Refused => Err(broken.unsent()),
        Fault::ConnectHangs => Err(too_late.unsent()),
        Fault::KilledBeforeAnswer | Fault::KilledMidAnswer => Err(broken),
        Fault::HalfFrame => Err(too_late),
        Fault::Late => Err(too_late.blameless()),
        Fault::Garbage | Fault::Oversized => Err(Failed::new(Kind::Transport, code)),
        // An answer of the protocol, with data of another type.
        Fault::GarbageWithin => Err(Failed::new(Kind::Transport, Code::RPC_2005).blameless()),
        Fault::WrongId => Err(Failed::new(Kind::Transport, Code::RPC_2003)),
        Fault::AnswerThenClose | Fault::Restarts => Ok(()),
        _ => return None,
    })
}

#[tokio::test(start_paused = true)]
async fn over_a_unix_socket_each_fault_is_told_and_none_is_left_behind() {
    check::<Unix>(|fault| expected(fault, Code::TRANSPORT_1303)).await;
}

#[tokio::test(start_paused = true)]
async fn over_tcp_each_fault_is_told_and_none_is_left_behind() {
    check::<Tcp>(|fault| expected(fault, Code::RPC_2003)).await;
}

/// A socket whose plugin has ended without taking it away.
#[tokio::test(start_paused = true)]
async fn a_socket_that_was_left_behind_is_refused() {
    use tower::ServiceExt;
    let path = new_path();
    drop(UnixListener::bind(&path).unwrap());
    assert!(UnixStream::connect(&path).is_err());
    let service = connect::<u64, u64>(config(Fault::Refused), &format!("unix:{}", path.display()));
    let error = service.oneshot(tower_upstream::Call::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
}
