//! The plugin's end of HTTP/2, frame by frame.
#![allow(dead_code, unreachable_pub)]

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::socket::Connection;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;

/// A call that arrived: its stream, and its number.
pub struct Asked {
    pub stream: u32,
    pub number: u64,
}

/// The plugin's end of a connection of HTTP/2 (RFC 9113).
pub struct Http2 {
    connection: Connection,
    /// How often the caller asked whether it is there.
    pub pings: usize,
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal header, of less than 127 bytes (RFC 7541 §6.2.2).
pub fn header(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| [u8::try_from(text.len()).unwrap()];
    [&[0][..], &length(name), name.as_bytes(), &length(value), value.as_bytes()].concat()
}

/// `:status: 200` of the static table.
pub const OK: u8 = 0x88;

pub fn head(asked: &Asked) -> Vec<u8> {
    let block = [&[OK][..], &header("content-type", "application/grpc")].concat();
    frame(HEADERS, END_HEADERS, asked.stream, &block)
}

pub fn data(asked: &Asked, message: &str) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0][..], &length, message.as_bytes()].concat();
    let frames = body.chunks(16_384).map(|part| frame(DATA, 0, asked.stream, part));
    frames.collect::<Vec<_>>().concat()
}

pub fn trailers(asked: &Asked) -> Vec<u8> {
    let block = header("grpc-status", "0");
    frame(HEADERS, END_HEADERS | END_STREAM, asked.stream, &block)
}

/// A head that is longer than 64 KiB, in several frames.
pub fn long_head(asked: &Asked) -> Vec<u8> {
    let mut frames = frame(HEADERS, 0, asked.stream, &[OK]);
    for part in 0..1_000 {
        let field = header(&format!("x-{part}"), &"x".repeat(100));
        let flags = if part == 999 { END_HEADERS } else { 0 };
        frames.extend(frame(CONTINUATION, flags, asked.stream, &field));
    }
    frames
}

impl Http2 {
    /// Reads the preface.
    pub async fn begin(connection: Connection) -> Option<Self> {
        let mut http2 = Self { connection, pings: 0 };
        let mut preface = [0; 24];
        http2.connection.stream.read_exact(&mut preface).await.ok()?;
        assert!(preface.starts_with(b"PRI * HTTP/2.0"));
        http2.send(&frame(SETTINGS, 0, 0, &[])).await;
        Some(http2)
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.connection.stream.write_all(bytes).await;
        let _ = self.connection.stream.flush().await;
    }

    /// The next call; `None` at the end.
    pub async fn next(&mut self) -> Option<Asked> {
        let mut body = Vec::new();
        loop {
            let mut head = [0; 9];
            self.connection.stream.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.connection.stream.read_exact(&mut payload).await.ok()?;
            match kind {
                DATA => body.extend(&payload),
                SETTINGS if flags & ACK == 0 => self.send(&frame(SETTINGS, ACK, 0, &[])).await,
                PING if flags & ACK == 0 => {
                    self.pings += 1;
                    self.send(&frame(PING, ACK, 0, &payload)).await;
                }
                _ => {}
            }
            if kind == DATA && flags & END_STREAM > 0 {
                let number = std::str::from_utf8(&body[5..]).unwrap().parse().unwrap();
                return Some(Asked { stream: u32::from_be_bytes(stream), number });
            }
        }
    }

    pub async fn answer(&mut self, asked: &Asked, text: &str) {
        self.send(&[head(asked), data(asked, text), trailers(asked)].concat()).await;
    }

    pub async fn answer_all(&mut self) {
        while let Some(asked) = self.next().await {
            self.answer(&asked, &right(&asked)).await;
        }
    }
}

pub fn right(asked: &Asked) -> String {
    (asked.number * 2).to_string()
}
