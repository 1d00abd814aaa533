//! What may go wrong between a `GrpcTransport` and a plugin, frame by frame.
#![cfg(all(feature = "grpc", feature = "tls", unix))]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/faults.rs"]
mod faults;
#[path = "support/faulty.rs"]
mod faulty;
mod socket;

use std::time::Duration;

use faults::{Expected, Failed, Fault, Peer, Watch, check};
use faulty::Faulty;
use socket::Connection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};
use tower_upstream::{
    Endpoint,
    connect::Connect,
    error::{Code, Kind},
    member::Member,
    telemetry::Stats,
    transport::{GrpcConfig, GrpcService, GrpcTransport, GrpcTransportHandle},
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

/// A call that arrived: its stream, and its number.
struct Asked {
    stream: u32,
    number: u64,
}

/// The plugin's end of a connection of HTTP/2 (RFC 9113).
struct Http2(Connection);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal header, of less than 127 bytes (RFC 7541 §6.2.2).
fn header(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| [u8::try_from(text.len()).unwrap()];
    [&[0][..], &length(name), name.as_bytes(), &length(value), value.as_bytes()].concat()
}

/// `:status: 200` of the static table.
const OK: u8 = 0x88;

fn head(asked: &Asked) -> Vec<u8> {
    let block = [&[OK][..], &header("content-type", "application/grpc")].concat();
    frame(HEADERS, END_HEADERS, asked.stream, &block)
}

fn data(asked: &Asked, message: &str) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0][..], &length, message.as_bytes()].concat();
    let frames = body.chunks(16_384).map(|part| frame(DATA, 0, asked.stream, part));
    frames.collect::<Vec<_>>().concat()
}

fn trailers(asked: &Asked) -> Vec<u8> {
    let block = header("grpc-status", "0");
    frame(HEADERS, END_HEADERS | END_STREAM, asked.stream, &block)
}

/// A head that is longer than 64 KiB, in several frames.
fn long_head(asked: &Asked) -> Vec<u8> {
    let mut frames = frame(HEADERS, 0, asked.stream, &[OK]);
    for part in 0..1_000 {
        let field = header(&format!("x-{part}"), &"x".repeat(100));
        let flags = if part == 999 { END_HEADERS } else { 0 };
        frames.extend(frame(CONTINUATION, flags, asked.stream, &field));
    }
    frames
}

impl Http2 {
    /// Reads the preface.
    async fn begin(connection: Connection) -> Option<Self> {
        let mut http2 = Self(connection);
        let mut preface = [0; 24];
        http2.0.stream.read_exact(&mut preface).await.ok()?;
        assert!(preface.starts_with(b"PRI * HTTP/2.0"));
        http2.send(&frame(SETTINGS, 0, 0, &[])).await;
        Some(http2)
    }

    async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.stream.write_all(bytes).await;
        let _ = self.0.stream.flush().await;
    }

    /// The next call; `None` at the end.
    async fn next(&mut self) -> Option<Asked> {
        let mut body = Vec::new();
        loop {
            let mut head = [0; 9];
            self.0.stream.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.0.stream.read_exact(&mut payload).await.ok()?;
            match kind {
                DATA => body.extend(&payload),
                SETTINGS if flags & ACK == 0 => self.send(&frame(SETTINGS, ACK, 0, &[])).await,
                PING if flags & ACK == 0 => self.send(&frame(PING, ACK, 0, &payload)).await,
                _ => {}
            }
            if kind == DATA && flags & END_STREAM > 0 {
                let number = std::str::from_utf8(&body[5..]).unwrap().parse().unwrap();
                return Some(Asked { stream: u32::from_be_bytes(stream), number });
            }
        }
    }

    async fn answer(&mut self, asked: &Asked, text: &str) {
        self.send(&[head(asked), data(asked, text), trailers(asked)].concat()).await;
    }

    async fn answer_all(&mut self) {
        while let Some(asked) = self.next().await {
            self.answer(&asked, &right(&asked)).await;
        }
    }
}

fn right(asked: &Asked) -> String {
    (asked.number * 2).to_string()
}

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
