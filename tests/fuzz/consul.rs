//! What Consul says of a service.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tower_upstream::{
    discover::{Consul, ConsulConfig, ConsulQuery, ConsulService, Source, Watched},
    error::Error,
};

/// Answers all requests with the same bytes, and closes.
struct Agent {
    runtime: Runtime,
    answer: Arc<Mutex<Vec<u8>>>,
    service: Watched<ConsulService>,
}

impl Agent {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let answer = Arc::new(Mutex::new(Vec::new()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers = answer.clone();
        runtime.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = answers.lock().unwrap().clone();
                tokio::spawn(async move {
                    let mut asked = Vec::new();
                    while !asked.ends_with(b"\r\n\r\n") {
                        if !matches!(stream.read_buf(&mut asked).await, Ok(1..)) {
                            return;
                        }
                    }
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        let config =
            ConsulConfig::default().with_address(address).with_max_response_bytes(64 << 10);
        let query = ConsulQuery::default().with_tagged_address("wan");
        let service = Consul::new(config).unwrap().service_with("web", query).unwrap();
        Self { runtime, answer, service }
    }
}

thread_local! {
    static AGENT: Agent = Agent::start();
}

/// The list of instances: each that is used has an address and a key of its own.
pub fn instances(bytes: &[u8]) {
    let head = "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nConnection: close\r\nContent-Length: ";
    let head = format!("{head}{}\r\n\r\n", bytes.len());
    answer([head.as_bytes(), bytes].concat());
}

/// The whole answer.
pub fn answer(bytes: Vec<u8>) {
    AGENT.with(|agent| {
        *agent.answer.lock().unwrap() = bytes;
        let mut state = <ConsulService as Source>::State::default();
        if let Err(error) = agent.runtime.block_on(agent.service.source().observe(&mut state)) {
            let text = format!("{:#}", Error::from_service(error));
            assert!(text.len() < 4_096, "{text}");
        }
    });
}
