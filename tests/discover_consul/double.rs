//! A Consul agent in this process. It answers as a recorded one did, and fails when it is told to.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    catalog::{Catalog, wait},
    linked::{Answers, Linked, unescape},
};

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub at: Instant,
    pub method: Method,
    pub path: String,
    pub query: BTreeMap<String, Vec<String>>,
    pub token: Option<String>,
    pub body: String,
}

impl Asked {
    pub fn one(&self, key: &str) -> Option<&str> {
        self.query.get(key).and_then(|values| values.first()).map(String::as_str)
    }

    pub fn has(&self, key: &str) -> bool {
        self.query.contains_key(key)
    }
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum May {
    All,
    Nothing,
}

struct State {
    catalog: Catalog,
    asked: Vec<Asked>,
    leader_lost: Option<Instant>,
    /// `None`: all may do all.
    tokens: Option<HashMap<String, May>>,
    /// Whether it has the headers that 1.8 has not.
    newer: bool,
    /// What is answered instead, to all requests.
    instead: Option<(StatusCode, String)>,
    /// What is in the paths that no token may write.
    refused: Option<String>,
    /// How long it takes to answer a write.
    slowness: Duration,
    cache: HashMap<String, u64>,
    /// The index of all answers, whatever there is.
    shown_index: Option<String>,
}

pub struct Double {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
    link: Linked,
}

/// What its tasks have.
#[derive(Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
}

/// Longest wait for an index.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// How long a read looks for a leader.
const LEADER: Duration = Duration::from_millis(7_070);

impl Double {
    pub async fn start() -> Self {
        let state = State {
            catalog: Catalog::default(),
            asked: Vec::new(),
            leader_lost: None,
            tokens: None,
            newer: true,
            instead: None,
            refused: None,
            slowness: Duration::ZERO,
            cache: HashMap::new(),
            shown_index: None,
        };
        let server = Server { state: Arc::new(Mutex::new(state)), changes: watch::Sender::new(0) };
        let mut link = Linked::start(server.clone()).await;
        let clock = server.clone();
        link.spawn(async move { clock.clock().await });
        Self { address: link.address, state: server.state, changes: server.changes, link }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changes.send_modify(|number| *number += 1);
        result
    }

    pub fn catalog<T>(&self, change: impl FnOnce(&mut Catalog) -> T) -> T {
        self.with(|state| change(&mut state.catalog))
    }

    pub fn register(&self, body: Value) {
        self.catalog(|catalog| catalog.register(body, true)).unwrap();
    }

    /// An instance that passes.
    pub fn up(&self, service: &str, id: &str, port: u16) {
        self.register(json!({"ID": id, "Name": service, "Address": "127.0.0.1", "Port": port}));
    }

    pub fn deregister(&self, id: &str) {
        self.catalog(|catalog| catalog.deregister(id));
    }

    pub fn is_old(&self) {
        self.with(|state| state.newer = false);
    }

    pub fn loses_leader(&self) {
        self.with(|state| state.leader_lost = Some(Instant::now()));
    }

    pub fn elects_leader(&self) {
        self.with(|state| state.leader_lost = None);
    }

    pub fn asks_for_tokens(&self, tokens: &[(&str, May)]) {
        let tokens = tokens.iter().map(|(token, may)| ((*token).to_owned(), *may)).collect();
        self.with(|state| state.tokens = Some(tokens));
    }

    /// Answers everything so, or as it is again.
    pub fn answers(&self, instead: Option<(u16, &str)>) {
        let instead =
            instead.map(|(status, body)| (StatusCode::from_u16(status).unwrap(), body.to_owned()));
        self.with(|state| state.instead = instead);
    }

    /// Refuses what is written to paths with this in them.
    pub fn refuses(&self, part: &str) {
        self.with(|state| state.refused = Some(part.to_owned()));
    }

    pub fn is_slow(&self, slowness: Duration) {
        self.with(|state| state.slowness = slowness);
    }

    pub fn shows_index(&self, index: Option<&str>) {
        self.with(|state| state.shown_index = index.map(str::to_owned));
    }

    /// Nothing arrives, in either direction.
    pub fn partition(&self) {
        self.link.partition();
    }

