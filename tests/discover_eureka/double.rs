//! A server of Eureka in this process. It answers as the recorded one did, and fails when it is told to.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use crate::{
    linked::{Answers, Linked, unescape},
    registry::Registry,
};

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub at: Instant,
    pub method: Method,
    /// As it was sent, below the base.
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: String,
}

#[derive(Default)]
struct State {
    registry: Registry,
    asked: Vec<Asked>,
    /// What is answered instead, to all requests below a path: status, kind and body.
    instead: BTreeMap<String, (u16, &'static str, String)>,
    /// Whether ids are looked for as they are written in the path.
    keeps_encoded: bool,
    /// Whether it tells nothing of what it has, as one that warms up.
    forbids_reads: bool,
}

/// What its tasks have.
#[derive(Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
}

pub struct Double {
    server: Server,
    link: Linked,
}

const JSON: &str = "application/json;charset=UTF-8";
const XML: &str = "application/xml";

/// As a server writes it for those that do not ask for JSON.
fn xml(name: &str, value: &Value) -> String {
    let escaped = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    let text = |value: &Value| escaped(value.as_str().unwrap_or(&value.to_string()));
    match value {
        Value::Array(list) => list.iter().map(|of| xml(name, of)).collect(),
        Value::Object(all) => {
            let (mut attributes, mut inner) = (String::new(), String::new());
            for (key, value) in all {
                match (key.strip_prefix('@'), &**key) {
                    (Some(key), _) => attributes += &format!(" {key}=\"{}\"", text(value)),
                    (None, "$") => inner += &text(value),
                    (None, key) => inner += &xml(key, value),
                }
            }
            format!("<{name}{attributes}>{inner}</{name}>")
        }
        Value::Null => String::new(),
        value => format!("<{name}>{}</{name}>", text(value)),
    }
}

impl Double {
    pub async fn start() -> Self {
        let server = Server { state: Arc::default(), changes: watch::Sender::new(0) };
        let mut link = Linked::start(server.clone()).await;
        let clock = server.clone();
        link.spawn(async move { clock.clock().await });
        Self { server, link }
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.link.address
    }

    pub fn url(&self) -> String {
        format!("http://{}/eureka", self.link.address)
    }

    pub fn registry<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        self.server.with(|state| change(&mut state.registry))
    }

    /// An instance that is up, and whose lease does not end soon.
    pub fn up(&self, app: &str, id: &str, port: u16) {
        self.put(app, id, json!({"port": {"$": port, "@enabled": "true"}}));
    }

    /// An instance with more than that.
    pub fn put(&self, app: &str, id: &str, more: Value) {
        let mut info = json!({
            "instanceId": id, "app": app, "hostName": "localhost", "ipAddr": "127.0.0.1", "vipAddress": app,
            "secureVipAddress": app, "status": "UP", "port": {"$": 80, "@enabled": "true"},
            "securePort": {"$": 443, "@enabled": "false"},
            "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
            "leaseInfo": {"durationInSecs": 86_400 * 365},
        });
        let all = info.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        self.registry(|registry| registry.register(app, info)).unwrap();
    }

    pub fn cancel(&self, app: &str, id: &str) {
        assert!(self.registry(|registry| registry.cancel(app, id)));
    }

    pub fn status(&self, app: &str, id: &str) -> String {
        let get =
            |registry: &mut Registry| Some(registry.get(app, id)?["status"].as_str()?.to_owned());
        self.registry(get).unwrap_or("none".to_owned())
    }

    /// Answers everything below a path so.
    pub fn answers(&self, path: &str, status: u16, body: &str) {
        self.answers_as(path, status, JSON, body);
    }

    pub fn answers_as(&self, path: &str, status: u16, kind: &'static str, body: &str) {
        let instead = (status, kind, body.to_owned());
        self.server.with(|state| state.instead.insert(path.to_owned(), instead));
    }

    pub fn answers_itself(&self) {
        self.server.with(|state| state.instead.clear());
    }

    pub fn keeps_encoded(&self) {
        self.server.with(|state| state.keeps_encoded = true);
    }

    pub fn forbids_reads(&self) {
        self.server.with(|state| state.forbids_reads = true);
    }

    pub fn partition(&self) {
        self.link.partition();
    }

    pub fn heal(&self) {
        self.link.heal();
    }

    pub async fn stop(&self) {
        self.link.stop().await;
    }

    /// Runs again, and knows nothing.
    pub async fn restart(&self) {
        self.registry(|registry| *registry = Registry::default());
        self.link.restart().await;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.server.state.lock().unwrap().asked.clone()
    }

    /// The requests since the last look, in short.
    pub fn take_asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut self.server.state.lock().unwrap().asked);
        asked.into_iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect()
    }
}

