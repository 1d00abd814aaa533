//! The double answers as the recorded API server of Kubernetes 1.20.2 did.

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    double::{Access, Double},
    objects::Objects,
};

/// Those that mean something.
const HEADERS: &[&str] =
    &["cache-control", "content-type", "retry-after", "x-content-type-options"];

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn recorded(name: &str) -> Self {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/discover_kubernetes");
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

    /// The body as JSON; of a watch each line, in an order that does not depend on the server.
    fn values(&self) -> Vec<Value> {
        match serde_json::from_str(&self.body) {
            Ok(value) => vec![value],
            Err(_) => {
                let line = |line: &str| serde_json::from_str(line).unwrap_or(line.into());
                let mut lines: Vec<Value> = self.body.lines().map(line).collect();
                lines.sort_by_key(|line| {
                    let metadata = &line["object"]["metadata"];
                    (metadata["name"].to_string(), line["type"].to_string())
                });
                lines
            }
        }
    }
}

async fn ask(double: &Double, target: &str, token: &str) -> Answer {
    let stream = TcpStream::connect(double.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().uri(target).header("host", "kubernetes");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
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
    assert_eq!(answered.values(), recorded.values(), "{name}");
}

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

/// Three slices and a Service, as they were when the recordings were made.
async fn recorded() -> Double {
    let double = Double::start().await;
    let list = Answer::recorded("slices-list").values().remove(0);
    let service = Answer::recorded("service-get").values().remove(0);
    double.objects(|objects| {
        for slice in list["items"].as_array().unwrap() {
            objects.put(slice.clone());
        }
        // What else was made then.
        objects.revision = 187;
        objects.put_service("default", "web", service);
    });
    double
}

/// What was done while the watch was recorded.
fn change(objects: &mut Objects) {
    for line in Answer::recorded("slices-watch-events").body.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        match event["type"].as_str().unwrap() {
            "DELETED" => {
                let name = event["object"]["metadata"]["name"].as_str().unwrap();
                assert!(objects.delete("default", name));
            }
            "BOOKMARK" => {}
            _ => objects.put(event["object"].clone()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_double_lists_as_the_recorded_server() {
    let double = recorded().await;
    let of_web = "labelSelector=kubernetes.io%2Fservice-name%3Dweb";
    for (name, target) in [
        ("slices-list", format!("{SLICES}?{of_web}")),
        ("slices-list-limit1", format!("{SLICES}?{of_web}&limit=1")),
        ("slices-list-rv0", format!("{SLICES}?{of_web}&resourceVersion=0&limit=1")),
        ("slices-get", format!("{SLICES}/web-1")),
        ("slices-404", format!("{SLICES}/none")),
        ("slices-bad-selector", format!("{SLICES}?labelSelector=%3D%3D")),
        ("service-get", "/api/v1/namespaces/default/services/web".to_owned()),
        ("unknown-group", "/apis/nothing.k8s.io/v1/things".to_owned()),
    ] {
        same(name, &ask(&double, &target, "").await);
    }
}

#[tokio::test(start_paused = true)]
async fn the_double_watches_as_the_recorded_server() {
    let double = recorded().await;
    double.objects(change);
    let watch = |more: &str| format!("{SLICES}?watch=true&{more}");
    for (name, more) in [
        ("slices-watch-events", "resourceVersion=188&allowWatchBookmarks=true&timeoutSeconds=4"),
        ("slices-watch-no-rv", "timeoutSeconds=1"),
        ("slices-watch-410", "resourceVersion=1"),
        ("slices-watch-bad-rv", "resourceVersion=abc"),
        (
            "slices-watch-future-rv",
            "resourceVersion=99999999&timeoutSeconds=4&allowWatchBookmarks=true",
        ),
    ] {
        same(name, &ask(&double, &watch(more), "").await);
    }
    let list = |more: &str| format!("{SLICES}?{more}");
    let future = ask(&double, &list("resourceVersion=99999999"), "").await;
    same("list-future-rv", &future);
    let old = ask(&double, &list("resourceVersion=1&resourceVersionMatch=Exact"), "").await;
    same("list-exact-old-rv", &old);
}

#[tokio::test(start_paused = true)]
async fn the_double_forgets_as_the_recorded_server() {
    let double = recorded().await;
    let first = ask(&double, &format!("{SLICES}?limit=1"), "").await;
    let next = first.values()[0]["metadata"]["continue"].as_str().unwrap().to_owned();
    double.objects(|objects| {
        objects.revision += 1;
        objects.compact();
    });
    let over = ask(&double, &format!("{SLICES}?limit=1&continue={next}"), "").await;
    same("slices-list-continue-410", &over);
    // Its own token goes on.
    let next = over.values()[0]["metadata"]["continue"].as_str().unwrap().to_owned();
    let rest = ask(&double, &format!("{SLICES}?continue={next}"), "").await;
    let names: Vec<_> = rest.values()[0]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].clone())
        .collect();
    assert_eq!(names, [json!("web-2"), json!("web-3")]);
}

#[tokio::test(start_paused = true)]
async fn the_double_refuses_as_the_recorded_server() {
    let double = recorded().await;
    double.asks_for_tokens(&["good"]);
    same("unauthorized-401", &ask(&double, SLICES, "bad").await);
    same("forbidden-403", &ask(&double, SLICES, "").await);
    assert_eq!(ask(&double, SLICES, "good").await.status, 200);
    double.is(Access::Forbidden);
    same("forbidden-403", &ask(&double, SLICES, "good").await);
}
