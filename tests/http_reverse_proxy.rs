//! What a reverse proxy tells endpoints of a client, and what it keeps to itself.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use http::{
    Extensions, HeaderMap, Method, Request, Response, StatusCode, Version, header::UPGRADE,
    uri::Scheme,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Error,
    error::Kind,
    http::{ClientIp, ReverseProxyLayer},
};

type Peer = fn(&Extensions) -> Option<IpAddr>;

/// Trusts 10.0.0.0/8.
fn client_ip() -> ClientIp<Peer> {
    let peer: Peer = |extensions| extensions.get().copied();
    ClientIp::new(peer).trust(["10.0.0.0/8", "fd00::/8"]).unwrap()
}

fn request(peer: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get("/path").header("host", "example.com:8080");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).unwrap();
    request.extensions_mut().insert(peer.parse::<IpAddr>().unwrap());
    request
}

/// The headers that an endpoint gets, and its answer as the client gets it.
async fn through(
    layer: ReverseProxyLayer<Peer>,
    request: Request<()>,
    answer: Response<()>,
) -> (Option<HeaderMap>, Result<Response<()>, Error>) {
    let seen = Arc::new(Mutex::new(None));
    let (sees, answer) = (seen.clone(), Mutex::new(Some(answer)));
    let endpoint = service_fn(move |request: Request<()>| {
        *sees.lock().unwrap() = Some(request.headers().clone());
        let answer = answer.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(answer) }
    });
    let result = ServiceBuilder::new().layer(layer).service(endpoint).oneshot(request).await;
    (seen.lock().unwrap().take(), result)
}

async fn sent(layer: ReverseProxyLayer<Peer>, request: Request<()>) -> HeaderMap {
    let (seen, result) = through(layer, request, Response::new(())).await;
    result.unwrap();
    seen.unwrap()
}

/// What is told of a client, in the order `X-Forwarded-For`, `-Host`, `-Proto`, `Forwarded`.
fn told(headers: &HeaderMap) -> [&str; 4] {
    ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded"].map(|name| {
        assert!(headers.get_all(name).iter().count() <= 1, "{headers:?}");
        headers.get(name).map_or("", |value| value.to_str().unwrap())
    })
}

