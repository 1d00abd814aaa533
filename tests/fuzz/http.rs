//! Answers and questions of HTTP, through the transport and the service that read them.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use tower::{ServiceExt, service_fn};
use tower_upstream::{
    Call, Endpoint, Error, Reply,
    connect::Connect,
    error::Kind,
    member::Member,
    serve,
    transport::{HttpConfig, HttpService, HttpTransport},
};

use crate::LIMIT;

type Json = serde_json::Value;

/// Answers all requests with the same bytes, and closes.
struct Plugin {
    runtime: Runtime,
    answer: Arc<Mutex<Vec<u8>>>,
    service: HttpService<u8, Json>,
}

impl Plugin {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let answer = Arc::new(Mutex::new(Vec::new()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = answer.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answers.lock().unwrap().clone();
                tokio::spawn(say(stream, answer));
            }
        });
        let config = HttpConfig::default().with_max_response_bytes(LIMIT).with_keep_alive(false);
        let member = Member::new(Endpoint::new(url).unwrap());
        Self { runtime, answer, service: HttpTransport::with_config(config).connect(&member) }
    }

    /// Has the transport read `answer` as a reply, as a health and as a description.
    fn answer(&self, answer: Vec<u8>) {
        *self.answer.lock().unwrap() = answer;
        self.runtime.block_on(async {
            match self.service.clone().oneshot(Call::new(1).idempotent()).await {
                Ok(reply) => assert!(reply.metadata().len() <= LIMIT),
                Err(error) => fits(&error),
            }
            assert!(self.service.health().await.message.len() < 5_000);
            if let Err(error) = self.service.info().await {
                fits(&error);
            }
        });
    }
}

async fn say(mut stream: TcpStream, answer: Vec<u8>) {
    let mut asked = Vec::new();
    // The body of a call, or the head of what has none.
    while !asked.ends_with(b"}") && !asked.ends_with(b"\r\n\r\n")
        || asked.starts_with(b"POST") && !asked.ends_with(b"}")
    {
        if !matches!(stream.read_buf(&mut asked).await, Ok(1..)) {
            return;
        }
    }
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
    while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
}

/// Whether an error is one that an endpoint may cause, and none of what it said is too much of it.
fn fits(error: &Error) {
    let kinds = [Kind::Connection, Kind::Plugin, Kind::RateLimited, Kind::Transport];
    assert!(kinds.contains(&error.kind()), "{error:?}");
    assert!(!error.is_unsent(), "{error}");
    assert!(error.retry_after().is_none_or(|wait| wait <= Duration::from_secs(86_400)));
    assert!(error.to_string().len() < 10_000, "{error}");
}

thread_local! {
    static PLUGIN: Plugin = Plugin::start();
}

/// All that a plugin may send.
pub fn reply(bytes: &[u8]) {
    PLUGIN.with(|plugin| plugin.answer(bytes.to_vec()));
}

/// A body that is compressed, or says so: the first byte says in which way it is not right.
pub fn gzip(bytes: &[u8]) {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let compress = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let mut body = match how % 4 {
        0 => bytes.to_vec(),
        // Of few bytes, many.
        1 => compress(&bytes.repeat((64 << 10) / bytes.len().max(1))),
        2 => [compress(bytes), compress(bytes)].concat(),
        _ => compress(bytes),
    };
    if how >= 128 && !body.is_empty() {
        let at = usize::from(how) % body.len();
        body[at] ^= how;
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ";
    let head = format!("{head}{}\r\n\r\n", body.len());
    PLUGIN.with(|plugin| plugin.answer([head.as_bytes(), &body].concat()));
}

/// The body of a call to a plugin.
pub fn asked(bytes: &[u8]) {
    let plugin = service_fn(|call: Call<Json>| async move {
        assert!(!call.id().is_empty() && call.headers().len() <= 1_024);
        Ok::<_, Error>(Reply::new(call.into_body()))
    });
    let served = serve::http(plugin).max_request_bytes(LIMIT);
    let request = http::Request::post("/").body(Full::new(Bytes::copy_from_slice(bytes))).unwrap();
    let response = futures::executor::block_on(served.oneshot(request)).unwrap();
    let status = response.status().as_u16();
    assert!(matches!(status, 200 | 400 | 413), "{status}");
    let body = futures::executor::block_on(response.into_body().collect()).unwrap().to_bytes();
    serde_json::from_slice::<Json>(&body).unwrap();
}
