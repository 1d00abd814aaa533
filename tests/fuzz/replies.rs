//! A server of HTTP that answers all requests with the same bytes, and closes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::{Builder, Runtime},
};

pub struct Replies {
    pub runtime: Runtime,
    pub address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Replies {
    pub fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let answer = Arc::new(Mutex::new(Vec::new()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let answers = answer.clone();
        runtime.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer: Vec<u8> = answers.lock().unwrap().clone();
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
        Self { runtime, address, answer }
    }

    pub fn are(&self, answer: Vec<u8>) {
        *self.answer.lock().unwrap() = answer;
    }
}
