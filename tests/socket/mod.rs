//! A plugin behind a socket of which every byte and every connection is known.
#![allow(dead_code, unreachable_pub)]

use std::{
    future::Future,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, UnixListener},
    task::JoinSet,
};
use tower_upstream::{
    Endpoint,
    connect::Connect,
    member::Member,
    transport::{SocketConfig, SocketService, SocketTransport},
};

/// No test waits longer, whatever goes wrong.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The plugin's end of a connection.
pub struct Connection {
    pub stream: BufReader<Box<dyn Stream>>,
    /// From 0.
    pub number: usize,
    _open: Open,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Connection {
    /// The next message, without its line end; `None` at the end.
    pub async fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).await {
            Ok(1..) if line.ends_with('\n') => Some(line.trim_end().to_owned()),
            _ => None,
        }
    }

    pub async fn send(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    /// Answers all that is asked from now on: a call with twice its number.
    pub async fn answer_all(&mut self) {
        while let Some(line) = self.next().await {
            self.send(&answer(&line)).await;
        }
    }
}

/// A right answer to a message.
pub fn answer(line: &str) -> String {
    let asked: serde_json::Value = serde_json::from_str(line).unwrap();
    let data = match asked["type"].as_str().unwrap() {
        "execute" => format!(r#","data":{}"#, asked["data"].as_u64().unwrap_or_default() * 2),
        "info" => r#","data":{"name":"double","version":"1.0.0"}"#.to_owned(),
        _ => String::new(),
    };
    let (operation, id) = (&asked["type"], &asked["request_id"]);
    format!("{{\"type\":{operation},\"request_id\":{id},\"success\":true{data}}}\n")
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A plugin. It ends when it is dropped, and so do its connections.
pub struct Plugin {
    pub address: String,
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Plugin {
    /// Hands each connection at `address` to `serve`.
    pub async fn at<F, Fut>(address: &str, serve: F) -> Self
    where
        F: Fn(Connection) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = match address.strip_prefix("unix:") {
            Some(path) => {
                let _ = std::fs::remove_file(path);
                Listener::Unix(UnixListener::bind(path).unwrap())
            }
            None => {
                let place = address.strip_prefix("tcp://").unwrap();
                Listener::Tcp(TcpListener::bind(place).await.unwrap())
            }
        };
        let address = match &listener {
            Listener::Unix(_) => address.to_owned(),
            Listener::Tcp(listener) => format!("tcp://{}", listener.local_addr().unwrap()),
        };
        let (made, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, opened) = (made.clone(), open.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let stream: Box<dyn Stream> = match &listener {
                    Listener::Unix(listener) => Box::new(listener.accept().await.unwrap().0),
                    Listener::Tcp(listener) => {
                        let stream = listener.accept().await.unwrap().0;
                        // What waits for an acknowledgement waits in real time.
                        stream.set_nodelay(true).unwrap();
                        Box::new(stream)
                    }
                };
                opened.fetch_add(1, SeqCst);
                connections.spawn(serve(Connection {
                    stream: BufReader::new(stream),
                    number: count.fetch_add(1, SeqCst),
                    _open: Open(opened.clone()),
                }));
            }
        });
        Self { address, made, open, _tasks: tasks }
    }

    /// Behind a new Unix socket.
    pub async fn unix<F, Fut>(serve: F) -> Self
    where
        F: Fn(Connection) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::at(&new_unix(), serve).await
    }

    pub async fn good() -> Self {
        Self::unix(|mut connection| async move { connection.answer_all().await }).await
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.made.load(SeqCst)
    }

    /// How many of them are open.
    pub fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    pub fn service(&self, config: SocketConfig) -> SocketService<u64, u64> {
        connect(config, &self.address)
    }
}

pub fn connect<Req, Res>(config: SocketConfig, address: &str) -> SocketService<Req, Res> {
    let endpoint = Endpoint::new(address).unwrap().with_key("tax-1");
    SocketTransport::with_config(config).connect(&Member::new(endpoint))
}

/// A path where no file is.
pub fn new_path() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, SeqCst);
    let path = std::env::temp_dir().join(format!("tu-{}-{number}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

pub fn new_unix() -> String {
    format!("unix:{}", new_path().display())
}

/// Waits until `done`, which something in another task brings about.
pub async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}
