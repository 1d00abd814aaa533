//! An API server in this process. It answers as a recorded one did, and fails when it is told to.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::objects::{Objects, Pod, Selector, pod, slice};

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub at: Instant,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub token: Option<String>,
    pub accept: Option<String>,
    /// Names and values of the headers that say which user it is for.
    pub acts_as: Vec<(String, String)>,
}

impl Asked {
    pub fn one(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }

    pub fn is_watch(&self) -> bool {
        self.one("watch") == Some("true")
    }
}

/// How it is reached.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Link {
    Up,
    /// Nothing that is sent arrives.
    Partitioned,
    /// It does not run.
    Stopped,
}

/// What becomes of the watches that are open.
#[derive(Debug, Clone, Default)]
enum Order {
    #[default]
    None,
    /// The connection breaks within an event.
    Cut,
    /// They end as if their time was over.
    End,
    /// They tell this, and end.
    Tell(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Access {
    Open,
    /// One that is not logged in may nothing.
    Forbidden,
    /// Services must not be seen, and slices may.
    OnlySlices,
}

#[derive(Clone)]
struct Instead {
    status: u16,
    body: String,
    header: Option<(&'static str, &'static str)>,
}

struct State {
    objects: Objects,
    asked: Vec<Asked>,
    /// `None`: it needs none.
    tokens: Option<Vec<String>>,
    access: Access,
    /// What is answered instead, to all requests.
    instead: Option<Instead>,
    /// What is answered instead to those that watch.
    instead_of_watches: Option<(u16, &'static str)>,
    /// Whether not even the head of an answer comes to those that watch.
    holds_watches: bool,
    /// The same for the next one.
    instead_of_a_watch: Option<(u16, &'static str)>,
    /// Most slices of a page, whatever is asked for.
    most: Option<usize>,
    /// How long a list takes.
    slowness: Duration,
    bookmarks: bool,
    /// Whether watches from a version that is still to come are refused, as lists are, and not left without a word.
    refuses_future: bool,
    /// What becomes of watches from a version that is not kept: an error, or an end without a word.
    forgets: Forgets,
    orders: (u64, Order),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Forgets {
    Told,
    ByAnEnd,
    Broken,
}

pub struct Double {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
    link: watch::Sender<Link>,
    tasks: JoinSet<()>,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

#[derive(Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
    link: watch::Receiver<Link>,
}

/// How often bookmarks come.
const BOOKMARK: Duration = Duration::from_secs(60);

impl Double {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State {
            objects: Objects::default(),
            asked: Vec::new(),
            tokens: None,
            access: Access::Open,
            instead: None,
            instead_of_watches: None,
            holds_watches: false,
            instead_of_a_watch: None,
            most: None,
            slowness: Duration::ZERO,
            bookmarks: true,
            refuses_future: false,
            forgets: Forgets::Told,
            orders: (0, Order::None),
        };
        let (link, _) = watch::channel(Link::Up);
        let mut double = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(state)),
            changes: watch::Sender::new(0),
            link,
            tasks: JoinSet::new(),
        };
        let server = Server {
            state: double.state.clone(),
            changes: double.changes.clone(),
            link: double.link.subscribe(),
        };
        double.tasks.spawn(accept(server, Some(listener), double.address));
        double
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changes.send_modify(|number| *number += 1);
        result
    }

    pub fn objects<T>(&self, change: impl FnOnce(&mut Objects) -> T) -> T {
        self.with(|state| change(&mut state.objects))
    }

    /// A slice of the Service `web` with pods, each at an address of its own.
    pub fn web(&self, name: &str, pods: &[(&str, Pod)]) {
        let endpoints = pods.iter().map(|(uid, is)| {
            let number: u32 = uid.bytes().map(u32::from).sum();
            pod(uid, &format!("10.0.{}.{}", number / 250, number % 250), *is)
        });
        let slice = slice("web", name, 9001, endpoints.collect());
        self.objects(|objects| objects.put(slice));
    }

    pub fn delete(&self, name: &str) {
        assert!(self.objects(|objects| objects.delete("default", name)));
    }

    pub fn asks_for_tokens(&self, tokens: &[&str]) {
        let tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
        self.with(|state| state.tokens = Some(tokens));
    }

    pub fn is(&self, access: Access) {
        self.with(|state| state.access = access);
    }

    /// Answers everything so, or as it is again.
    pub fn answers(&self, instead: Option<(u16, &str)>) {
        let instead =
            instead.map(|(status, body)| Instead { status, body: body.into(), header: None });
        self.with(|state| state.instead = instead);
    }

    pub fn answers_with(&self, status: u16, header: (&'static str, &'static str)) {
        let instead = Instead { status, body: String::new(), header: Some(header) };
        self.with(|state| state.instead = Some(instead));
    }

    /// Answers watches with an error before they begin, or with 200 and a line, or as they are again.
    pub fn refuses_watches(&self, with: Option<(u16, &'static str)>) {
        self.with(|state| state.instead_of_watches = with);
    }

    /// As a proxy that waits until there is more of an answer.
    pub fn holds_watches(&self, holds: bool) {
        self.with(|state| state.holds_watches = holds);
    }

    pub fn refuses_watches_once(&self, with: (u16, &'static str)) {
        self.with(|state| state.instead_of_a_watch = Some(with));
    }

    /// No page has more slices.
    pub fn pages_have(&self, most: usize) {
        self.with(|state| state.most = Some(most));
    }

    pub fn lists_take(&self, time: Duration) {
        self.with(|state| state.slowness = time);
    }

    pub fn sends_bookmarks(&self, sends: bool) {
        self.with(|state| state.bookmarks = sends);
    }

    pub fn refuses_watches_of_the_future(&self) {
        self.with(|state| state.refuses_future = true);
    }

    pub fn forgets(&self, how: Forgets) {
        self.with(|state| state.forgets = how);
    }

    fn order(&self, order: Order) {
        self.with(|state| state.orders = (state.orders.0 + 1, order));
    }

    /// Breaks the watches that are open, within an event.
    pub fn cuts_watches(&self) {
        self.order(Order::Cut);
    }

    pub fn ends_watches(&self) {
        self.order(Order::End);
    }

    /// Tells a line to the watches that are open, and ends them.
    pub fn tells_watches(&self, line: &str) {
        self.order(Order::Tell(format!("{line}\n")));
    }

    /// Forgets all changes so far, and tells it to the watches that are open.
    pub fn expires_watches(&self) {
        self.objects(Objects::compact);
        self.tells_watches(&expired("too old resource version"));
    }

    /// Nothing arrives, in either direction.
    pub fn partition(&self) {
        self.link.send_replace(Link::Partitioned);
    }

    pub fn heal(&self) {
        self.link.send_replace(Link::Up);
    }

    pub async fn arrives(&self) {
        let _ = self.link.subscribe().wait_for(|link| *link != Link::Partitioned).await;
    }

    pub fn is_up(&self) -> bool {
        *self.link.borrow() == Link::Up
    }

    /// All connections break, and new ones are refused.
    pub async fn stop(&self) {
        self.link.send_replace(Link::Stopped);
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Runs again.
    pub async fn restart(&self) {
        self.link.send_replace(Link::Up);
        while TcpStream::connect(self.address).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    pub fn lists(&self) -> usize {
        let is_list = |asked: &&Asked| asked.path.ends_with("/endpointslices") && !asked.is_watch();
        self.asked().iter().filter(is_list).count()
    }

    pub fn watches(&self) -> usize {
        self.asked().iter().filter(|asked| asked.is_watch()).count()
    }
}

/// The line of a watch whose version is not kept.
pub fn expired(message: &str) -> String {
    let status = status_object(410, Some("Expired"), message);
    json!({"type": "ERROR", "object": status}).to_string()
}

async fn accept(server: Server, mut listener: Option<TcpListener>, address: SocketAddr) {
    let mut link = server.link.clone();
    let mut connections = JoinSet::new();
    loop {
        let now = *link.borrow_and_update();
        match (now, &listener) {
            (Link::Stopped, _) => {
                listener = None;
                connections = JoinSet::new();
                if link.changed().await.is_err() {
                    return;
                }
            }
            (_, None) => listener = TcpListener::bind(address).await.ok(),
            (_, Some(listener)) => {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                        // Otherwise an event waits for an acknowledgement, in real time.
                        let _ = stream.set_nodelay(true);
                        connections.spawn(serve(server.clone(), stream));
                    },
                    changed = link.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}

async fn serve(server: Server, stream: TcpStream) {
    let service = service_fn(move |request| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn full(text: impl Into<String>) -> Body {
    Full::from(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn answer(status: u16, body: Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("cache-control", "no-cache, private")
        .header("content-type", "application/json")
        .body(full(body.to_string()))
        .unwrap()
}

fn status_object(code: u16, reason: Option<&str>, message: &str) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "code": code,
    });
    if let Some(reason) = reason {
        status["reason"] = json!(reason);
    }
    status
}

fn status(code: u16, reason: Option<&str>, message: &str) -> Response<Body> {
    answer(code, status_object(code, reason, message))
}

/// A version that is still to come: what is current is the last change of what is listed.
fn too_large(version: u64, current: u64) -> Response<Body> {
    let message = format!("Timeout: Too large resource version: {version}, current: {current}");
    let mut body = status_object(504, Some("Timeout"), &message);
    let cause =
        json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
    body["details"] = json!({"causes": [cause], "retryAfterSeconds": 1});
    let mut answer = answer(504, body);
    answer.headers_mut().insert("retry-after", "1".parse().unwrap());
    answer
}

/// A token with which a list goes on.
fn continue_token(revision: i64, start: &str) -> String {
    let token = format!(r#"{{"v":"meta.k8s.io/v1","rv":{revision},"start":{}}}"#, json!(start));
    BASE64_URL_SAFE_NO_PAD.encode(token)
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default().split('&');
        let query = query.filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key), unescape(value))
        });
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let acts_as = request.headers().iter().filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("impersonate-")?;
            Some((unescape(name), String::from_utf8(value.as_bytes().to_vec()).unwrap()))
        });
        let asked = Asked {
            at: Instant::now(),
            path: unescape(request.uri().path()),
            query: query.collect(),
            token: header("authorization").map(|of| of.trim_start_matches("Bearer ").to_owned()),
            accept: header("accept"),
            acts_as: acts_as.collect(),
        };
        self.arrives().await;
        self.state.lock().unwrap().asked.push(asked.clone());
        while asked.is_watch() && self.state.lock().unwrap().holds_watches {
            let _ = self.changes.subscribe().changed().await;
        }
        let answer = match request.method() {
            &Method::GET => self.route(&asked).await,
            _ => status(405, Some("MethodNotAllowed"), "only what is needed here"),
        };
        self.arrives().await;
        answer
    }

    async fn arrives(&self) {
        let _ = self.link.clone().wait_for(|link| *link != Link::Partitioned).await;
    }

    async fn route(&self, asked: &Asked) -> Response<Body> {
        let (instead, tokens, access, slowness, of_watch) = {
            let mut state = self.state.lock().unwrap();
            let of_watch = match asked.is_watch() {
                true => state.instead_of_a_watch.take().or(state.instead_of_watches),
                false => None,
            };
            (state.instead.clone(), state.tokens.clone(), state.access, state.slowness, of_watch)
        };
        if let Some(Instead { status, body, header }) = instead {
            let mut answer = Response::builder().status(status);
            if let Some((name, value)) = header {
                answer = answer.header(name, value);
            }
            return answer.body(full(body)).unwrap();
        }
        match (&tokens, &asked.token) {
            (Some(tokens), Some(token)) if tokens.contains(token) => {}
            (Some(_), Some(_)) => return status(401, Some("Unauthorized"), "Unauthorized"),
            (Some(_), None) => return self.forbidden(asked),
            (None, _) => {}
        }
        let is_slice = asked.path.contains("/endpointslices");
        if access == Access::Forbidden || access == Access::OnlySlices && !is_slice {
            return self.forbidden(asked);
        }
        if let Some((200, line)) = of_watch {
            return Response::new(full(format!("{line}\n")));
        }
        if let Some((code, reason)) = of_watch {
            return status(code, Some(reason), "this watch does not begin");
        }
        let parts: Vec<&str> = asked.path.split('/').skip(1).collect();
        match &parts[..] {
            ["apis", "discovery.k8s.io", "v1", "namespaces", namespace, "endpointslices"] => {
                let selector = asked.one("labelSelector").unwrap_or_default();
                match Selector::parse(selector) {
                    Err(why) => status(400, Some("BadRequest"), why),
                    Ok(selector) if asked.is_watch() => self.watch(asked, namespace, selector),
                    Ok(selector) => {
                        sleep(slowness).await;
                        self.list(asked, namespace, &selector)
                    }
                }
            }
            ["apis", "discovery.k8s.io", "v1", "namespaces", namespace, "endpointslices", name] => {
                let state = self.state.lock().unwrap();
                let key = ((*namespace).to_owned(), (*name).to_owned());
                match state.objects.slices.get(&key) {
                    Some(slice) => answer(200, slice.clone()),
                    None => not_found("endpointslices", Some("discovery.k8s.io"), name),
                }
            }
            ["api", "v1", "namespaces", namespace, "services", name] => {
                let state = self.state.lock().unwrap();
                let key = ((*namespace).to_owned(), (*name).to_owned());
                match state.objects.services.get(&key) {
                    Some(service) => answer(200, service.clone()),
                    None => not_found("services", None, name),
                }
            }
            _ => Response::builder()
                .status(404)
                .header("cache-control", "no-cache, private")
                .header("content-type", "text/plain; charset=utf-8")
                .header("x-content-type-options", "nosniff")
                .body(full("404 page not found\n"))
                .unwrap(),
        }
    }

    fn forbidden(&self, asked: &Asked) -> Response<Body> {
        let verb = if asked.is_watch() { "watch" } else { "list" };
        let mut body = status_object(
            403,
            Some("Forbidden"),
            &format!(
                "endpointslices.discovery.k8s.io is forbidden: User \"system:anonymous\" cannot {verb} \
                 resource \"endpointslices\" in API group \"discovery.k8s.io\" in the namespace \"default\""
            ),
        );
        body["details"] = json!({"group": "discovery.k8s.io", "kind": "endpointslices"});
        let mut answer = answer(403, body);
        let headers = answer.headers_mut();
        headers.insert("x-content-type-options", "nosniff".parse().unwrap());
        answer
    }

    fn list(&self, asked: &Asked, namespace: &str, selector: &Selector) -> Response<Body> {
        let state = self.state.lock().unwrap();
        let objects = &state.objects;
        let asked_version = asked.one("resourceVersion").map(|of| of.parse::<u64>().unwrap_or(0));
        match asked_version {
            Some(version) if version > objects.revision => {
                return too_large(version, objects.revision);
            }
            Some(version)
                if asked.one("resourceVersionMatch") == Some("Exact")
                    && version < objects.compacted =>
            {
                let message = "The resourceVersion for the provided list is too old.";
                return status(410, Some("Expired"), message);
            }
            _ => {}
        }
        let mut limit = asked.one("limit").map_or(0, |limit| limit.parse().unwrap());
        let (mut from, mut revision) = (String::new(), objects.revision);
        if let Some(token) = asked.one("continue") {
            let token = BASE64_URL_SAFE_NO_PAD.decode(token).unwrap();
            let token: Value = serde_json::from_slice(&token).unwrap();
            from = token["start"].as_str().unwrap().to_owned();
            let of = token["rv"].as_i64().unwrap();
            // What was compacted last can still be read.
            if of > 0 && of.unsigned_abs() < objects.compacted {
                let message = "The provided continue parameter is too old to display a consistent list \
                    result. You can start a new list without the continue parameter, or use the continue \
                    token in this response to retrieve the remainder of the results. Continuing with the \
                    provided token results in an inconsistent list - objects that were created, modified, \
                    or deleted between the time the first chunk was returned and now may show up in the \
                    list.";
                let mut body = status_object(410, Some("Expired"), message);
                body["metadata"]["continue"] = json!(continue_token(-1, &from));
                return answer(410, body);
            }
            revision = of.try_into().unwrap_or(revision);
        }
        if asked_version == Some(0) {
            // Of the cache, which knows of nothing else and has no pages.
            limit = 0;
            let of = |slice: &Value| {
                slice["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
            };
            revision = objects.slices.values().map(of).max().unwrap_or(revision);
        }
        limit = state.most.filter(|most| limit == 0 || *most < limit).unwrap_or(limit);
        let page = objects.page(namespace, selector, &from, limit);
        let mut metadata = json!({"continue": "", "resourceVersion": revision.to_string()});
        if let Some((start, left)) = page.next {
            metadata["continue"] = json!(continue_token(revision as i64, &start));
            metadata["remainingItemCount"] = json!(left);
        }
        let list = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSliceList",
            "metadata": metadata, "items": page.items,
        });
        answer(200, list)
    }

    fn watch(&self, asked: &Asked, namespace: &str, selector: Selector) -> Response<Body> {
        let version = match asked.one("resourceVersion") {
            None | Some("" | "0") => None,
            Some(text) => match text.parse::<u64>() {
                Ok(version) => Some(version),
                Err(_) => {
                    let message = format!(
                        "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: \
                         invalid syntax"
                    );
                    return status(500, None, &message);
                }
            },
        };
        {
            let state = self.state.lock().unwrap();
            match version {
                Some(version) if state.refuses_future && version > state.objects.revision => {
                    return too_large(version, state.objects.revision);
                }
                _ => {}
            }
        }
        let seconds = asked.one("timeoutSeconds").map_or(1_800, |of| of.parse().unwrap());
        let (lines, told) = mpsc::channel::<Result<String, io::Error>>(1);
        let watching = Watching {
            server: self.clone(),
            namespace: namespace.to_owned(),
            selector,
            until: Instant::now() + Duration::from_secs(seconds),
            bookmarks: asked.one("allowWatchBookmarks") == Some("true"),
            lines,
        };
        tokio::spawn(watching.run(version));
        let frames =
            stream::unfold(told, |mut told| async move { Some((told.recv().await?, told)) });
        let frames = frames.map(|line| line.map(|line| Frame::data(Bytes::from(line))));
        Response::builder()
            .header("cache-control", "no-cache, private")
            .header("content-type", "application/json")
            .body(StreamBody::new(frames).boxed_unsync())
            .unwrap()
    }
}

fn not_found(kind: &str, group: Option<&str>, name: &str) -> Response<Body> {
    let of = group.map_or(kind.to_owned(), |group| format!("{kind}.{group}"));
    let mut body = status_object(404, Some("NotFound"), &format!("{of} \"{name}\" not found"));
    body["details"] = match group {
        Some(group) => json!({"name": name, "group": group, "kind": kind}),
        None => json!({"name": name, "kind": kind}),
    };
    answer(404, body)
}

/// A watch that is open.
struct Watching {
    server: Server,
    namespace: String,
    selector: Selector,
    until: Instant,
    bookmarks: bool,
    lines: mpsc::Sender<Result<String, io::Error>>,
}

impl Watching {
    async fn run(self, version: Option<u64>) {
        let mut changes = self.server.changes.subscribe();
        let mut orders = self.server.state.lock().unwrap().orders.0;
        let first = {
            let state = self.server.state.lock().unwrap();
            let objects = &state.objects;
            match version {
                Some(version) if version < objects.compacted => {
                    Err(format!("too old resource version: {version} ({})", objects.compacted))
                }
                Some(version) => Ok((version, Vec::new())),
                None => {
                    let page = objects.page(&self.namespace, &self.selector, "", 0);
                    let added = page.items.into_iter().map(|object| {
                        json!({"type": "ADDED", "object": object}).to_string() + "\n"
                    });
                    Ok((objects.revision, added.collect()))
                }
            }
        };
        let (mut at, added) = match first {
            Ok(first) => first,
            Err(message) => {
                let how = self.server.state.lock().unwrap().forgets;
                match how {
                    Forgets::Told => drop(self.tell(expired(&message) + "\n").await),
                    Forgets::ByAnEnd => {}
                    Forgets::Broken => {
                        let _ = self.lines.send(Err(io::Error::other("cut"))).await;
                    }
                }
                return;
            }
        };
        for line in added {
            self.tell(line).await;
        }
        // Of one that has not come yet nothing is told.
        let is_future = at > self.server.state.lock().unwrap().objects.revision;
        let mut bookmark = Instant::now() + BOOKMARK;
        loop {
            let (news, is_behind, (number, order)) = {
                let state = self.server.state.lock().unwrap();
                let is_behind = !is_future && at < state.objects.compacted;
                let news = match is_future {
                    true => Vec::new(),
                    false => state.objects.since(at, &self.namespace, &self.selector),
                };
                if !is_future {
                    at = at.max(state.objects.revision);
                }
                (news, is_behind, state.orders.clone())
            };
            if is_behind {
                self.tell(expired("too old resource version") + "\n").await;
                return;
            }
            for change in news {
                if !self.tell(change.line()).await {
                    return;
                }
            }
            if number > orders {
                orders = number;
                match order {
                    Order::None => {}
                    Order::Cut => {
                        self.tell(r#"{"type":"MODIFIED","object":{"meta"#.to_owned()).await;
                        let _ = self.lines.send(Err(io::Error::other("cut"))).await;
                        return;
                    }
                    Order::End => return,
                    Order::Tell(line) => {
                        self.tell(line).await;
                        return;
                    }
                }
            }
            let mut ends = false;
            tokio::select! {
                _ = changes.changed() => continue,
                () = sleep_until(self.until) => ends = true,
                () = sleep_until(bookmark) => bookmark += BOOKMARK,
                () = self.lines.closed() => return,
            }
            let sends = self.server.state.lock().unwrap().bookmarks;
            if self.bookmarks && !is_future && sends {
                let object = json!({
                    "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
                    "metadata": {"resourceVersion": at.to_string()},
                });
                let line = json!({"type": "BOOKMARK", "object": object}).to_string() + "\n";
                self.tell(line).await;
            }
            if ends {
                return;
            }
        }
    }

    async fn tell(&self, line: String) -> bool {
        self.server.arrives().await;
        self.lines.send(Ok(line)).await.is_ok()
    }
}
