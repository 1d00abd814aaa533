//! Answers that no Consul gives.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower_upstream::{
    discover::{Consul, ConsulConfig, ConsulService, Source},
    error::{Error, Kind},
};

use crate::{raw::server, support::secs};

const HEAD: &str = "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nX-Consul-Knownleader: true\r\n";

/// What a watch makes of it.
async fn refused(start: impl Into<String>, again: impl Into<Vec<u8>>) -> Error {
    let address = server(start.into(), again.into()).await;
    let config = ConsulConfig::default().with_address(address.to_string());
    let consul = Consul::new(config.with_max_response_bytes(1 << 20)).unwrap();
    let watched = consul.service("web").unwrap();
    let mut state = <ConsulService as Source>::State::default();
    let observed = tokio::time::timeout(secs(60), watched.source().observe(&mut state)).await;
    let error = Error::from_service(observed.expect("it is still reading").unwrap_err());
    let text = format!("{error:#}");
    assert!(text.contains("Consul") && text.len() < 2_000, "{text}");
    error
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_the_limit() {
    let over = format!("{HEAD}Content-Length: 10485760\r\n\r\n");
    let error = refused(over, vec![b' '; 4_096]).await;
    assert_eq!(error.kind(), Kind::Transport);
    assert!(format!("{error:#}").contains("1048576 bytes"), "{error:#}");
}

#[tokio::test]
async fn a_body_without_an_end_is_refused_with_the_limit() {
    let chunk = format!("1000\r\n{}\r\n", "[".repeat(4_096));
    let error = refused(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n"), chunk).await;
    assert!(format!("{error:#}").contains("1048576 bytes"), "{error:#}");
}

#[tokio::test]
async fn headers_without_an_end_are_refused() {
    let error = refused(HEAD, "X-More: more\r\n").await;
    assert_eq!(error.kind(), Kind::Connection);
}

#[tokio::test]
async fn lists_in_lists_without_an_end_are_refused() {
    let body = "[".repeat(500_000);
    let error = refused(format!("{HEAD}Content-Length: 500000\r\n\r\n{body}"), "").await;
    assert_eq!(error.kind(), Kind::Transport);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = server(format!("{HEAD}Content-Length: 2\r\n\r\n[]"), Vec::new()).await;
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
    let broken = format!("{HEAD}Content-Length: 100\r\n\r\n[");
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
    let consul = Consul::new(ConsulConfig::default().with_address(address.to_string())).unwrap();
    let watched = consul.service("web").unwrap();
    let mut state = <ConsulService as Source>::State::default();
    let start = tokio::time::Instant::now();
    let error = watched.source().observe(&mut state).await.unwrap_err();
    assert!(Error::from_service(error).is_timeout());
    assert_eq!(start.elapsed().as_secs(), 10);
}
