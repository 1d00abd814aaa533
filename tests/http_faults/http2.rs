//! HTTP/2, frame by frame (RFC 9113).

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Asked, Wire, faults::Fault, http1::number, socket::Connection};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

/// Most bytes of a frame, unless the other side allows more.
const FRAME: usize = 16_384;

pub struct Http2(Connection);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

impl Http2 {
    /// Reads the preface.
    pub async fn begin(connection: Connection) -> Option<Self> {
        let mut http2 = Self(connection);
        let mut preface = [0; 24];
        http2.0.stream.read_exact(&mut preface).await.ok()?;
        assert!(preface.starts_with(b"PRI * HTTP/2.0"));
        http2.send(&frame(SETTINGS, 0, 0, &[])).await;
        Some(http2)
    }

    async fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.stream.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.stream.read_exact(&mut payload).await.ok()?;
        Some((kind, flags, u32::from_be_bytes(stream), payload))
    }
}

impl Wire for Http2 {
    async fn next(&mut self) -> Option<Asked> {
        let mut body = Vec::new();
        loop {
            let (kind, flags, stream, payload) = self.frame().await?;
            match kind {
                DATA => body.extend(payload),
                SETTINGS if flags & ACK == 0 => self.send(&frame(SETTINGS, ACK, 0, &[])).await,
                PING if flags & ACK == 0 => self.send(&frame(PING, ACK, 0, &payload)).await,
                _ => {}
            }
            if kind == DATA && flags & END_STREAM > 0 {
                return Some(Asked { stream, number: number(&body) });
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.stream.write_all(bytes).await;
        let _ = self.0.stream.flush().await;
    }

    fn head(&self, asked: &Asked, header: usize, _: usize) -> Vec<u8> {
        // `:status: 200` of the static table, and a literal header: its name, and its length in seven bits
        // and the rest, seven at a time (RFC 7541 §5.1).
        let mut block = vec![0x88, 0x00, 1, b'x', 0x7f];
        let mut rest = header.max(127) - 127;
        while rest >= 128 {
            block.push((rest % 128) as u8 | 0x80);
            rest /= 128;
        }
        block.push(rest as u8);
        block.resize(block.len() + header.max(127), b'x');
        let mut parts = block.chunks(FRAME).peekable();
        let mut kind = HEADERS;
        let mut frames = Vec::new();
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
            frames.extend(frame(kind, flags, asked.stream, part));
            kind = CONTINUATION;
        }
        frames
    }

    fn body(&self, asked: &Asked, text: &str) -> Vec<u8> {
        let mut parts = text.as_bytes().chunks(FRAME).peekable();
        let mut frames = Vec::new();
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_none() { END_STREAM } else { 0 };
            frames.extend(frame(DATA, flags, asked.stream, part));
        }
        frames
    }

    fn says(&self, fault: Fault, asked: &Asked) -> Vec<u8> {
        let reset = |reason: u32| frame(RST_STREAM, 0, asked.stream, &reason.to_be_bytes());
        match fault {
            Fault::TurnsAway => reset(REFUSED_STREAM),
            Fault::GivesUp => reset(CANCEL),
            // The last stream that it looks at is 0.
            Fault::GoesAway => frame(GOAWAY, 0, 0, &[0; 8]),
            other => panic!("{other:?} is none of HTTP/2"),
        }
    }
}
