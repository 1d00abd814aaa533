//! Answers that no Eureka gives.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use tower_upstream::{
    discover::{Eureka, EurekaConfig, EurekaService, Source},
    error::{Error, Kind},
};

use crate::{raw::server, support::secs};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

/// What a watch makes of it.
async fn refused(start: impl Into<String>, again: impl Into<Vec<u8>>) -> Error {
    let address = server(start.into(), again.into()).await;
    let config = EurekaConfig::default().with_urls([format!("http://{address}/eureka")]);
    let eureka = Eureka::new(config.with_max_response_bytes(1 << 20)).unwrap();
    let watched = eureka.service("tax").unwrap();
    let mut state = <EurekaService as Source>::State::default();
    let observed = tokio::time::timeout(secs(60), watched.source().observe(&mut state)).await;
    let error = Error::from_service(observed.expect("it is still reading").unwrap_err());
    let text = format!("{error:#}");
    assert!(text.contains("Eureka at `http://127.0.0.1") && text.len() < 2_000, "{text}");
    error
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_the_limit() {
    let over = format!("{HEAD}Content-Length: 10485760\r\n\r\n");
    let error = refused(over, vec![b' '; 4_096]).await;
    assert_eq!(error.kind(), Kind::Transport);
    assert!(format!("{error:#}").contains("1048576 bytes"), "{error:#}");
    let chunk = format!("1000\r\n{}\r\n", "[".repeat(4_096));
    let error = refused(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n"), chunk).await;
    assert!(format!("{error:#}").contains("1048576 bytes"), "{error:#}");
}

#[tokio::test]
async fn a_body_that_is_too_long_once_it_is_decompressed_is_refused() {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::best());
    zipped.write_all(&vec![b' '; 16 << 20]).unwrap();
    let zipped = zipped.finish().unwrap();
    let head = format!("{HEAD}Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", zipped.len());
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", address.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = address.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4_096]).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&zipped).await.unwrap();
        let _ = stream.shutdown().await;
    });
    let config = EurekaConfig::default().with_urls([url]).with_max_response_bytes(1 << 20);
    let watched = Eureka::new(config).unwrap().service("tax").unwrap();
    let mut state = <EurekaService as Source>::State::default();
    let error = watched.source().observe(&mut state).await.unwrap_err().to_string();
    assert!(error.contains("1048576 bytes after decompression"), "{error}");
    let other = format!("{HEAD}Content-Encoding: br\r\nContent-Length: 2\r\n\r\n[]");
    let error = format!("{:#}", refused(other, "").await);
    assert!(error.contains("`br`"), "{error}");
}

#[tokio::test]
async fn lists_in_lists_without_an_end_are_refused() {
    for open in ["[", r#"{"applications":"#, r#"{"applications":{"application":[{"instance":["#] {
        let body = open.to_owned() + &"[".repeat(400_000);
        let length = body.len();
        let error = refused(format!("{HEAD}Content-Length: {length}\r\n\r\n{body}"), "").await;
        assert_eq!(error.kind(), Kind::Transport);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let body = r#"{"applications":{}}"#;
    let length = body.len();
    let other = server(format!("{HEAD}Content-Length: {length}\r\n\r\n{body}"), Vec::new()).await;
    let away =
        format!("HTTP/1.1 302 Found\r\nLocation: http://{other}/\r\nContent-Length: 0\r\n\r\n");
    let error = refused(away, "").await;
    assert!(error.to_string().contains("302"), "{error}");
}

#[tokio::test]
async fn what_is_no_http_or_breaks_off_is_refused() {
    for start in ["", "SSH-2.0-OpenSSH_9.2\r\n", HEAD] {
        assert_eq!(refused(start, "").await.kind(), Kind::Connection, "{start}");
    }
    let broken = format!("{HEAD}Content-Length: 100\r\n\r\n{{");
    assert_eq!(refused(broken, "").await.kind(), Kind::Connection);
}

#[tokio::test]
async fn an_error_text_is_told_in_part_and_without_control_characters() {
    let long = "\u{1b}[31m".repeat(10_000);
    let length = long.len();
    let start = format!("HTTP/1.1 500 Oops\r\nContent-Length: {length}\r\n\r\n{long}");
    let text = format!("{:#}", refused(start, "").await);
    assert!(!text.contains('\u{1b}') && text.len() < 1_000, "{text}");
}