impl Answers for Server {
    async fn answer(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let pairs = head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let path = head.uri.path().trim_end_matches('/');
        let path = path.strip_prefix("/eureka").unwrap_or(path);
        let asked = Asked {
            at: Instant::now(),
            method: head.method,
            path: path.to_owned(),
            query: pairs.map(|(key, value)| (unescape(key), unescape(value))).collect(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        let (status, kind, body) = self.with(|state| {
            state.asked.push(asked.clone());
            // The longest that fits.
            let mut instead = state.instead.iter().rev();
            let instead = instead.find(|(path, _)| asked.path.starts_with(*path));
            match instead {
                Some((_, instead)) => instead.clone(),
                None => {
                    let (status, body) = state.route(&asked);
                    let takes_json =
                        asked.headers.get("accept").is_some_and(|of| of == "application/json");
                    match body {
                        None => (status, JSON, String::new()),
                        Some(body) if takes_json => (status, JSON, body.to_string()),
                        Some(body) => {
                            let root = body.as_object().and_then(|all| all.iter().next());
                            (status, XML, root.map(|(name, of)| xml(name, of)).unwrap_or_default())
                        }
                    }
                }
            }
        });
        self.written(&asked, status, kind, body)
    }
}

impl Server {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changes.send_modify(|number| *number += 1);
        result
    }

    /// Lets time end what has one.
    async fn clock(self) {
        let mut changes = self.changes.subscribe();
        loop {
            let due = self.state.lock().unwrap().registry.due();
            match due {
                None => drop(changes.changed().await),
                Some(due) => drop(tokio::time::timeout_at(due, changes.changed()).await),
            }
            self.state.lock().unwrap().registry.settle(Instant::now());
        }
    }

    fn written(
        &self,
        asked: &Asked,
        status: u16,
        kind: &str,
        body: String,
    ) -> Response<Full<Bytes>> {
        let mut answer = Response::builder().status(status);
        if body.is_empty() {
            return answer.body(Full::default()).unwrap();
        }
        answer = answer.header("content-type", kind);
        let takes = asked.headers.get("accept-encoding").is_some_and(|of| of == "gzip");
        if !takes {
            return answer.body(Full::from(body)).unwrap();
        }
        let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
        zipped.write_all(body.as_bytes()).unwrap();
        answer = answer.header("content-encoding", "gzip");
        answer.body(Full::from(zipped.finish().unwrap())).unwrap()
    }
}

impl State {
    fn route(&mut self, asked: &Asked) -> (u16, Option<Value>) {
        let registry = &mut self.registry;
        let found = |of: Option<Value>| of.map_or((404, None), |of| (200, Some(of)));
        let done = |is_known: bool| (if is_known { 200 } else { 404 }, None);
        let decoded: Vec<String> = asked.path.split('/').skip(1).map(unescape).collect();
        let written = asked.path.split('/').skip(1).map(str::to_owned).collect();
        let parts: Vec<String> = if self.keeps_encoded { written } else { decoded };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let parts = parts.strip_prefix(&["v2"]).unwrap_or(&parts);
        let value = asked.query.get("value").map(String::as_str);
        match (asked.method.as_str(), parts) {
            ("GET", _) if self.forbids_reads => (403, None),
            ("GET", ["apps"]) => (200, Some(registry.applications(|_| true))),
            ("GET", ["apps", "delta"]) => (200, Some(registry.delta())),
            ("GET", ["apps", app]) => found(registry.application(app)),
            ("GET", ["apps", app, id]) => {
                found(registry.get(app, id).map(|info| json!({ "instance": info })))
            }
            ("GET", ["instances", id]) => {
                let info = registry.all().find(|info| info["instanceId"] == *id);
                found(info.map(|info| json!({ "instance": info })))
            }
            ("GET", [kind @ ("vips" | "svips"), vip]) => {
                let key = if *kind == "vips" { "vipAddress" } else { "secureVipAddress" };
                let is_at = |info: &Value| {
                    info[key].as_str().is_some_and(|of| of.split(',').any(|of| of == *vip))
                };
                let all = registry.applications(is_at);
                let is_none =
                    all["applications"]["application"].as_array().is_some_and(Vec::is_empty);
                found((!is_none).then_some(all))
            }
            ("POST", ["apps", app]) => {
                let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
                match registry.register(app, body["instance"].clone()) {
                    Ok(()) => (204, None),
                    Err(why) => (400, Some(json!({ "error": why }))),
                }
            }
            ("PUT", ["apps", app, id]) => {
                let dirty = asked.query.get("lastDirtyTimestamp").and_then(|of| of.parse().ok());
                done(registry.renew(app, id, dirty))
            }
            ("DELETE", ["apps", app, id]) => done(registry.cancel(app, id)),
            ("PUT", ["apps", app, id, "status"]) => {
                done(registry.set_override(app, id, value, value.unwrap()))
            }
            ("DELETE", ["apps", app, id, "status"]) => {
                done(registry.set_override(app, id, None, value.unwrap_or("UNKNOWN")))
            }
            _ => (404, None),
        }
    }
}
