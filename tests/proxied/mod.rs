//! Processes: a proxy, and upstreams that can be killed.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Response, StatusCode},
    response::IntoResponse,
    routing::{any, get},
};
use futures::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpListener, sync::Notify};

pub(crate) type Streamed = BoxBody<Bytes, std::io::Error>;
pub(crate) type Client = legacy::Client<legacy::connect::HttpConnector, Streamed>;

pub(crate) fn client() -> Client {
    legacy::Client::builder(TokioExecutor::new()).build_http()
}

/// Speaks HTTP/2 without asking first.
pub(crate) fn h2_client() -> Client {
    legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

/// A body of which the length is not known.
pub(crate) fn streamed(
    chunks: impl IntoIterator<Item = Bytes, IntoIter: Send + Sync + 'static>,
) -> Streamed {
    let chunks = chunks.into_iter().map(|chunk| Ok(Frame::data(chunk)));
    BodyExt::boxed(StreamBody::new(stream::iter(chunks)))
}

/// A process that ends with its value.
struct Process(Child);

impl Process {
    /// Starts it, and finds the address in its first line that has one.
    fn start(command: &mut Command) -> (Self, SocketAddr) {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the process starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening =
            |line: String| line.strip_prefix("listening on http://")?.parse::<SocketAddr>().ok();
        let address = lines.find_map(|line| listening(line.unwrap())).expect("it listens");
        (Self(child), address)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example.
pub(crate) struct Proxy {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Proxy {
    pub(crate) fn command() -> Command {
        let test = std::env::current_exe().unwrap();
        let built = test.ancestors().nth(2).unwrap().join("examples/reverse_proxy");
        assert!(built.exists(), "build it with `cargo build --examples --all-features`");
        Command::new(built)
    }

    pub(crate) fn start(upstreams: &[Upstream]) -> Self {
        let mut command = Self::command();
        command.args(["--listen", "127.0.0.1:0"]);
        for upstream in upstreams {
            command.args(["--upstream", &format!("http://{}", upstream.address)]);
        }
        let (process, address) = Process::start(&mut command);
        Self { process, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What of its memory is in use, in bytes.
    pub(crate) fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
    }
}

/// This test program, as a server.
pub(crate) struct Upstream {
    process: Option<Process>,
    pub(crate) address: SocketAddr,
}

const LISTEN: &str = "TOWER_UPSTREAM_TEST_LISTEN";

impl Upstream {
    pub(crate) fn start() -> Self {
        let (process, address) = Self::at("127.0.0.1:0");
        Self { process: Some(process), address }
    }

    fn at(address: &str) -> (Process, SocketAddr) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "upstream", "--nocapture", "--test-threads=1"]);
        Process::start(command.env(LISTEN, address))
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) fn restart(&mut self) {
        self.process = Some(Self::at(&self.address.to_string()).0);
    }
}

/// Serves until it is killed, if this process was started as an upstream.
pub(crate) fn serve_if_asked() {
    let Ok(address) = std::env::var(LISTEN) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        // On a line of its own: the test runner has begun one.
        println!("\nlistening on http://{address}");
        axum::serve(listener, app(address)).await.unwrap();
    });
}

#[derive(Clone, Default)]
struct Site {
    event: Arc<Notify>,
    upgraded: Arc<AtomicUsize>,
}

fn app(address: SocketAddr) -> Router {
    let chunk = Bytes::from(vec![b'x'; 1 << 20]);
    let download = move || {
        let chunks = stream::iter(std::iter::repeat_n(Ok::<_, Infallible>(chunk), 50));
        std::future::ready(Body::from_stream(chunks))
    };
    Router::new()
        .route("/name", get(async move || address.to_string()))
        .route("/upload", any(count))
        .route("/download", get(download))
        .route("/never", get(async || std::future::pending::<()>().await))
        .route("/echo", any(async |request: Request| request.into_body()))
        .route("/headers", get(headers))
        .route("/events", get(events))
        .route("/event", get(async |State(site): State<Site>| site.event.notify_one()))
        .route("/upgrade", get(upgrade))
        .route("/upgraded", get(async |State(site): State<Site>| upgraded(&site)))
        .with_state(Site::default())
}

fn upgraded(site: &Site) -> String {
    site.upgraded.load(SeqCst).to_string()
}

async fn count(request: Request) -> Result<String, StatusCode> {
    let mut chunks = request.into_body().into_data_stream();
    let mut length = 0;
    while let Some(chunk) = chunks.next().await {
        length += chunk.map_err(|_| StatusCode::BAD_REQUEST)?.len();
    }
    Ok(length.to_string())
}

async fn headers(headers: HeaderMap) -> String {
    let lines =
        headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
    lines.collect()
}

/// One event for each that was asked for.
async fn events(State(site): State<Site>) -> impl IntoResponse {
    let events = stream::unfold((site, 0), async |(site, number)| {
        site.event.notified().await;
        Some((Ok::<_, Infallible>(format!("data: {number}\n\n")), (site, number + 1)))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(events))
}

/// Echoes until the other side closes.
async fn upgrade(State(site): State<Site>, mut request: Request) -> impl IntoResponse {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgrade.await.unwrap());
        site.upgraded.fetch_add(1, SeqCst);
        let (mut read, mut write) = tokio::io::split(&mut io);
        let _ = tokio::io::copy(&mut read, &mut write).await;
        site.upgraded.fetch_sub(1, SeqCst);
    });
    let mut response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let asked = request.headers();
    assert_eq!([&asked["connection"], &asked["upgrade"]], ["upgrade", "WebSocket, other"]);
    for (name, value) in [("connection", "upgrade"), ("upgrade", "websocket")] {
        response = response.header(name, value);
    }
    response = response.header("sec-websocket-accept", &asked["sec-websocket-key"]);
    response.body(Body::empty()).unwrap()
}
