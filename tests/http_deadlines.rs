//! Whose time was over: the caller's deadline is no failure of the endpoint, the limits of its config
//! are.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod wire;

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};
use tower::{ServiceBuilder, ServiceExt};
use tower_upstream::{
    BalanceLayer, Call, CircuitBreakerConfig, CircuitBreakerLayer, LeastRequest,
    breaker::CircuitState,
    discover,
    error::Kind,
    transport::{HttpConfig, HttpTransport},
};

use self::wire::{Server, read_request};

const SHORT: Duration = Duration::from_millis(30);

/// What is left of the circuit of `address` after one call that took too long, and whether that is
/// known as unsent.
async fn after(address: &str, config: HttpConfig, call: Call<u32>) -> (CircuitState, bool) {
    let breakers = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1));
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed([address]).unwrap(), LeastRequest::default()))
        .layer(breakers.clone())
        .service(HttpTransport::<u32, u32>::with_config(config));
    let error = stack.clone().oneshot(call).await.unwrap_err();
    assert_eq!((error.kind(), error.is_timeout()), (Kind::Timeout, true), "{error}");
    (breakers.handle_for(address).unwrap().state(), error.is_unsent())
}

fn limited(set: impl FnOnce(&mut HttpConfig)) -> HttpConfig {
    let mut config = HttpConfig::default();
    set(&mut config);
    config
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time() {
    for start in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"] {
        let server = Server::new(move |mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(start.as_bytes()).await.unwrap();
            read_request(&mut stream).await;
        })
        .await;
        let hasty = Call::new(1).with_timeout(SHORT);
        let (state, unsent) = after(&server.url(), HttpConfig::default(), hasty).await;
        assert_eq!((state, unsent), (CircuitState::Closed, false), "{start:?}");
        // Also where the endpoint had less than its own time.
        let both = limited(|config| config.request_timeout = 20 * SHORT);
        let hasty = Call::new(1).with_timeout(SHORT);
        assert_eq!(after(&server.url(), both, hasty).await.0, CircuitState::Closed);

        let short = limited(|config| config.request_timeout = SHORT);
        let patient = Call::new(1).with_timeout(20 * SHORT);
        assert_eq!(after(&server.url(), short.clone(), patient).await.0, CircuitState::Open);
        assert_eq!(after(&server.url(), short, Call::new(1)).await.0, CircuitState::Open);
    }
}

/// A host that does not answer, since its queue is full of those who wait to be let in.
async fn unanswering() -> (String, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (format!("http://{address}"), listener, waiting)
}

#[tokio::test]
async fn a_connection_that_does_not_come_in_time() {
    let (address, _listener, _waiting) = unanswering().await;
    let hasty = Call::new(1).with_timeout(SHORT);
    let (state, unsent) = after(&address, HttpConfig::default(), hasty).await;
    assert_eq!((state, unsent), (CircuitState::Closed, true));
    let short = limited(|config| config.connect_timeout = SHORT);
    let patient = Call::new(1).with_timeout(20 * SHORT);
    let (state, unsent) = after(&address, short, patient).await;
    assert_eq!((state, unsent), (CircuitState::Open, true));
    let short = limited(|config| config.request_timeout = SHORT);
    assert_eq!(after(&address, short, Call::new(1)).await, (CircuitState::Open, true));
}
