//! Answers that no Eureka gives.

use std::{io::Write, net::SocketAddr, time::Duration};

use flate2::{Compression, write::GzEncoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower_upstream::{
    BoxError,
    discover::{Eureka, EurekaConfig, EurekaService, Source},
};

use crate::{
    hostile_http::{self as hostile, Reads},
    support::secs,
};

struct Tax;

impl Reads for Tax {
    const HEAD: &'static str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    const OPEN: &'static str = "{";
    const NAME: &'static str = "Eureka at `http://127.0.0.1";
    const TIMEOUT: Duration = secs(5);

    async fn read(at: SocketAddr) -> Result<(), BoxError> {
        let config = EurekaConfig::default().with_urls([format!("http://{at}/eureka")]);
        let eureka = Eureka::new(config.with_max_response_bytes(1 << 20)).unwrap();
        let watched = eureka.service("tax").unwrap();
        let mut state = <EurekaService as Source>::State::default();
        watched.source().observe(&mut state).await.map(drop)
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_the_limit() {
    hostile::a_body_over_the_limit::<Tax>().await;
}

#[tokio::test]
async fn a_body_without_an_end_is_refused_with_the_limit() {
    hostile::a_body_without_an_end::<Tax>().await;
}

#[tokio::test]
async fn a_body_that_is_too_long_once_it_is_decompressed_is_refused() {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::best());
    zipped.write_all(&vec![b' '; 16 << 20]).unwrap();
    let zipped = zipped.finish().unwrap();
    let length = zipped.len();
    let head = format!("{}Content-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n", Tax::HEAD);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4_096]).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&zipped).await.unwrap();
        let _ = stream.shutdown().await;
    });
    let error = Tax::read(address).await.unwrap_err().to_string();
    assert!(error.contains("1048576 bytes after decompression"), "{error}");
    let other = format!("{}Content-Encoding: br\r\nContent-Length: 2\r\n\r\n[]", Tax::HEAD);
    let error = format!("{:#}", hostile::refused::<Tax>(other, "").await);
    assert!(error.contains("`br`"), "{error}");
}

#[tokio::test]
async fn headers_without_an_end_are_refused() {
    hostile::headers_without_an_end::<Tax>().await;
}

#[tokio::test]
async fn lists_in_lists_without_an_end_are_refused() {
    let deeper = r#"{"applications":{"application":[{"instance":["#;
    hostile::lists_without_an_end::<Tax>(&["[", r#"{"applications":"#, deeper]).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    hostile::a_redirect::<Tax>(r#"{"applications":{}}"#).await;
}

#[tokio::test]
async fn what_is_no_http_or_breaks_off_is_refused() {
    hostile::what_is_no_http_or_breaks_off::<Tax>().await;
}

#[tokio::test]
async fn an_error_text_is_told_in_part_and_without_control_characters() {
    hostile::a_long_error_text::<Tax>().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_drips_is_given_up_in_time() {
    hostile::an_answer_that_drips::<Tax>().await;
}
