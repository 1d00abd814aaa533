//! Answers that no registry gives, and what becomes of them: the same for each that is read over HTTP.
#![allow(dead_code, unreachable_pub, async_fn_in_trait)]

use std::{net::SocketAddr, time::Duration};

use tokio::time::{Instant, timeout};
use tower_upstream::{
    BoxError,
    error::{Error, Kind},
};

use crate::raw::{drips, server};

/// What reads a registry.
pub trait Reads {
    /// The head of a good answer, without the length of its body.
    const HEAD: &'static str;
    /// How the body of a good answer begins.
    const OPEN: &'static str;
    /// A part of the registry's name in errors.
    const NAME: &'static str;
    /// How long it waits for an answer.
    const TIMEOUT: Duration;

    /// Reads once, answers of a mebibyte at most.
    async fn read(at: SocketAddr) -> Result<(), BoxError>;
}

/// What becomes of an answer that begins with `start`, and goes on with `again` for as long as it is read.
pub async fn refused<R: Reads>(start: impl Into<String>, again: impl Into<Vec<u8>>) -> Error {
    let address = server(start.into(), again.into()).await;
    let read = timeout(Duration::from_secs(60), R::read(address)).await;
    let error = Error::from_service(read.expect("it is still reading").unwrap_err());
    let text = format!("{error:#}");
    assert!(text.contains(R::NAME) && text.len() < 2_000, "{text}");
    error
}

/// A good answer, but for its body.
pub fn with_body<R: Reads>(body: &str) -> String {
    format!("{}Content-Length: {}\r\n\r\n{body}", R::HEAD, body.len())
}

pub async fn a_body_over_the_limit<R: Reads>() {
    let over = format!("{}Content-Length: 10485760\r\n\r\n", R::HEAD);
    let error = refused::<R>(over, vec![b' '; 4_096]).await;
    assert_eq!(error.kind(), Kind::Transport);
    assert!(format!("{error:#}").contains("1048576 bytes"), "{error:#}");
}

pub async fn a_body_without_an_end<R: Reads>() {
    let chunk = format!("1000\r\n{}\r\n", "[".repeat(4_096));
    let error = refused::<R>(format!("{}Transfer-Encoding: chunked\r\n\r\n", R::HEAD), chunk).await;
    assert!(format!("{error:#}").contains("1048576 bytes"), "{error:#}");
}

pub async fn headers_without_an_end<R: Reads>() {
    let error = refused::<R>(R::HEAD, "X-More: more\r\n").await;
    assert_eq!(error.kind(), Kind::Connection);
}

/// Lists in lists, after each of `opens`.
pub async fn lists_without_an_end<R: Reads>(opens: &[&str]) {
    for open in opens {
        let body = (*open).to_owned() + &"[".repeat(400_000);
        let error = refused::<R>(with_body::<R>(&body), "").await;
        assert_eq!(error.kind(), Kind::Transport, "{open}");
    }
}

/// To a server whose answer would be good.
pub async fn a_redirect<R: Reads>(body: &str) {
    let other = server(with_body::<R>(body), Vec::new()).await;
    assert!(R::read(other).await.is_ok());
    let away =
        format!("HTTP/1.1 302 Found\r\nLocation: http://{other}/\r\nContent-Length: 0\r\n\r\n");
    let error = refused::<R>(away, "").await.to_string();
    for part in ["302", "name the server that is meant", &other.to_string()] {
        assert!(error.contains(part), "{error}");
    }
}

pub async fn what_is_no_http_or_breaks_off<R: Reads>() {
    for start in ["", "SSH-2.0-OpenSSH_9.2\r\n", R::HEAD] {
        assert_eq!(refused::<R>(start, "").await.kind(), Kind::Connection, "{start}");
    }
    let broken = format!("{}Content-Length: 100\r\n\r\n{}", R::HEAD, R::OPEN);
    assert_eq!(refused::<R>(broken, "").await.kind(), Kind::Connection);
}

/// It is told in part, and without control characters.
pub async fn a_long_error_text<R: Reads>() {
    let long = "\u{1b}[31m".repeat(10_000);
    let length = long.len();
    let start = format!("HTTP/1.1 500 Oops\r\nContent-Length: {length}\r\n\r\n{long}");
    let text = format!("{:#}", refused::<R>(start, "").await);
    assert!(!text.contains('\u{1b}') && text.len() < 1_000, "{text}");
}

/// On a paused clock.
pub async fn an_answer_that_drips<R: Reads>() {
    let address = drips(format!("{}Content-Length: 100000\r\n\r\n", R::HEAD)).await;
    let start = Instant::now();
    let error = R::read(address).await.unwrap_err();
    assert!(Error::from_service(error).is_timeout());
    assert_eq!(start.elapsed().as_secs(), R::TIMEOUT.as_secs());
}
