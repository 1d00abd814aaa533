//! What may go wrong between a `GrpcTransport` and a plugin, frame by frame.
#![cfg(all(feature = "grpc", feature = "tls", unix))]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/faults.rs"]
mod faults;
#[path = "support/faulty.rs"]
mod faulty;
#[path = "support/http2.rs"]
mod http2;
mod socket;

use std::time::Duration;

use faults::{Expected, Failed, Fault, Peer, Watch, check};
use faulty::Faulty;
use http2::{
    Asked, CANCEL, DATA, GOAWAY, Http2, REFUSED_STREAM, RST_STREAM, data, frame, head, long_head,
    right, trailers,
};
use socket::Connection;
use tokio::time::sleep;
use tower_upstream::{
    Endpoint,
    connect::Connect,
    error::{Code, Kind},
    member::Member,
    telemetry::Stats,
    transport::{GrpcConfig, GrpcService, GrpcTransport, GrpcTransportHandle},
};

async fn play(fault: Option<Fault>, connection: Connection) {
    let Some(mut wire) = Http2::begin(connection).await else { return };
    let Some(fault) = fault else { return wire.answer_all().await };
    let Some(asked) = wire.next().await else { return };
    let text = right(&asked);
    let (head, body) = (head(&asked), data(&asked, &text));
    let reset = |reason: u32| frame(RST_STREAM, 0, asked.stream, &reason.to_be_bytes());
    match fault {
        Fault::KilledBeforeAnswer => return,
        Fault::KilledInHead => return wire.send(&head[..head.len() / 2]).await,
        Fault::KilledMidAnswer => return wire.send(&[head, body].concat()).await,
        Fault::HalfFrame => {
            // All but the status.
            wire.send(&[head, body].concat()).await;
            wire.next().await;
            return;
        }
        Fault::AnswerThenClose => return wire.answer(&asked, &text).await,
        Fault::Garbage => wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2").await,
        Fault::GarbageWithin => {
            let html = frame(DATA, 0, asked.stream, b"<html>it works</html>");
            wire.send(&[head, html, trailers(&asked)].concat()).await;
        }
        // The next call, which is not there yet.
        Fault::WrongId => {
            wire.answer(&Asked { stream: asked.stream + 2, ..asked }, &text).await;
        }
        Fault::Late => {
            sleep(Duration::from_secs(12)).await;
            wire.answer(&asked, &text).await;
        }
        Fault::OversizedHead => wire.send(&long_head(&asked)).await,
        Fault::Oversized => wire.answer(&asked, &"1".repeat(50_000)).await,
        Fault::TurnsAway => wire.send(&reset(REFUSED_STREAM)).await,
        Fault::GivesUp => wire.send(&reset(CANCEL)).await,
        // The last stream that it looks at is 0.
        Fault::GoesAway => wire.send(&frame(GOAWAY, 0, 0, &[0; 8])).await,
        other => panic!("{other:?} is none of an exchange"),
    }
    wire.answer_all().await;
}

struct Grpc(Faulty);

impl Peer for Grpc {
    type Service = GrpcService<u64, u64>;
    type Handle = GrpcTransportHandle;

    async fn start(fault: Fault) -> Self {
        Self(Faulty::tcp(fault, |fault, connection| Box::pin(play(fault, connection))).await)
    }

    fn connect(&self) -> (Self::Service, Self::Handle) {
        // A deadline comes before any other limit.
        let request = Duration::from_secs(if self.0.fault == Fault::Late { 30 } else { 5 });
        let config = GrpcConfig::default()
            .with_request_timeout(request)
            .with_connect_timeout(Duration::from_secs(2))
            .with_max_response_bytes(10_000);
        let transport = GrpcTransport::with_config(config);
        let endpoint = Endpoint::new(self.0.address.replace("tcp", "grpc")).unwrap();
        (transport.connect(&Member::new(endpoint)), transport.handle())
    }

    async fn heal(&mut self) {
        self.0.heal().await;
    }

    fn open(&self) -> usize {
        self.0.open()
    }
}

impl Watch for GrpcTransportHandle {
    fn stats(&self) -> Stats {
        self.stats()
    }

    fn connections(&self) -> usize {
        self.connections()
    }
}

fn expected(fault: Fault) -> Option<Expected> {
    let broken = Failed::new(Kind::Connection, Code::PLUGIN_1205);
    let too_late = Failed::new(Kind::Timeout, Code::PLUGIN_1204);
    let nonsense = Failed::new(Kind::Transport, Code::TRANSPORT_1302);
    Some(match fault {
        Fault::Refused => Err(broken.unsent()),
        Fault::ConnectHangs => Err(too_late.unsent()),
        Fault::KilledBeforeAnswer | Fault::KilledInHead | Fault::KilledMidAnswer => Err(broken),
        Fault::HalfFrame => Err(too_late),
        Fault::Garbage | Fault::GarbageWithin | Fault::OversizedHead | Fault::Oversized => {
            Err(nonsense)
        }
        Fault::WrongId => Err(nonsense),
        Fault::Late => Err(too_late.blameless()),
        Fault::AnswerThenClose | Fault::Restarts => Ok(()),
        Fault::GoesAway | Fault::TurnsAway => Err(broken.unsent()),
        Fault::GivesUp => Err(broken),
        // Of TLS, which is that of the HTTP transport.
        _ => return None,
    })
}

#[tokio::test(start_paused = true)]
async fn over_grpc_each_fault_is_told_and_none_is_left_behind() {
    check::<Grpc>(expected).await;
}
