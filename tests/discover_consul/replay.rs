//! The double answers as the recorded Consul 1.8.7 did.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::double::{Double, May};

/// Those that mean something.
const HEADERS: &[&str] = &[
    "age",
    "allow",
    "content-type",
    "x-cache",
    "x-consul-default-acl-policy",
    "x-consul-effective-consistency",
    "x-consul-index",
    "x-consul-knownleader",
    "x-consul-lastcontact",
    "x-consul-query-backend",
    "x-consul-results-filtered-by-acls",
];

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn recorded(name: &str) -> Self {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/discover_consul");
        let path = folder.join("recordings").join(format!("{name}.http"));
        let text = std::fs::read_to_string(path).unwrap().replace('\r', "");
        let (head, body) = text.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        });
        Self { status, headers: headers.collect(), body: body.trim().to_owned() }
    }

    fn named_headers(&self) -> Vec<(&str, &HeaderValue)> {
        HEADERS.iter().filter_map(|name| Some((*name, self.headers.get(*name)?))).collect()
    }

    fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(self.body.clone().into())
    }
}

async fn ask(double: &Double, method: &str, target: &str, token: &str, body: &str) -> Answer {
    let stream = TcpStream::connect(double.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method.parse::<Method>().unwrap())
        .uri(target)
        .header("host", "consul");
    if !token.is_empty() {
        request = request.header("x-consul-token", token);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    connection.abort();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answer { status: head.status, headers: head.headers, body: body.trim().to_owned() }
}

fn same(name: &str, answered: &Answer) {
    let recorded = Answer::recorded(name);
    assert_eq!(answered.status, recorded.status, "{name}");
    assert_eq!(answered.named_headers(), recorded.named_headers(), "{name}");
    assert_eq!(answered.value(), recorded.value(), "{name}");
}

/// Three instances, as they were when the recordings were made.
async fn recorded() -> Double {
    let double = Double::start().await;
    double.is_old();
    for instance in [
        json!({"ID": "web-1", "Name": "web", "Tags": ["v1"], "Address": "127.0.0.1", "Port": 9001,
               "Meta": {"zone": "a"}, "Weights": {"Passing": 10, "Warning": 1},
               "Check": {"CheckID": "w1", "TTL": "30s", "Status": "passing"}}),
        json!({"ID": "web-2", "Name": "web", "Port": 9002,
               "TaggedAddresses": {"lan": {"Address": "127.0.0.2", "Port": 9102}},
               "Check": {"CheckID": "w2", "TTL": "30s", "Status": "warning"}}),
        json!({"ID": "web-3", "Name": "web", "Address": "::1", "Port": 9003,
               "Check": {"CheckID": "w3", "TTL": "30s"}}),
    ] {
        double.register(instance);
    }
    double.catalog(|catalog| catalog.maintain("web-3", Some("test")));
    double
}

#[tokio::test(start_paused = true)]
async fn the_double_reads_as_the_recorded_consul() {
    let double = recorded().await;
    let web = "/v1/health/service/web";
    for (name, target) in [
        ("health-service-all", web),
        ("health-service-stale", "/v1/health/service/web?stale"),
        ("health-service-consistent", "/v1/health/service/web?consistent"),
        ("health-service-cached", "/v1/health/service/web?cached"),
        ("health-service-cached-hit", "/v1/health/service/web?cached"),
        ("health-service-near", "/v1/health/service/web?near=_agent"),
        ("health-service-passing", "/v1/health/service/web?passing=1"),
        ("health-service-tag", "/v1/health/service/web?tag=v1"),
        ("health-service-filter", "/v1/health/service/web?filter=%22v1%22%20in%20Service.Tags"),
        ("health-service-unknown", "/v1/health/service/nothing"),
        ("health-future-index", "/v1/health/service/web?index=99999&wait=1s"),
        ("health-bad-index", "/v1/health/service/web?index=x"),
        ("health-bad-wait", "/v1/health/service/web?index=1&wait=x"),
        ("health-bad-dc", "/v1/health/service/web?dc=nowhere"),
        ("health-bad-filter", "/v1/health/service/web?filter=x"),
        ("catalog-services", "/v1/catalog/services"),
        ("agent-services", "/v1/agent/services"),
        ("not-found", "/v1/nothing"),
    ] {
        same(name, &ask(&double, "GET", target, "", "").await);
    }
    same("method-not-allowed", &ask(&double, "POST", web, "", "").await);
}

#[tokio::test(start_paused = true)]
async fn the_double_writes_as_the_recorded_consul() {
    let double = recorded().await;
    let register = "/v1/agent/service/register";
    for (name, target, body) in [
        ("register-200", register, r#"{"ID": "x-1", "Name": "x", "Port": 1}"#),
        ("register-noname", register, "{}"),
        ("register-bad-json", register, "{"),
        ("register-bad-check", register, r#"{"Name": "x", "Check": {"TTL": "x"}}"#),
        ("deregister", "/v1/agent/service/deregister/x-1", ""),
        ("deregister-unknown", "/v1/agent/service/deregister/x-1", ""),
        ("check-unknown", "/v1/agent/check/update/nope", r#"{"Status": "passing"}"#),
    ] {
        same(name, &ask(&double, "PUT", target, "", body).await);
    }
}

#[tokio::test(start_paused = true)]
async fn the_double_denies_as_the_recorded_consul() {
    let double = Double::start().await;
    double.is_old();
    double.up("web", "web-1", 1);
    double.asks_for_tokens(&[("good", May::All)]);
    let web = "/v1/health/service/web";
    same("acl-bad-token", &ask(&double, "GET", web, "bad", "").await);
    same("acl-health-anonymous", &ask(&double, "GET", web, "", "").await);
    let body = r#"{"Name": "x"}"#;
    let denied = ask(&double, "PUT", "/v1/agent/service/register", "", body).await;
    same("acl-register-denied", &denied);
    assert_ne!(ask(&double, "GET", web, "good", "").await.body, "[]");
}
