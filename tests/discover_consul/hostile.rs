//! Answers that no Consul gives.

use std::{net::SocketAddr, time::Duration};

use tower_upstream::{
    BoxError,
    discover::{Consul, ConsulConfig, ConsulService, Source},
};

use crate::{
    hostile_http::{self as hostile, Reads},
    support::secs,
};

struct Web;

impl Reads for Web {
    const HEAD: &'static str =
        "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nX-Consul-Knownleader: true\r\n";
    const OPEN: &'static str = "[";
    const NAME: &'static str = "Consul";
    const TIMEOUT: Duration = secs(10);

    async fn read(at: SocketAddr) -> Result<(), BoxError> {
        let config = ConsulConfig::default().with_address(at.to_string());
        let consul = Consul::new(config.with_max_response_bytes(1 << 20)).unwrap();
        let watched = consul.service("web").unwrap();
        let mut state = <ConsulService as Source>::State::default();
        watched.source().observe(&mut state).await.map(drop)
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_the_limit() {
    hostile::a_body_over_the_limit::<Web>().await;
}

#[tokio::test]
async fn a_body_without_an_end_is_refused_with_the_limit() {
    hostile::a_body_without_an_end::<Web>().await;
}

#[tokio::test]
async fn headers_without_an_end_are_refused() {
    hostile::headers_without_an_end::<Web>().await;
}

#[tokio::test]
async fn lists_in_lists_without_an_end_are_refused() {
    hostile::lists_without_an_end::<Web>(&["["]).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    hostile::a_redirect::<Web>("[]").await;
}

#[tokio::test]
async fn what_is_no_http_or_breaks_off_is_refused() {
    hostile::what_is_no_http_or_breaks_off::<Web>().await;
}

#[tokio::test]
async fn an_error_text_is_told_in_part_and_without_control_characters() {
    hostile::a_long_error_text::<Web>().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_drips_is_given_up_in_time() {
    hostile::an_answer_that_drips::<Web>().await;
}