    pub fn heal(&self) {
        self.link.heal();
    }

    /// All connections break, and new ones are refused.
    pub async fn stop(&self) {
        self.link.stop().await;
    }

    /// Runs again. What it knew is what `catalog` makes of it.
    pub async fn restart(&self, catalog: impl FnOnce(&mut Catalog)) {
        self.catalog(catalog);
        self.link.restart().await;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    pub fn asked_of(&self, path: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.path.starts_with(path)).collect()
    }
}

fn text(status: u16, body: impl Into<String>) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(status).header("vary", "Accept-Encoding");
    let body: String = body.into();
    let answer = match body.is_empty() {
        true => answer,
        false => answer.header("content-type", "text/plain; charset=utf-8"),
    };
    answer.body(Full::from(body)).unwrap()
}

impl Answers for Server {
    async fn answer(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        self.asked(request).await
    }
}

impl Server {
    /// Lets time end what has one.
    async fn clock(self) {
        let mut changes = self.changes.subscribe();
        loop {
            let due = self.state.lock().unwrap().catalog.due();
            match due {
                None => drop(changes.changed().await),
                Some(due) => {
                    let _ = tokio::time::timeout_at(due, changes.changed()).await;
                }
            }
            let changed = self.state.lock().unwrap().catalog.settle(Instant::now());
            if changed {
                self.changes.send_modify(|number| *number += 1);
            }
        }
    }

    async fn asked(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let mut query: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty())
        {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            query.entry(unescape(key)).or_default().push(unescape(value));
        }
        let token = head.headers.get("x-consul-token").map(|of| of.to_str().unwrap().to_owned());
        let asked = Asked {
            at: Instant::now(),
            method: head.method,
            path: unescape(head.uri.path()),
            query,
            token,
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        self.state.lock().unwrap().asked.push(asked.clone());
        self.route(&asked).await
    }

    async fn route(&self, asked: &Asked) -> Response<Full<Bytes>> {
        if let Some((status, body)) = self.state.lock().unwrap().instead.clone() {
            let mut answer = text(status.as_u16(), body);
            if status == StatusCode::TOO_MANY_REQUESTS {
                answer.headers_mut().insert("retry-after", "40".parse().unwrap());
            }
            return answer;
        }
        let parts: Vec<&str> = asked.path.split('/').skip(1).collect();
        let expected = match &parts[..] {
            ["v1", "health", "service", ..] | ["v1", "catalog", "services"] => Method::GET,
            ["v1", "agent", "services"] | ["v1", "agent", "health", ..] => Method::GET,
            ["v1", "agent", ..] => Method::PUT,
            _ => return text(404, ""),
        };
        if asked.method != expected {
            let mut answer = text(405, format!("method {} not allowed", asked.method));
            let allow = format!("OPTIONS,{expected}");
            answer.headers_mut().insert("allow", allow.parse().unwrap());
            return answer;
        }
        if expected == Method::PUT {
            let (refused, slowness) = {
                let state = self.state.lock().unwrap();
                (state.refused.clone(), state.slowness)
            };
            tokio::time::sleep(slowness).await;
            if refused.is_some_and(|part| asked.path.contains(&part)) {
                return text(403, "Permission denied");
            }
        }
        match &parts[..] {
            ["v1", "health", "service", name] => self.read(asked, name).await,
            ["v1", "catalog", "services"] => self.read(asked, "").await,
            ["v1", "agent", "services"] => {
                let local = self.state.lock().unwrap().catalog.local();
                let mut answer = text(200, local.to_string());
                answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
                answer
            }
            ["v1", "agent", "health", "service", "id", id] => {
                let (status, local) = self.state.lock().unwrap().catalog.local_health(id);
                let mut answer = text(status, local.to_string());
                answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
                answer
            }
            ["v1", "agent", rest @ ..] => self.write(asked, rest),
            _ => text(404, ""),
        }
    }

