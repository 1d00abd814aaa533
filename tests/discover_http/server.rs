//! Services that tell at `/_farp/discovery` what they are, and do what a test wants instead.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, time::Instant};

#[derive(Debug, Clone)]
pub enum Answer {
    /// With these headers.
    Is(u16, &'static [(&'static str, &'static str)], String),
    /// 304 to a request that knows this `ETag`.
    Tagged(&'static str, String),
    Closes,
    Hangs,
    /// A chunked body that never ends.
    Endless,
    /// A length, and nothing of the body.
    Long(usize),
}

#[derive(Debug)]
pub struct Asked {
    pub at: Instant,
    pub path: String,
    pub headers: http::HeaderMap,
}

#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Requests that have no answer yet, and the most there were.
    pub waiting: Arc<AtomicUsize>,
    pub most_waiting: Arc<AtomicUsize>,
}

pub const DISCOVERY: &str = "/_farp/discovery";
pub const MANIFEST: &str = "/_farp/manifest";

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            answers: Arc::default(),
            asked: Arc::default(),
            waiting: Arc::default(),
            most_waiting: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| server.answer(request));
                    let connection = hyper::server::conn::http1::Builder::new();
                    drop(connection.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        server
    }

    /// One that answers with a document.
    pub async fn of(document: &str) -> Self {
        let server = Self::start().await;
        server.tells(document);
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn tells(&self, document: &str) {
        self.does(DISCOVERY, Answer::Is(200, &[], document.to_owned()));
    }

    pub fn does(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, &'static str> {
        let path = request.uri().path().to_owned();
        let answer = self.answers.lock().unwrap().get(&path).cloned();
        let headers = request.headers().clone();
        let known = headers.get("if-none-match").cloned();
        self.asked.lock().unwrap().push(Asked { at: Instant::now(), path, headers });
        let _waiting = Waiting::new(self);
        let full = |body: String| Full::new(Bytes::from(body)).boxed();
        let mut response = Response::new(full(String::new()));
        match answer {
            None => *response.status_mut() = StatusCode::NOT_FOUND,
            Some(Answer::Is(status, headers, body)) => {
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                for (name, value) in headers {
                    response.headers_mut().insert(*name, value.parse().unwrap());
                }
                *response.body_mut() = full(body);
            }
            Some(Answer::Tagged(etag, body)) => {
                response.headers_mut().insert("etag", etag.parse().unwrap());
                if known.is_some_and(|known| known == etag) {
                    *response.status_mut() = StatusCode::NOT_MODIFIED;
                } else {
                    *response.body_mut() = full(body);
                }
            }
            Some(Answer::Closes) => return Err("closed"),
            Some(Answer::Hangs) => std::future::pending().await,
            Some(Answer::Endless) => {
                let chunk = Bytes::from(vec![b' '; 64 << 10]);
                let chunks = stream::repeat(chunk).map(|chunk| Ok(Frame::data(chunk)));
                *response.body_mut() = BodyExt::boxed(StreamBody::new(chunks));
            }
            Some(Answer::Long(length)) => {
                let body = Full::new(Bytes::from(vec![b' '; length]));
                *response.body_mut() = body.boxed();
            }
        }
        Ok(response)
    }
}

struct Waiting<'a>(&'a Server);

impl<'a> Waiting<'a> {
    fn new(server: &'a Server) -> Self {
        let waiting = server.waiting.fetch_add(1, SeqCst) + 1;
        server.most_waiting.fetch_max(waiting, SeqCst);
        Self(server)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}
