//! New settings for an `HttpTransport` that is in use: what they change at once, and what they leave.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt;
use tower_upstream::{
    Call, Endpoint,
    connect::Connect,
    error::Kind,
    member::Member,
    transport::{HttpConfig, HttpService, HttpTransport, HttpTransportHandle},
};

/// A plugin that keeps its connections open, counts them, and remembers the last request.
#[derive(Default)]
struct Plugin {
    connections: AtomicUsize,
    last: Mutex<String>,
}

impl Plugin {
    async fn start() -> (Arc<Self>, SocketAddr) {
        let plugin = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = plugin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        (plugin, address)
    }

    /// Answers `{"data":7}` to each request, which is written at once.
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut bytes = vec![0; 4_096];
        while let Ok(read @ 1..) = stream.read(&mut bytes).await {
            *self.last.lock().unwrap() = String::from_utf8_lossy(&bytes[..read]).into_owned();
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"data\":7}";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn was_asked_for_gzip(&self) -> bool {
        self.last.lock().unwrap().to_ascii_lowercase().contains("accept-encoding: gzip")
    }
}

fn connect(transport: &HttpTransport<u8, u8>, address: SocketAddr) -> HttpService<u8, u8> {
    transport.connect(&Member::new(Endpoint::new(address.to_string()).unwrap()))
}

fn update(handle: &HttpTransportHandle, change: impl FnOnce(&mut HttpConfig)) {
    let mut config = handle.config();
    change(&mut config);
    handle.update(&config).unwrap();
}

async fn call(service: &HttpService<u8, u8>) -> Result<u8, Kind> {
    let reply = service.clone().oneshot(Call::new(1)).await;
    // The connection goes back to the pool in a task of its own.
    tokio::task::yield_now().await;
    reply.map(|reply| reply.into_body()).map_err(|error| error.kind())
}

#[tokio::test]
async fn settings_of_calls_change_for_all_members_and_connections_stay() {
    let (one, address) = Plugin::start().await;
    let (other, other_address) = Plugin::start().await;
    let transport = HttpTransport::new();
    // A clone shares the settings.
    let service = connect(&transport.clone(), address);
    assert_eq!(call(&service).await, Ok(7));
    assert!(one.was_asked_for_gzip());

    let handle = transport.handle();
    update(&handle, |config| config.disable_compression = true);
    assert_eq!(call(&service).await, Ok(7));
    assert!(!one.was_asked_for_gzip());
    // Also for members that come later.
    assert_eq!(call(&connect(&transport, other_address)).await, Ok(7));
    assert!(!other.was_asked_for_gzip());
    assert_eq!((one.connections(), other.connections()), (1, 1));

    update(&handle, |config| config.max_response_bytes = 9);
    let failures = |handle: &HttpTransportHandle| (handle.stats().failed, handle.stats().ignored);
    assert_eq!(failures(&handle), (Some(0), Some(0)));
    assert_eq!(call(&service).await, Err(Kind::Transport));
    assert_eq!(failures(&handle), (Some(1), Some(0)));
    let late = Call::new(1).with_deadline(tokio::time::Instant::now());
    service.clone().oneshot(late).await.unwrap_err();
    assert_eq!(failures(&transport.clone().handle()), (Some(1), Some(1)));
    update(&handle, |config| config.max_response_bytes = 10);
    assert_eq!(call(&service).await, Ok(7));
}

#[tokio::test]
async fn settings_of_connections_make_new_ones() {
    let (plugin, address) = Plugin::start().await;
    let transport = HttpTransport::new();
    let (service, handle) = (connect(&transport, address), transport.handle());
    for (expected, change) in [
        (1, (|_| {}) as fn(&mut HttpConfig)),
        (1, |config| config.request_timeout = Duration::from_secs(3)),
        (2, |config| config.connect_timeout = Duration::from_secs(3)),
        (3, |config| config.idle_timeout = Duration::from_secs(3)),
        (4, |config| config.max_header_bytes = 1 << 20),
        (5, |config| config.max_idle_connections = 0),
        (6, |_| {}),
    ] {
        update(&handle, change);
        assert_eq!(call(&service).await, Ok(7));
        assert_eq!(plugin.connections(), expected);
    }
}

#[tokio::test]
async fn a_call_keeps_the_timeout_that_it_began_with() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let transport = HttpTransport::<u8, u8>::new();
    let service = connect(&transport, listener.local_addr().unwrap());
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let waiting = tokio::spawn(service.oneshot(Call::new(1)));
    tokio::task::yield_now().await;
    update(&transport.handle(), |config| config.request_timeout = Duration::from_secs(1));
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), start.elapsed().as_secs()), (Kind::Timeout, 30));
}

#[test]
fn an_update_with_mistakes_names_them_and_changes_nothing() {
    let handle = HttpTransport::<u8, u8>::new().handle();
    let mut config = handle.config();
    (config.request_timeout, config.max_response_bytes) = (Duration::ZERO, 0);
    let text = handle.update(&config).unwrap_err().to_string();
    assert!(text.contains("request_timeout") && text.contains("max_response_bytes"), "{text}");
    assert_eq!(handle.config(), HttpConfig::default());
}
