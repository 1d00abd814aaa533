//! A server whose answers are bytes, whatever it is asked.
#![allow(dead_code, unreachable_pub)]

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Answers each request with `start`, and then with `again` for as long as it is read.
pub async fn server(start: String, again: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (start, again) = (start.clone(), again.clone());
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    if !matches!(stream.read_buf(&mut asked).await, Ok(1..)) {
                        return;
                    }
                }
                let mut is_read = stream.write_all(start.as_bytes()).await.is_ok();
                while is_read && !again.is_empty() {
                    is_read = stream.write_all(&again).await.is_ok();
                }
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

/// Answers each request with `start`, and then with a byte each second for as long as it is read.
pub async fn drips(start: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let start = start.clone();
            tokio::spawn(async move {
                let mut asked = [0; 4_096];
                let _ = stream.read(&mut asked).await;
                let mut is_read = stream.write_all(start.as_bytes()).await.is_ok();
                while is_read {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    is_read = stream.write_all(b" ").await.is_ok();
                }
            });
        }
    });
    address
}
