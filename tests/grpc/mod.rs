//! A server of HTTP/2 that answers as it is told, and of which every connection is known.
#![allow(dead_code, unreachable_pub)]

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, task::JoinSet};
use tower::{Service, ServiceExt};
use tower_upstream::{
    Endpoint,
    connect::Connect,
    member::Member,
    transport::{GrpcConfig, GrpcService, GrpcTransport},
};

/// No test waits longer, whatever goes wrong.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server. It ends when it is dropped, and so do its connections.
pub struct Server {
    pub address: SocketAddr,
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Server {
    /// Hands each request at `address` to a clone of `service`.
    pub async fn at<S, B>(address: SocketAddr, service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
        B::Data: Send,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (made, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, opened) = (made.clone(), open.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                opened.fetch_add(1, SeqCst);
                let (guard, service) = (Open(opened.clone()), service.clone());
                connections.spawn(async move {
                    let _guard = guard;
                    let call = service_fn(move |request| service.clone().oneshot(request));
                    let server = http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), call).await;
                });
            }
        });
        Self { address, made, open, _tasks: tasks }
    }

    pub async fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
        B::Data: Send,
    {
        Self::at("127.0.0.1:0".parse().unwrap(), service).await
    }

    /// Answers each request, once its body was read, by a closure.
    pub async fn answering<F>(answer: F) -> Self
    where
        F: Fn(&Seen) -> Response<Frames> + Clone + Send + Sync + 'static,
    {
        Self::new(tower::service_fn(move |request: Request<Incoming>| {
            let answer = answer.clone();
            async move { Ok(answer(&Seen::read(request).await)) }
        }))
        .await
    }

    pub fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }

    pub fn made(&self) -> usize {
        self.made.load(SeqCst)
    }

    pub fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    pub fn service(&self, config: GrpcConfig) -> GrpcService<u64, u64> {
        connect(config, &self.url())
    }
}

pub fn connect(config: GrpcConfig, address: &str) -> GrpcService<u64, u64> {
    let endpoint: Endpoint = address.parse().unwrap();
    let member = Member::new(endpoint.with_key("tax-1"));
    GrpcTransport::with_config(config).connect(&member)
}

/// A request that arrived whole.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub async fn read(request: Request<Incoming>) -> Self {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Self { path: parts.uri.path().to_owned(), headers: parts.headers, body }
    }

    /// The number in the message, if it is one in JSON.
    pub fn number(&self) -> u64 {
        std::str::from_utf8(&self.body[5..]).unwrap().parse().unwrap()
    }
}

pub type Log = Arc<Mutex<Vec<Seen>>>;
pub type Frames =
    StreamBody<futures::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

pub fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[0][..], &length, text.as_bytes()].concat().into()
}

fn pairs(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// A response with these headers, this body, and these trailers.
pub fn response(
    status: u16,
    headers: &[(&'static str, &str)],
    body: Bytes,
    trailers: &[(&'static str, &str)],
) -> Response<Frames> {
    let mut frames = vec![];
    if !body.is_empty() {
        frames.push(Ok(Frame::data(body)));
    }
    if !trailers.is_empty() {
        frames.push(Ok(Frame::trailers(pairs(trailers))));
    }
    let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)));
    *response.status_mut() = status.try_into().unwrap();
    *response.headers_mut() = pairs(headers);
    response
}

pub const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// A right answer to a call.
pub fn well(text: &str) -> Response<Frames> {
    response(200, &[GRPC], message(text), &[("grpc-status", "0")])
}

/// A status without a message.
pub fn status(code: &str, more: &[(&'static str, &str)]) -> Response<Frames> {
    let headers: Vec<_> =
        [GRPC, ("grpc-status", code)].into_iter().chain(more.iter().copied()).collect();
    response(200, &headers, Bytes::new(), &[])
}

/// Waits for what happens elsewhere.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not so: {what}"));
}

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}
