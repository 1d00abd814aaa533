//! HTTP/1.1, byte by byte.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use crate::{Asked, Wire, faults::Fault, socket::Connection};

pub struct Http1(pub Connection);

impl Wire for Http1 {
    async fn next(&mut self) -> Option<Asked> {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            if !matches!(self.0.stream.read_line(&mut line).await, Ok(1..)) {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.stream.read_exact(&mut body).await.ok()?;
        Some(Asked { stream: 0, number: number(&body) })
    }

    async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.stream.write_all(bytes).await;
        let _ = self.0.stream.flush().await;
    }

    fn head(&self, _: &Asked, header: usize, body: usize) -> Vec<u8> {
        let long = "x".repeat(header);
        let head = format!("HTTP/1.1 200 OK\r\nX-Long: {long}\r\nContent-Length: {body}\r\n\r\n");
        head.into_bytes()
    }

    fn body(&self, _: &Asked, text: &str) -> Vec<u8> {
        text.into()
    }

    fn says(&self, fault: Fault, _: &Asked) -> Vec<u8> {
        panic!("{fault:?} is none of HTTP/1.1");
    }
}

/// The number that a call is about.
pub fn number(body: &[u8]) -> u64 {
    let asked: serde_json::Value = serde_json::from_slice(body).unwrap();
    asked["data"].as_u64().unwrap()
}
