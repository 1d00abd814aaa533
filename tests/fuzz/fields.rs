//! Fields of headers, and addresses.

use std::{net::IpAddr, time::Duration};

use http::{HeaderName, HeaderValue, Request, Response};
use tower::Service;
use tower_upstream::{
    Call, Classify, Endpoint, Outcome,
    connect::Connect,
    http::{ClientIp, HttpClassify},
    member::Member,
    transport::{HttpTransport, SocketTransport},
};

/// The lines that are fields, such as `Retry-After: 7`.
fn fields(bytes: &[u8]) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    bytes.split(|&byte| byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_bytes(&line[..at]).ok()?;
        Some((name, HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?))
    })
}

/// What proxies write of the client.
pub fn forwarded(bytes: &[u8]) {
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    let mut request = Request::new(());
    request.headers_mut().extend(fields(bytes));
    let client = || ClientIp::new(|_: &_| Some(PEER)).v6_prefix(128);
    for client in [client(), client().forwarded()] {
        assert_eq!(client.of(&request), Some(PEER));
        let trusting = client.trust(["10.0.0.0/8", "fd00::/8"]).unwrap();
        let found = trusting.of(&request).unwrap();
        assert_eq!(found, found.to_canonical());
        // What is found last is a client, or a proxy that wrote nothing that can be read.
        let all = trusting.trust(["0.0.0.0/0", "::/0"]).unwrap();
        assert!(all.of(&request).is_some());
    }
}

/// What an endpoint wishes that is asked too much.
pub fn wishes(bytes: &[u8]) {
    for status in [200, 429, 503] {
        let mut response = Response::builder().status(status).body(()).unwrap();
        response.headers_mut().extend(fields(bytes));
        let day = Duration::from_secs(86_400);
        if let Outcome::Overload { retry_after: Some(wait) } =
            HttpClassify.classify(Ok::<_, &()>(&response))
        {
            assert!(wait <= day, "{wait:?}");
        }
        let _ = HttpClassify.repeat(Ok::<_, &()>(&response));
    }
}

/// What discovery says of where an endpoint is.
pub fn address(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(endpoint) = Endpoint::new(&*text) else { return };
    let written = endpoint.address().to_string();
    let again = Endpoint::new(&*written).unwrap();
    assert_eq!(again.address(), endpoint.address(), "{written}");
    let member = Member::new(endpoint);
    // Nothing is sent before a future is polled.
    drop(HttpTransport::<u8, u8>::new().connect(&member).call(Call::new(1)));
    drop(SocketTransport::<u8, u8>::new().connect(&member).call(Call::new(1)));
}
