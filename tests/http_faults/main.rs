//! What may go wrong between an `HttpTransport` and a plugin, over HTTP/1.1 and HTTP/2, with TLS and without.
#![cfg(all(feature = "tls", unix))]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/tls.rs"]
mod certificates;
#[path = "../support/faults.rs"]
mod faults;
#[path = "../support/faulty.rs"]
mod faulty;
mod http1;
mod http2;
mod secure;
#[path = "../socket/mod.rs"]
mod socket;

use std::time::Duration;

use faults::{Expected, Failed, Fault, Peer, Watch, check};
use faulty::Faulty;
use http1::Http1;
use http2::Http2;
use secure::Certificates;
use socket::Connection;
use tokio::time::sleep;
use tower_upstream::{
    Endpoint,
    connect::Connect,
    dial::TlsConfig,
    error::{Code, Kind},
    member::Member,
    telemetry::Stats,
    transport::{HttpConfig, HttpService, HttpTransport, HttpTransportHandle},
};

/// A call that arrived: the stream that it has in HTTP/2, and its number.
struct Asked {
    stream: u32,
    number: u64,
}

/// The plugin's end of a connection.
trait Wire {
    /// The next call; `None` at the end.
    async fn next(&mut self) -> Option<Asked>;

    async fn send(&mut self, bytes: &[u8]);

    /// The head of an answer, with a header that is that long.
    fn head(&self, asked: &Asked, header: usize, body: usize) -> Vec<u8>;

    /// The body of an answer.
    fn body(&self, asked: &Asked, text: &str) -> Vec<u8>;

    /// What says that a fault of HTTP/2 is the case.
    fn says(&self, fault: Fault, asked: &Asked) -> Vec<u8>;

    async fn answer_all(&mut self) {
        while let Some(asked) = self.next().await {
            self.answer(&asked, &right(&asked)).await;
        }
    }

    async fn answer(&mut self, asked: &Asked, text: &str) {
        self.send(&[self.head(asked, 0, text.len()), self.body(asked, text)].concat()).await;
    }
}

fn right(asked: &Asked) -> String {
    format!("{{\"data\":{},\"request_id\":\"another\"}}", asked.number * 2)
}

async fn play(fault: Option<Fault>, mut wire: impl Wire) {
    let Some(fault) = fault else { return wire.answer_all().await };
    let Some(asked) = wire.next().await else { return };
    let text = right(&asked);
    let (head, body) = (wire.head(&asked, 0, text.len()), wire.body(&asked, &text));
    match fault {
        Fault::KilledBeforeAnswer => return,
        Fault::KilledInHead => return wire.send(&head[..head.len() / 2]).await,
        Fault::KilledMidAnswer => {
            return wire.send(&[&head, &body[..body.len() / 2]].concat()).await;
        }
        Fault::HalfFrame => {
            wire.send(&[&head, &body[..body.len() / 2]].concat()).await;
            wire.next().await;
            return;
        }
        Fault::AnswerThenClose => return wire.answer(&asked, &text).await,
        Fault::Garbage => wire.send(b"{\"data\":2,\"request_id\":\"none of HTTP\"}\r\n\r\n").await,
        Fault::GarbageWithin => wire.answer(&asked, "<html>it works</html>").await,
        // The next call, which is not there yet.
        Fault::WrongId => {
            let other = Asked { stream: asked.stream + 2, ..asked };
            wire.answer(&other, &text).await;
        }
        Fault::Late => {
            sleep(Duration::from_secs(12)).await;
            wire.answer(&asked, &text).await;
        }
        Fault::OversizedHead => wire.send(&wire.head(&asked, 100_000, 0)).await,
        Fault::Oversized => wire.answer(&asked, &format!("{text}{}", " ".repeat(100_000))).await,
        Fault::GoesAway | Fault::TurnsAway | Fault::GivesUp => {
            wire.send(&wire.says(fault, &asked)).await;
        }
        other => panic!("{other:?} is none of an exchange"),
    }
    wire.answer_all().await;
}

struct Http<const TLS: bool, const HTTP2: bool>(Faulty);

