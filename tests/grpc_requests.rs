//! What a caller of a plugin over gRPC may send, and what it is told.
#![cfg(feature = "grpc")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod grpc;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use grpc::{message, within};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::timeout;
use tower::{Service, ServiceExt, service_fn};
use tower_upstream::{
    Call, Endpoint, Reply,
    connect::Connect,
    error::Kind,
    member::Member,
    serve::{self, GrpcBody},
    transport::{GrpcConfig, GrpcService, GrpcTransport},
};

const EXECUTE: &str = "/PluginService/Execute";

fn plugin() -> impl Service<Request<Full<Bytes>>, Response = Response<GrpcBody>, Error = Infallible>
{
    let double = |call: Call<u64>| async move { Ok::<_, Infallible>(Reply::new(call.body() * 2)) };
    serve::grpc(service_fn(double))
}

/// The status over HTTP, the head, and the trailers if there are any.
async fn answer(request: Request<Full<Bytes>>) -> (u16, HeaderMap, Option<HeaderMap>) {
    let (parts, body) = within(plugin().oneshot(request)).await.unwrap().into_parts();
    let trailers = within(body.collect()).await.unwrap().trailers().cloned();
    (parts.status.as_u16(), parts.headers, trailers)
}

/// The status of gRPC that a message is answered with.
async fn code(headers: &[(&'static str, &'static str)], body: &[u8]) -> (String, HeaderMap) {
    let mut request = Request::post(EXECUTE).body(Full::new(Bytes::copy_from_slice(body))).unwrap();
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().append(*name, http::HeaderValue::from_static(value));
    }
    let (status, head, trailers) = answer(request).await;
    assert_eq!((status, head["content-type"].to_str().unwrap()), (200, "application/grpc"));
    let status = trailers.as_ref().unwrap_or(&head)["grpc-status"].to_str().unwrap().to_owned();
    (status, head)
}

