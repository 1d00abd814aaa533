//! A server of HTTP/1.1 in this process, which can be cut off, stopped and started again.
#![allow(dead_code, unreachable_pub)]

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What it answers.
pub trait Answers: Clone + Send + Sync + 'static {
    fn answer(&self, request: Request<Bytes>)
    -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// How it is reached.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Link {
    Up,
    /// Nothing that is sent arrives.
    Partitioned,
    /// It does not run.
    Stopped,
}

pub struct Linked {
    pub address: SocketAddr,
    link: watch::Sender<Link>,
    tasks: JoinSet<()>,
}

impl Linked {
    pub async fn start(server: impl Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (link, receiver) = watch::channel(Link::Up);
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(server, receiver, listener));
        Self { address, link, tasks }
    }

    /// Ends with it.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Nothing arrives, in either direction.
    pub fn partition(&self) {
        self.link.send_replace(Link::Partitioned);
    }

    pub fn heal(&self) {
        self.link.send_replace(Link::Up);
    }

    /// All connections break, and new ones are refused.
    pub async fn stop(&self) {
        self.link.send_replace(Link::Stopped);
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    pub async fn restart(&self) {
        self.link.send_replace(Link::Up);
        while TcpStream::connect(self.address).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

async fn accept(server: impl Answers, mut link: watch::Receiver<Link>, listener: TcpListener) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let now = *link.borrow_and_update();
        match (now, &listener) {
            (Link::Stopped, _) => {
                listener = None;
                connections = JoinSet::new();
                if link.changed().await.is_err() {
                    return;
                }
            }
            (_, None) => listener = TcpListener::bind(address).await.ok(),
            (_, Some(listener)) => {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                        connections.spawn(serve(server.clone(), link.clone(), stream));
                    },
                    changed = link.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}

async fn serve(server: impl Answers, link: watch::Receiver<Link>, stream: TcpStream) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (server, mut link) = (server.clone(), link.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            arrives(&mut link).await;
            let answer = server.answer(Request::from_parts(head, body)).await;
            arrives(&mut link).await;
            Ok::<_, Infallible>(answer)
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn arrives(link: &mut watch::Receiver<Link>) {
    let _ = link.wait_for(|link| *link != Link::Partitioned).await;
}

/// What is percent-encoded, or a `+`, as it was meant.
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