#[tokio::test]
async fn what_a_client_says_of_itself_is_replaced() {
    let lies = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-forwarded-host", "bank.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-real-ip", "1.1.1.1"),
        ("forwarded", "for=1.1.1.1;proto=https"),
        // Nor can it have them removed after they were written.
        ("connection", "x-forwarded-for, forwarded, host"),
    ];
    for client in [client_ip(), client_ip().forwarded()] {
        let headers = sent(ReverseProxyLayer::new(client), request("203.0.113.9", &lies)).await;
        let element = "for=203.0.113.9;host=\"example.com:8080\";proto=http";
        assert_eq!(told(&headers), ["203.0.113.9", "example.com:8080", "http", element]);
        assert_eq!(headers.len(), 5, "{headers:?}");
        assert_eq!(headers["host"], "example.com:8080");
    }
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_as_far_as_its_word_goes() {
    let fields = [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
        ("x-forwarded-for", "10.0.0.7"),
        ("x-forwarded-host", "example.com"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=1.1.1.1"),
    ];
    let headers = sent(ReverseProxyLayer::new(client_ip()), request("10.0.0.8", &fields)).await;
    // Not 6.6.6.6, which 203.0.113.9 made up.
    let elements = "for=203.0.113.9;host=example.com;proto=https, for=10.0.0.7, \
                    for=10.0.0.8;host=\"example.com:8080\";proto=http";
    let chain = "203.0.113.9, 10.0.0.7, 10.0.0.8";
    assert_eq!(told(&headers), [chain, "example.com", "https", elements]);
    assert_eq!(headers["x-forwarded-port"], "443");
}

#[tokio::test]
async fn a_trusted_proxy_that_writes_forwarded_is_believed_by_that() {
    let first = "for=\"[2001:db8::1]:4711\";host=\"example.com\";proto=https;by=_edge";
    let fields = [
        ("forwarded", &*format!("for=6.6.6.6;host=evil, {first}")),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-port", "1"),
    ];
    let layer = ReverseProxyLayer::new(client_ip().forwarded());
    let headers = sent(layer.clone(), request("fd00::8", &fields)).await;
    let elements = format!("{first}, for=\"[fd00::8]\";host=\"example.com:8080\";proto=http");
    assert_eq!(told(&headers), ["2001:db8::1, fd00::8", "example.com", "https", &elements]);
    assert!(!headers.contains_key("x-forwarded-port"), "{headers:?}");
    // A proxy may hide the address.
    let hidden = request("10.0.0.8", &[("forwarded", "for=_hidden;proto=https")]);
    let headers = sent(layer, hidden).await;
    assert_eq!(told(&headers)[..3], ["unknown, 10.0.0.8", "example.com:8080", "https"]);
}

#[tokio::test]
async fn a_trusted_proxy_that_says_nothing_is_the_client() {
    let headers = sent(
        ReverseProxyLayer::new(client_ip()).with_scheme(Scheme::HTTPS),
        request("::ffff:10.0.0.8", &[]),
    )
    .await;
    let element = "for=10.0.0.8;host=\"example.com:8080\";proto=https";
    assert_eq!(told(&headers), ["10.0.0.8", "example.com:8080", "https", element]);
}

#[tokio::test]
async fn without_an_address_nothing_is_believed() {
    let mut request = request("10.0.0.8", &[("x-forwarded-for", "1.1.1.1")]);
    request.extensions_mut().clear();
    *request.uri_mut() = "http://user@[fe80::1%25eth0]:80/".parse().unwrap();
    let headers = sent(ReverseProxyLayer::new(client_ip()), request).await;
    let element = "for=unknown;host=\"[fe80::1]:80\";proto=http";
    assert_eq!(told(&headers), ["", "[fe80::1]:80", "http", element]);
}

#[tokio::test]
async fn what_is_told_of_earlier_proxies_is_bounded_and_well_formed() {
    let many = vec!["10.1.1.1"; 10_000].join(", ");
    let fields = [("x-forwarded-for", &*many), ("x-forwarded-host", "a\";for=1.1.1.1, for=\\")];
    let headers = sent(ReverseProxyLayer::new(client_ip()), request("10.0.0.8", &fields)).await;
    assert_eq!(told(&headers)[0].split(", ").count(), 33);
    let elements = told(&headers)[3];
    let first = r#"for=10.1.1.1;host="a\";for=1.1.1.1, for=\\", for=10.1.1.1, "#;
    assert!(elements.starts_with(first), "{elements}");
}

#[tokio::test]
async fn fields_of_a_connection_stay_on_it_in_both_directions() {
    let answer = Response::builder()
        .version(Version::HTTP_10)
        .header("connection", "x-hop, close")
        .header("x-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("transfer-encoding", "chunked")
        .header("proxy-authenticate", "Basic")
        .header("upgrade", "h2c")
        .header("trailer", "x-sum")
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2")
        .body(())
        .unwrap();
    let asks = [("te", "trailers, gzip"), ("connection", "te, x-hop"), ("x-hop", "1")];
    let (seen, answered) =
        through(ReverseProxyLayer::new(client_ip()), request("10.0.0.8", &asks), answer).await;
    let (seen, answered) = (seen.unwrap(), answered.unwrap());
    assert_eq!(seen["te"], "trailers");
    assert!(!seen.contains_key("x-hop") && !seen.contains_key("connection"), "{seen:?}");
    assert_eq!(answered.version(), Version::HTTP_11);
    let mut left: Vec<_> = answered.headers().iter().map(|(name, _)| name.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["set-cookie", "set-cookie", "trailer"]);
}

#[tokio::test]
async fn via_names_this_proxy_both_ways_if_it_is_given_a_name() {
    let mut asks = request("10.0.0.8", &[("via", "1.0 fred")]);
    *asks.version_mut() = Version::HTTP_2;
    let layer = ReverseProxyLayer::new(client_ip()).with_via("edge 1\r\n");
    let (seen, answered) = through(layer, asks, Response::new(())).await;
    let via = |headers: &HeaderMap| {
        headers.get_all("via").iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(via(&seen.unwrap()), ["1.0 fred", "2 edge1"]);
    assert_eq!(via(answered.unwrap().headers()), ["1.1 edge1"]);
    let headers = sent(ReverseProxyLayer::new(client_ip()), request("10.0.0.8", &[])).await;
    assert!(via(&headers).is_empty());
}

#[tokio::test]
async fn a_tunnel_is_refused_unsent() {
    let mut asks = request("10.0.0.8", &[]);
    *asks.method_mut() = Method::CONNECT;
    let (seen, answered) =
        through(ReverseProxyLayer::new(client_ip()), asks, Response::new(())).await;
    let error = answered.unwrap_err();
    assert!(seen.is_none() && error.is_unsent() && error.kind() == Kind::InvalidRequest);
}

#[tokio::test]
async fn an_upgrade_is_not_asked_for_where_the_server_cannot_hand_out_its_connection() {
    let asks = [("connection", "upgrade"), ("upgrade", "websocket")];
    let switched = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(UPGRADE, "websocket")
        .body(())
        .unwrap();
    let (seen, answered) =
        through(ReverseProxyLayer::new(client_ip()), request("10.0.0.8", &asks), switched).await;
    assert!(!seen.unwrap().contains_key(UPGRADE));
    // So an endpoint that changes its protocol does so unasked.
    assert_eq!(answered.unwrap_err().kind(), Kind::Transport);
}