    /// A blocking query.
    async fn read(&self, asked: &Asked, service: &str) -> Response<Full<Bytes>> {
        let index = match asked.one("index").map(str::parse::<u64>) {
            None => 0,
            Some(Ok(index)) => index,
            Some(Err(_)) => return text(400, "Invalid index"),
        };
        let longest = match asked.one("wait").map(wait) {
            None => Duration::from_secs(300),
            Some(Some(wait)) => wait.min(MAX_WAIT),
            Some(None) => return text(400, "Invalid wait time"),
        };
        let failed = |status: u16, body: &str| {
            let mut answer = text(status, body);
            for (name, value) in [
                ("x-consul-index", "1"),
                ("x-consul-knownleader", "false"),
                ("x-consul-lastcontact", "0"),
            ] {
                answer.headers_mut().insert(name, value.parse().unwrap());
            }
            answer
        };
        if asked.one("dc").is_some_and(|dc| dc != "dc1") {
            return failed(500, "No path to datacenter");
        }
        let may = match self.may(asked) {
            Err(()) => return failed(403, "ACL not found"),
            Ok(may) => may,
        };
        let filter = match asked.one("filter").map(Filter::parse) {
            None => None,
            Some(Some(filter)) => Some(filter),
            Some(None) => {
                return failed(
                    500,
                    "Failed to create boolean expression evaluator: 1:2 (1): no match found, expected: \
                     \"!=\", \".\", \"==\", \"[\", [ \\t\\r\\n] or [a-zA-Z0-9_]",
                );
            }
        };
        let is_stale = asked.has("stale");
        // It may take a sixteenth longer.
        let due = Instant::now() + longest + longest / 32;
        let mut changes = self.changes.subscribe();
        let had_leader = self.state.lock().unwrap().leader_lost.is_none();
        loop {
            let lost = self.state.lock().unwrap().leader_lost;
            match lost {
                Some(_) if is_stale => {}
                Some(_) if had_leader => {
                    return failed(
                        500,
                        "rpc error getting client: failed to get conn: connection refused",
                    );
                }
                Some(_) => {
                    let elected = async {
                        while self.state.lock().unwrap().leader_lost.is_some() {
                            let _ = changes.changed().await;
                        }
                    };
                    if timeout(LEADER, elected).await.is_err() {
                        return failed(500, "No cluster leader");
                    }
                }
                None => {}
            }
            let now = self.index_of(service);
            if index == 0 || now > index || Instant::now() >= due {
                break;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep(due.saturating_duration_since(Instant::now())) => {}
            }
        }
        self.found(asked, service, may, filter.as_ref())
    }

    fn index_of(&self, service: &str) -> u64 {
        let state = self.state.lock().unwrap();
        if service.is_empty() { state.catalog.index } else { state.catalog.index_of(service) }
    }