#[tokio::test]
async fn what_is_no_grpc_is_told_so_over_http() {
    let request = |method: &str, kind: &str| {
        let request = Request::builder().method(method).uri(EXECUTE);
        let request = if kind.is_empty() { request } else { request.header("content-type", kind) };
        request.body(Full::new(message("7"))).unwrap()
    };
    for (method, kind, status) in [
        ("GET", "application/grpc", 405),
        ("PUT", "application/grpc", 405),
        ("POST", "", 415),
        ("POST", "text/plain", 415),
        ("POST", "application/json", 415),
        ("POST", "application/grpc-web", 415),
        ("POST", "application/grpcx", 415),
        ("POST", "application/grpc", 200),
        ("POST", "application/grpc+proto", 200),
        ("POST", "application/grpc;charset=x", 200),
    ] {
        let (found, head, _) = answer(request(method, kind)).await;
        assert_eq!(found, status, "{method} {kind}");
        assert_eq!(head.contains_key("content-type"), status == 200, "{method} {kind}");
    }
    for path in ["/", "//", "/PluginService", "/PluginService/", "/PluginService/execute", "/a/b/c"]
    {
        let request = Request::post(path).header("content-type", "application/grpc");
        let (status, head, _) = answer(request.body(Full::new(message("7"))).unwrap()).await;
        assert_eq!((status, head["grpc-status"].to_str().unwrap()), (200, "12"), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_one_message_is_told_why() {
    let gzip = ("grpc-encoding", "gzip");
    for (headers, body, expected) in [
        (&[][..], &b"\0\0\0\0\x017"[..], "0"),
        (&[("grpc-encoding", "identity")], b"\0\0\0\0\x017", "0"),
        // Which says only what a message that is compressed would be.
        (&[gzip], b"\0\0\0\0\x017", "0"),
        (&[], b"", "12"),
        (&[], b"\0\0\0\0\x017\0\0\0\0\x017", "12"),
        (&[], b"\0", "3"),
        (&[], b"\0\0\0\0\x02", "3"),
        (&[], b"\0\0\0\0\x027", "3"),
        (&[], b"\0\xff\xff\xff\xff7", "3"),
        (&[], b"\x02\0\0\0\x017", "3"),
        (&[], b"{\"net\": 7}", "3"),
        (&[], b"\x01\0\0\0\x017", "13"),
        (&[gzip], b"\x01\0\0\0\x017", "12"),
        (&[], b"\0\0\0\0\x01x", "3"),
    ] {
        let (found, head) = code(headers, body).await;
        assert_eq!(found, expected, "{headers:?} {body:?}");
        let told = head.get("grpc-accept-encoding").is_some();
        assert_eq!(told, !headers.is_empty() && expected == "12", "{headers:?} {body:?}");
    }
}

/// What a plugin sees of a call with these headers.
async fn seen(headers: &[(&'static str, &[u8])]) -> Call<()> {
    let seen = Arc::new(Mutex::new(None));
    let sees = seen.clone();
    let plugin = serve::grpc(service_fn(move |call: Call<u64>| {
        *sees.lock().unwrap() = Some(call.map(drop));
        async { Ok::<_, Infallible>(Reply::new(7_u64)) }
    }));
    let mut request = Request::post(EXECUTE).body(Full::new(message("7"))).unwrap();
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().append(*name, http::HeaderValue::from_bytes(value).unwrap());
    }
    let response = within(plugin.oneshot(request)).await.unwrap();
    assert!(!response.headers().contains_key("grpc-status"), "{headers:?}");
    let seen = seen.lock().unwrap().take();
    seen.unwrap()
}

#[tokio::test]
async fn metadata_that_cannot_be_read_is_left_out_and_the_rest_is_read() {
    let call = seen(&[
        ("x-tenant", b"blue"),
        ("x-latin", b"caf\xe9"),
        ("x-padded-bin", b"w6k="),
        ("x-plain-bin", b"w6k"),
        ("x-garbage-bin", b"%%%"),
        ("x-bytes-bin", b"/w=="),
        ("x-empty-bin", b""),
        ("x-metadata-bin", b"bm8ganNvbg"),
        ("x-request-id", b""),
        ("grpc-whatever", b"7"),
        ("te", b"trailers"),
    ])
    .await;
    let expected =
        [("x-empty-bin", ""), ("x-padded-bin", "é"), ("x-plain-bin", "é"), ("x-tenant", "blue")];
    assert!(call.headers().iter().map(|(k, v)| (&**k, &**v)).eq(expected), "{call:?}");
    assert!(call.metadata().is_empty() && call.id().starts_with("req_"), "{call:?}");
}

#[tokio::test]
async fn a_timeout_is_one_of_the_standard_or_none() {
    for (text, most) in [
        ("1H", 3_600),
        ("99999999M", 99_999_999 * 60),
        ("99999999S", 99_999_999),
        ("2000m", 2),
        ("2000000u", 2),
    ] {
        let left = seen(&[("grpc-timeout", text.as_bytes())]).await.timeout().unwrap();
        let most = Duration::from_secs(most);
        assert!(left <= most && left >= most - Duration::from_secs(1), "{text}: {left:?}");
    }
    for text in ["1n", "0S"] {
        assert!(seen(&[("grpc-timeout", text.as_bytes())]).await.timeout().is_some(), "{text}");
    }
    // As long as there is time, rather than an overflow.
    let years = seen(&[("grpc-timeout", b"99999999H")]).await.timeout().unwrap();
    assert!(years > Duration::from_secs(86_400 * 365 * 29), "{years:?}");
    for text in ["", "1", "S", "123456789S", "-1S", "+1S", "1.5S", "1s", " 1S", "1S ", "\u{e9}S"] {
        let call = seen(&[("grpc-timeout", text.as_bytes())]).await;
        assert_eq!(call.timeout(), None, "{text}");
    }
}

/// A server of ours, which answers the length of a text.
async fn served() -> (Endpoint, tokio::task::JoinHandle<()>) {
    let length = async |call: Call<String>| {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Reply::new(call.body().len()))
    };
    let server = serve::grpc(service_fn(length)).bind("127.0.0.1:0").listen().await.unwrap();
    let endpoint = server.address().parse().unwrap();
    (endpoint, tokio::spawn(server.run_until(std::future::pending())))
}

fn connect(endpoint: &Endpoint) -> (GrpcTransport<String, usize>, GrpcService<String, usize>) {
    let config = GrpcConfig::default().with_max_request_bytes(8 << 20);
    let transport = GrpcTransport::with_config(config);
    let service = transport.connect(&Member::new(endpoint.clone()));
    (transport, service)
}

#[tokio::test]
async fn a_message_of_four_mebibytes_is_read_and_one_byte_more_is_not() {
    let (endpoint, _server) = served().await;
    let (transport, service) = connect(&endpoint);
    // With its quotes.
    let most = (4 << 20) - 2;
    for _ in 0..2 {
        let told = within(service.clone().oneshot(Call::new("x".repeat(most)))).await.unwrap();
        assert_eq!(told.into_body(), most);
        let long = service.clone().oneshot(Call::new("x".repeat(most + 1)));
        let error = within(long).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Plugin, "{error}");
        assert!(error.to_string().contains("`max_request_bytes`"), "{error}");
    }
    assert_eq!(transport.handle().connections(), 1);
}

#[tokio::test]
async fn more_metadata_than_a_server_reads_is_the_callers_fault_and_no_other_call_hears_of_it() {
    let (endpoint, _server) = served().await;
    let (transport, service) = connect(&endpoint);
    let short = || within(service.clone().oneshot(Call::new("x".to_owned())));
    assert!(short().await.is_ok());
    let many = (0..150).fold(Call::new(String::new()), |call, number| {
        call.with_header(format!("x-{number}"), "y")
    });
    // More than 8 KiB are well, and more than 64 KiB are not.
    let large = |bytes| Call::new("x".to_owned()).with_header("x-large", "y".repeat(bytes));
    assert!(within(service.clone().oneshot(large(20 << 10))).await.is_ok());
    for call in [many, large(100 << 10)] {
        let error = within(service.clone().oneshot(call)).await.unwrap_err();
        assert!(!error.is_unsent() && error.kind() == Kind::Plugin, "{error}");
        assert!(short().await.is_ok());
    }
    assert_eq!((transport.handle().connections(), transport.handle().stats().failed), (1, Some(0)));
}

#[tokio::test]
async fn calls_that_are_given_up_by_the_thousand_leave_the_others_alone() {
    let (endpoint, _server) = served().await;
    let (_, service) = connect(&endpoint);
    for round in 0..20 {
        let calls = (0..100).map(|number| {
            let call = service.clone().oneshot(Call::new("x".repeat(number * 10)));
            // Before they are sent, and after.
            timeout(Duration::from_micros(number as u64 * round), call)
        });
        join_all(calls).await;
        let told = within(service.clone().oneshot(Call::new("x".to_owned()))).await.unwrap();
        assert_eq!(told.into_body(), 1);
    }
}
