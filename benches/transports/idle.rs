//! Memory of endpoints that were called once, each with the connection that it keeps.

use std::{env, fs, process::Command};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, runtime};

use tower_upstream::transport::{HttpTransport, SocketTransport};

use crate::{
    client::{Client, ID},
    http,
    server::Server,
    socket,
};

const ENDPOINTS: usize = 1_000;

/// Bytes of one endpoint, and of one connection.
pub(crate) struct Idle {
    pub(crate) transport: &'static str,
    pub(crate) ours: i64,
    pub(crate) bare: i64,
}

pub(crate) fn all(server: &Server, is_wanted: impl Fn(&str) -> bool) -> Vec<Idle> {
    let url = format!("http://{}/echo", server.http);
    let transports = [("http", &url), ("unix", &server.unix), ("tcp", &server.tcp)];
    let wanted = transports.into_iter().filter(|(name, _)| is_wanted(name));
    wanted
        .map(|(transport, address)| {
            let [ours, bare] = ["ours", "bare"].map(|of| in_a_process_of_its_own(of, address));
            Idle { transport, ours, bare }
        })
        .collect()
}

fn in_a_process_of_its_own(of: &str, address: &str) -> i64 {
    let program = env::current_exe().expect("a path");
    let output = Command::new(program).args(["--idle", of, address]).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    text.trim().parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

/// Prints how many bytes the process has more for each endpoint, or connection.
pub(crate) fn report(of: &str, address: &str) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let transports = Transports { http: HttpTransport::new(), socket: SocketTransport::new() };
        let one = || one(&transports, of, address);
        // What is made once for all.
        let mut kept = vec![one().await];
        let before = resident();
        for _ in 0..ENDPOINTS {
            kept.push(one().await);
        }
        println!("{}", (resident() - before) / ENDPOINTS as i64);
        drop(kept);
    });
}

struct Transports {
    http: HttpTransport<String, String>,
    socket: SocketTransport<String, String>,
}

async fn one(transports: &Transports, of: &str, address: &str) -> Box<dyn std::any::Any> {
    let is_http = address.starts_with("http");
    match (of, is_http) {
        ("ours", true) => {
            let ours = http::Ours::of(&transports.http, address);
            ours.call().await;
            Box::new(ours)
        }
        ("ours", false) => {
            let ours = socket::Ours::of(&transports.socket, address);
            ours.call().await;
            Box::new(ours)
        }
        (_, true) => Box::new(http_connection(address).await),
        (_, false) => Box::new(socket::connect(address).await),
    }
}

/// A connection of hyper that was used once.
async fn http_connection(url: &str) -> http1::SendRequest<Full<Bytes>> {
    let url: ::http::Uri = url.parse().expect("a URL");
    let place = url.authority().expect("a host").as_str();
    let stream = TcpStream::connect(place).await.expect("it listens");
    let builder = http1::Builder::new().max_buf_size(64 << 10).handshake(TokioIo::new(stream));
    let (mut sender, driver) = builder.await.expect("it listens");
    tokio::spawn(driver);
    let body = Full::from(format!(r#"{{"data":"x","request_id":"{ID}"}}"#));
    let request = ::http::Request::post("/echo").header("host", place).body(body);
    let response = sender.send_request(request.expect("a request")).await.expect("it answers");
    response.into_body().collect().await.expect("all of it");
    sender
}

/// Bytes that the process has in memory.
fn resident() -> i64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let line = text.lines().find(|line| line.starts_with("Rss:")).expect("a size");
    let kilobytes = line.split_whitespace().nth(1).and_then(|size| size.parse::<i64>().ok());
    kilobytes.expect("a number") * 1_024
}