async fn serve<const TLS: bool, const HTTP2: bool>(fault: Option<Fault>, connection: Connection) {
    if !TLS {
        return play(fault, Http1(connection)).await;
    }
    let Some((connection, fault)) = Certificates::get().accept(fault, connection).await else {
        return;
    };
    if !HTTP2 {
        play(fault, Http1(connection)).await;
    } else if let Some(http2) = Http2::begin(connection).await {
        play(fault, http2).await;
    }
}

impl<const TLS: bool, const HTTP2: bool> Peer for Http<TLS, HTTP2> {
    type Service = HttpService<u64, u64>;
    type Handle = HttpTransportHandle;

    async fn start(fault: Fault) -> Self {
        let serve = |fault, connection| Box::pin(serve::<TLS, HTTP2>(fault, connection)) as _;
        Self(Faulty::tcp(fault, serve).await)
    }

    fn connect(&self) -> (Self::Service, Self::Handle) {
        // A deadline comes before any other limit.
        let request = Duration::from_secs(if self.0.fault == Fault::Late { 30 } else { 5 });
        let tls = TlsConfig::default().with_ca_file(Certificates::get().ca()).with_http2(HTTP2);
        let config = HttpConfig::default()
            .with_max_connections(1)
            .with_request_timeout(request)
            .with_connect_timeout(Duration::from_secs(2))
            .with_max_response_bytes(10_000)
            .with_tls(tls);
        let scheme = if TLS { "https" } else { "http" };
        let address = self.0.address.replace("tcp", scheme);
        let transport = HttpTransport::with_config(config);
        (transport.connect(&Member::new(Endpoint::new(address).unwrap())), transport.handle())
    }

    async fn heal(&mut self) {
        self.0.heal().await;
    }

    fn open(&self) -> usize {
        self.0.open()
    }
}

impl Watch for HttpTransportHandle {
    fn stats(&self) -> Stats {
        self.stats()
    }

    fn connections(&self) -> usize {
        self.connections()
    }
}

fn expected(fault: Fault, tls: bool, http2: bool) -> Option<Expected> {
    let broken = Failed::new(Kind::Connection, Code::PLUGIN_1205);
    let too_late = Failed::new(Kind::Timeout, Code::PLUGIN_1204);
    let nonsense = Failed::new(Kind::Transport, Code::TRANSPORT_1301);
    Some(match fault {
        Fault::Refused => Err(broken.unsent()),
        Fault::ConnectHangs => Err(too_late.unsent()),
        Fault::KilledBeforeAnswer | Fault::KilledInHead | Fault::KilledMidAnswer => Err(broken),
        Fault::HalfFrame => Err(too_late),
        Fault::Garbage | Fault::GarbageWithin | Fault::OversizedHead | Fault::Oversized => {
            Err(nonsense)
        }
        // A connection of HTTP/1.1 has one exchange at a time, and the ids in bodies are not compared.
        Fault::WrongId if !http2 => Ok(()),
        Fault::WrongId => Err(nonsense),
        Fault::Late => Err(too_late.blameless()),
        Fault::AnswerThenClose | Fault::Restarts => Ok(()),
        Fault::WrongName | Fault::Expired | Fault::UnknownAuthority if tls => Err(broken.unsent()),
        Fault::NoClientCertificate if tls => Err(broken.unsent()),
        Fault::GoesAway | Fault::TurnsAway if http2 => Err(broken.unsent()),
        Fault::GivesUp if http2 => Err(broken),
        _ => return None,
    })
}

#[tokio::test(start_paused = true)]
async fn over_http1_each_fault_is_told_and_none_is_left_behind() {
    check::<Http<false, false>>(|fault| expected(fault, false, false)).await;
}

#[tokio::test(start_paused = true)]
async fn over_https_each_fault_is_told_and_none_is_left_behind() {
    check::<Http<true, false>>(|fault| expected(fault, true, false)).await;
}

#[tokio::test(start_paused = true)]
async fn over_http2_each_fault_is_told_and_none_is_left_behind() {
    check::<Http<true, true>>(|fault| expected(fault, true, true)).await;
}