    fn found(
        &self,
        asked: &Asked,
        service: &str,
        may: Option<May>,
        filter: Option<&Filter>,
    ) -> Response<Full<Bytes>> {
        let state = &mut *self.state.lock().unwrap();
        let catalog = &state.catalog;
        let (body, index) = match service {
            "" => {
                let changed = catalog.instances.values().map(|of| of.modified).max();
                (catalog.services(), changed.unwrap_or(catalog.index))
            }
            service => {
                let mut entries = catalog.entries(service, asked.has("passing"));
                let wanted = asked.query.get("tag").cloned().unwrap_or_default();
                entries.retain(|entry| {
                    let tags = entry["Service"]["Tags"].as_array().unwrap();
                    wanted.iter().all(|tag| tags.contains(&json!(tag)))
                        && filter.is_none_or(|filter| filter.matches(entry))
                });
                (entries.into(), catalog.index_of(service))
            }
        };
        let has_some = body.as_array().is_some_and(|of| !of.is_empty());
        let is_hidden = matches!(may, None | Some(May::Nothing));
        let body = if is_hidden && service.is_empty() { json!({}) } else { body };
        let body = if is_hidden && !service.is_empty() { json!([]) } else { body };
        let mut answer = text(200, body.to_string());
        let mut insert = |name: &'static str, value: &str| {
            answer.headers_mut().insert(name, value.parse().unwrap());
        };
        insert("content-type", "application/json");
        let index = state.shown_index.clone().unwrap_or(index.to_string());
        insert("x-consul-index", &index);
        insert("x-consul-knownleader", &state.leader_lost.is_none().to_string());
        let contact = state.leader_lost.map_or(0, |since| since.elapsed().as_millis());
        insert("x-consul-lastcontact", &contact.to_string());
        let consistency = match () {
            () if asked.has("stale") => "stale",
            () if asked.has("consistent") => "consistent",
            () => "leader",
        };
        insert("x-consul-effective-consistency", consistency);
        if asked.has("cached") {
            let hits = state.cache.entry(service.to_owned()).or_default();
            *hits += 1;
            insert("x-cache", if *hits == 1 { "MISS" } else { "HIT" });
            if *hits > 1 {
                insert(
                    "age",
                    &state.leader_lost.map_or(0, |since| since.elapsed().as_secs()).to_string(),
                );
            }
        }
        if state.newer {
            let is_asking = state.tokens.is_some();
            insert("x-consul-default-acl-policy", if is_asking { "deny" } else { "allow" });
            insert("x-consul-query-backend", "blocking-query");
            if is_hidden && has_some && asked.token.is_some() {
                insert("x-consul-results-filtered-by-acls", "true");
            }
        }
        answer
    }

    /// `None`: no token. An unknown one is an error.
    fn may(&self, asked: &Asked) -> Result<Option<May>, ()> {
        match (&self.state.lock().unwrap().tokens, &asked.token) {
            (None, _) => Ok(Some(May::All)),
            (Some(_), None) => Ok(None),
            (Some(tokens), Some(token)) => tokens.get(token).copied().map(Some).ok_or(()),
        }
    }

    fn write(&self, asked: &Asked, parts: &[&str]) -> Response<Full<Bytes>> {
        match self.may(asked) {
            Err(()) => return text(403, "ACL not found"),
            Ok(Some(May::All)) => {}
            Ok(_) => {
                let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
                let name = body["Name"].as_str().unwrap_or_default();
                return text(403, format!("Permission denied: Missing service:write on {name}"));
            }
        }
        let answer = {
            let state = &mut *self.state.lock().unwrap();
            let (catalog, is_newer) = (&mut state.catalog, state.newer);
            match parts {
                ["service", "register"] => match serde_json::from_str::<Value>(&asked.body) {
                    Err(_) => text(400, "Request decode failed: unexpected EOF"),
                    Ok(body) => {
                        match catalog.register(body, asked.has("replace-existing-checks")) {
                            Ok(()) => text(200, ""),
                            Err(why) => text(400, why),
                        }
                    }
                },
                ["service", "deregister", id] => {
                    catalog.deregister(id);
                    text(200, "")
                }
                ["service", "maintenance", id] => {
                    let reason = asked.one("reason").unwrap_or_default();
                    match catalog
                        .maintain(id, (asked.one("enable") == Some("true")).then_some(reason))
                    {
                        true => text(200, ""),
                        false => text(404, format!("No service registered with ID {id:?}")),
                    }
                }
                ["check", "update", id] => {
                    let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
                    let of = |key: &str| body[key].as_str().unwrap_or_default();
                    match catalog.update_check(id, of("Status"), of("Output")) {
                        true => text(200, ""),
                        false if is_newer => text(404, format!("Unknown check ID {id:?}")),
                        false => text(500, format!("CheckID {id:?} does not have associated TTL")),
                    }
                }
                _ => text(404, ""),
            }
        };
        self.changes.send_modify(|number| *number += 1);
        answer
    }
}

/// The expressions that are used here.
enum Filter {
    HasTag(String),
    MetaIs(String, String),
}

impl Filter {
    fn parse(text: &str) -> Option<Self> {
        let quoted = |text: &str| Some(text.strip_prefix('"')?.strip_suffix('"')?.to_owned());
        if let Some(tag) = text.strip_suffix(" in Service.Tags") {
            return Some(Self::HasTag(quoted(tag)?));
        }
        let (key, value) = text.strip_prefix("Service.Meta.")?.split_once(" == ")?;
        Some(Self::MetaIs(key.to_owned(), quoted(value)?))
    }

    fn matches(&self, entry: &Value) -> bool {
        let service = &entry["Service"];
        match self {
            Self::HasTag(tag) => service["Tags"].as_array().unwrap().contains(&json!(tag)),
            Self::MetaIs(key, value) => service["Meta"][key] == json!(value),
        }
    }
}
