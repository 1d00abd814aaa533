//! Answers that no API server gives.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower_upstream::{
    discover::{Kubernetes, KubernetesConfig, KubernetesService, Source},
    error::{Error, Kind},
};

use crate::support::secs;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

/// Answers lists with `list`, and watches with `start`, and then with `again` for as long as it is read.
async fn server(list: String, start: String, again: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (list, start, again) = (list.clone(), start.clone(), again.clone());
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    if !matches!(stream.read_buf(&mut asked).await, Ok(1..)) {
                        return;
                    }
                }
                if !list.is_empty() && !String::from_utf8_lossy(&asked).contains("watch=true") {
                    let _ = stream.write_all(list.as_bytes()).await;
                    let _ = stream.shutdown().await;
                    return;
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

fn list() -> String {
    let body = r#"{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}}]}"#;
    format!("{HEAD}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// What a watch makes of it.
async fn refused(list: String, start: impl Into<String>, again: impl Into<Vec<u8>>) -> Error {
    let has_list = !list.is_empty();
    let address = server(list, start.into(), again.into()).await;
    let config = KubernetesConfig::default().with_address(format!("http://{address}"));
    let kubernetes = Kubernetes::new(config.with_max_response_bytes(1 << 20)).unwrap();
    let watched = kubernetes.service("web").unwrap();
    let mut state = <KubernetesService as Source>::State::default();
    if has_list {
        watched.source().observe(&mut state).await.unwrap();
    }
    let observed = tokio::time::timeout(secs(60), watched.source().observe(&mut state)).await;
    let error = Error::from_service(observed.expect("it is still reading").unwrap_err());
    let text = format!("{error:#}");
    assert!(text.contains("Kubernetes") && text.len() < 2_000, "{text}");
    error
}

#[tokio::test]
async fn a_list_over_the_limit_is_refused_with_the_limit() {
    let over = format!("{HEAD}Content-Length: 10485760\r\n\r\n");
    let error = refused(String::new(), over, vec![b' '; 4_096]).await;
    assert_eq!(error.kind(), Kind::Transport);
    assert!(format!("{error:#}").contains("1048576 bytes"), "{error:#}");
    let chunk = format!("1000\r\n{}\r\n", "[".repeat(4_096));
    let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n");
    let error = refused(String::new(), chunked, chunk).await;
    assert!(format!("{error:#}").contains("1048576 bytes"), "{error:#}");
}

#[tokio::test]
async fn an_event_without_an_end_is_refused_with_the_limit() {
    let chunk = format!("1000\r\n{}\r\n", "[".repeat(4_096));
    let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n");
    let error = refused(list(), chunked, chunk).await;
    assert_eq!(error.kind(), Kind::Transport);
    assert!(error.to_string().contains("max_response_bytes"), "{error}");
}

#[tokio::test]
async fn lists_in_lists_without_an_end_are_refused() {
    let body = "[".repeat(500_000);
    let start = format!("{HEAD}Content-Length: 500000\r\n\r\n{body}");
    assert_eq!(refused(String::new(), start.clone(), "").await.kind(), Kind::Transport);
    let line = format!("{HEAD}Content-Length: 500001\r\n\r\n{body}\n");
    assert_eq!(refused(list(), line, "").await.kind(), Kind::Transport);
}

#[tokio::test]
async fn pages_without_an_end_are_refused() {
    let body = r#"{"metadata":{"resourceVersion":"7","continue":"more"},"items":[]}"#;
    let page = format!("{HEAD}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let error = refused(String::new(), page, "").await;
    assert_eq!(error.kind(), Kind::Transport, "{error}");
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    for line in ["no JSON", "[]", "{}", r#"{"type":"ADDED"}"#, r#"{"type":"ADDED","object":7}"#] {
        let start = format!("{HEAD}Content-Length: {}\r\n\r\n{line}\n", line.len() + 1);
        let error = refused(list(), start, "").await;
        assert_eq!(error.kind(), Kind::Transport, "{line}");
    }
}

#[tokio::test]
async fn what_is_no_http_or_breaks_off_is_refused() {
    for start in ["", "SSH-2.0-OpenSSH_9.2\r\n", HEAD] {
        assert_eq!(refused(list(), start, "").await.kind(), Kind::Connection, "{start}");
    }
    let broken = format!("{HEAD}Content-Length: 100\r\n\r\n{{");
    assert_eq!(refused(list(), &*broken, "").await.kind(), Kind::Connection);
    assert_eq!(refused(String::new(), broken, "").await.kind(), Kind::Connection);
    let error = refused(list(), format!("{HEAD}Content-Length: 1\r\n\r\n{{"), "").await;
    assert!(error.to_string().contains("within an event"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = server(list(), String::new(), Vec::new()).await;
    let away =
        format!("HTTP/1.1 302 Found\r\nLocation: http://{other}/\r\nContent-Length: 0\r\n\r\n");
    let error = refused(String::new(), away, "").await;
    assert!(error.to_string().contains("302"), "{error}");
}

#[tokio::test]
async fn an_error_text_is_told_in_part_and_without_control_characters() {
    let long = "\u{1b}[31m".repeat(10_000);
    for body in [long.clone(), serde_json::json!({"message": long}).to_string()] {
        let length = body.len();
        let start = format!("HTTP/1.1 500 Oops\r\nContent-Length: {length}\r\n\r\n{body}");
        let text = format!("{:#}", refused(String::new(), start, "").await);
        assert!(!text.contains('\u{1b}') && text.len() < 1_500, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_drips_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4_096];
                let _ = stream.read(&mut asked).await;
                let head = format!("{HEAD}Content-Length: 100000\r\n\r\n");
                let mut is_read = stream.write_all(head.as_bytes()).await.is_ok();
                while is_read {
                    tokio::time::sleep(secs(1)).await;
                    is_read = stream.write_all(b" ").await.is_ok();
                }
            });
        }
    });
    let config = KubernetesConfig::default().with_address(format!("http://{address}"));
    let watched = Kubernetes::new(config).unwrap().service("web").unwrap();
    let mut state = <KubernetesService as Source>::State::default();
    let start = tokio::time::Instant::now();
    let error = watched.source().observe(&mut state).await.unwrap_err();
    assert!(Error::from_service(error).is_timeout());
    assert_eq!(start.elapsed().as_secs(), 10);
}
