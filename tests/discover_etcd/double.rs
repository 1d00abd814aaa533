//! A cluster of etcd in this process: members over gRPC, with what they agree on in one place.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Request, Response, Status, Streaming, body::Body, server::Grpc};

use crate::{
    codec::Codec,
    messages::{
        Asked, LeaseRequest, Operation, PutRequest, TxnRequest, WatchCreateRequest, WatchRequest,
        WatchResponse,
    },
    store::Store,
};

#[derive(Clone, PartialEq, prost::Message)]
pub struct CompactionRequest {
    #[prost(int64, tag = "1")]
    pub revision: i64,
    #[prost(bool, tag = "2")]
    pub physical: bool,
}

/// How a member is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Mood {
    #[default]
    Well,
    /// Takes requests, and answers none.
    Frozen,
    /// Cut off from the others.
    WithoutLeader,
}

/// What a watch stream tells that is not of the store.
#[derive(Debug, Clone)]
enum Extra {
    Progress,
    Raw(WatchResponse),
}

pub struct Shared {
    store: Mutex<Store>,
    /// Its revision, and when a lease was changed.
    changed: watch::Sender<u64>,
    /// Most events of a message.
    pub fragment: Mutex<usize>,
    extra: tokio::sync::broadcast::Sender<Extra>,
}

#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

pub struct Member {
    pub address: SocketAddr,
    mood: watch::Sender<Mood>,
    cut: watch::Sender<u64>,
    connections: Arc<()>,
    _tasks: JoinSet<()>,
}

impl Cluster {
    pub fn new() -> Self {
        let extra = tokio::sync::broadcast::channel(64).0;
        let (store, changed) = (Mutex::new(Store::new()), watch::Sender::new(0));
        let shared = Arc::new(Shared { store, changed, fragment: Mutex::new(usize::MAX), extra });
        let of_leases = Arc::downgrade(&shared);
        let mut changes = shared.changed.subscribe();
        tokio::spawn(async move {
            loop {
                let Some(shared) = of_leases.upgrade() else { return };
                let (before, next) = {
                    let mut store = shared.store.lock().unwrap();
                    let before = store.revision;
                    (before, (store.expire(tokio::time::Instant::now()), store.revision))
                };
                if next.1 != before {
                    shared.changed.send_modify(|count| *count += 1);
                }
                drop(shared);
                let wait = async {
                    match next.0 {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = wait => {}
                    changed = changes.changed() => if changed.is_err() { return },
                }
            }
        });
        Self(shared)
    }

    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap()
    }

    /// Changes the store, and tells whoever watches.
    pub fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let done = change(&mut self.store());
        self.0.changed.send_modify(|count| *count += 1);
        done
    }

    pub fn put(&self, key: &str, value: impl Into<String>) {
        self.put_with(key, value, 0);
    }

    pub fn put_with(&self, key: &str, value: impl Into<String>, lease: i64) {
        let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.into()));
        self.change(|store| store.put(PutRequest { key, value, lease }).unwrap());
    }

    pub fn delete(&self, key: &str) {
        let key = Bytes::from(key.to_owned());
        let asked = crate::messages::DeleteRangeRequest { key, range_end: Bytes::new() };
        self.change(|store| assert_eq!(store.delete(&asked).unwrap().deleted, 1));
    }

    pub fn asked(&self, method: &str) -> usize {
        self.store().asked.get(method).copied().unwrap_or_default()
    }

    pub fn fragments(&self, most: usize) {
        *self.0.fragment.lock().unwrap() = most;
    }

    /// Every watch is told how far the store is.
    pub fn progress(&self) {
        let _ = self.0.extra.send(Extra::Progress);
    }

    /// Every watch stream is told that.
    pub fn tell(&self, raw: WatchResponse) {
        let _ = self.0.extra.send(Extra::Raw(raw));
    }

    pub async fn member(&self) -> Member {
        self.member_at((Ipv4Addr::LOCALHOST, 0).into(), None).await
    }

    pub async fn member_at(&self, address: SocketAddr, tls: Option<TlsAcceptor>) -> Member {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mood, cut) = (watch::Sender::new(Mood::Well), watch::Sender::new(0));
        let mut tasks = JoinSet::new();
        let context = Context { shared: self.0.clone(), mood: mood.subscribe() };
        let cuts = cut.subscribe();
        let connections = Arc::new(());
        let open = connections.clone();
        tasks.spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (context, mut cuts, tls) = (context.clone(), cuts.clone(), tls.clone());
                cuts.mark_unchanged();
                let open = open.clone();
                running.spawn(async move {
                    let _open = open;
                    tokio::select! {
                        () = connection(stream, tls, context) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Member { address, mood, cut, connections, _tasks: tasks }
    }
}

impl Member {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        Arc::strong_count(&self.connections) - 2
    }

    /// Closes every connection.
    pub async fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
        while self.connections() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[derive(Clone)]
struct Context {
    shared: Arc<Shared>,
    mood: watch::Receiver<Mood>,
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, context: Context) {
    let service = service_fn(move |request| {
        let context = context.clone();
        async move { Ok::<_, Infallible>(context.answer(request).await) }
    });
    let server = http2::Builder::new(TokioExecutor::new());
    let _ = match tls {
        None => server.serve_connection(TokioIo::new(stream), service).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await,
            Err(_) => return,
        },
    };
}

/// A unary method.
async fn unary<Q, A>(
    request: http::Request<Incoming>,
    method: impl FnOnce(Q) -> Result<A, Status> + Send + 'static,
) -> http::Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let mut method = Some(method);
    let service = tower::service_fn(move |request: Request<Q>| {
        let method = method.take().unwrap();
        std::future::ready(method(request.into_inner()).map(Response::new))
    });
    Grpc::new(Codec::<A, Q>::new()).unary(service, request).await
}

type Answers<A> = std::pin::Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

/// The answers of a stream, whose headers come with the first of them, as from a real one.
async fn streamed<A: Send + 'static>(
    mut answers: mpsc::UnboundedReceiver<Result<A, Status>>,
) -> Result<Response<Answers<A>>, Status> {
    let first = answers.recv().await.unwrap_or_else(|| Err(Status::cancelled("over")))?;
    let rest =
        stream::unfold(
            answers,
            |mut answers| async move { Some((answers.recv().await?, answers)) },
        );
    Ok(Response::new(stream::once(async { Ok(first) }).chain(rest).boxed()))
}

impl Context {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        Cluster(self.shared.clone()).change(change)
    }

    async fn answer(mut self, request: http::Request<Incoming>) -> http::Response<Body> {
        let path = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let is_read = matches!(&*path, "Watch" | "LeaseKeepAlive");
        let mood = *self.mood.borrow_and_update();
        match mood {
            Mood::Frozen => {
                let _ = self.mood.wait_for(|mood| *mood != Mood::Frozen).await;
            }
            // Of those that need no quorum, the ones that ask for a leader.
            Mood::WithoutLeader if is_read && request.headers().contains_key("hasleader") => {
                return Status::unavailable("etcdserver: no leader").into_http();
            }
            // A read that needs a quorum waits for one.
            Mood::WithoutLeader => {
                let _ = self.mood.wait_for(|mood| *mood == Mood::Well).await;
            }
            Mood::Well => {}
        }
        let token =
            request.headers().get("token").and_then(|of| of.to_str().ok()).map(str::to_owned);
        let context = self.clone();
        let count = |name| *context.store().asked.entry(name).or_default() += 1;
        match &*path {
            "Range" => {
                count("Range");
                unary(request, move |asked: crate::messages::RangeRequest| {
                    let store = self.store();
                    store.check(token.as_deref(), &asked.key, &asked.range_end)?;
                    store.range(&asked)
                })
                .await
            }
            "Put" => {
                count("Put");
                unary(request, move |asked: PutRequest| {
                    self.change(|store| {
                        store.check(token.as_deref(), &asked.key, b"")?;
                        store.put(asked)
                    })
                })
                .await
            }
            "DeleteRange" => {
                count("DeleteRange");
                unary(request, move |asked: crate::messages::DeleteRangeRequest| {
                    self.change(|store| {
                        store.check(token.as_deref(), &asked.key, &asked.range_end)?;
                        store.delete(&asked)
                    })
                })
                .await
            }
            "Txn" => {
                count("Txn");
                unary(request, move |asked: TxnRequest| {
                    self.change(|store| {
                        let written = asked.success.iter().map(|of| match &of.operation {
                            Some(Operation::Put(of)) => &of.key,
                            Some(Operation::Delete(of)) => &of.key,
                            None => panic!("an operation that is none"),
                        });
                        for key in asked.compare.iter().map(|of| &of.key).chain(written) {
                            store.check(token.as_deref(), key, b"")?;
                        }
                        store.txn(asked)
                    })
                })
                .await
            }
            "Compact" => {
                unary(request, move |asked: CompactionRequest| {
                    self.change(|store| store.compact_as_asked(asked.revision))
                })
                .await
            }
            "Authenticate" => {
                count("Authenticate");
                unary(request, move |asked| self.store().authenticate(&asked)).await
            }
            "LeaseGrant" => {
                count("LeaseGrant");
                unary(request, move |asked| self.change(|store| store.grant(&asked))).await
            }
            "LeaseTimeToLive" => {
                count("LeaseTimeToLive");
                unary(request, move |asked| Ok(self.store().time_to_live(&asked))).await
            }
            "LeaseRevoke" => {
                count("LeaseRevoke");
                unary(request, move |asked| self.change(|store| store.revoke(&asked))).await
            }
            "LeaseKeepAlive" => {
                count("LeaseKeepAlive");
                let service = tower::service_fn(move |asked: Request<Streaming<LeaseRequest>>| {
                    let (answers, receiver) = mpsc::unbounded_channel();
                    tokio::spawn(self.clone().keep_alive(asked.into_inner(), answers));
                    streamed(receiver)
                });
                Grpc::new(Codec::new()).streaming(service, request).await
            }
            "Watch" => {
                count("Watch");
                let service = tower::service_fn(move |asked: Request<Streaming<WatchRequest>>| {
                    let (answers, receiver) = mpsc::unbounded_channel();
                    let stream = Watching { context: self.clone(), token: token.clone(), answers };
                    tokio::spawn(stream.run(asked.into_inner()));
                    streamed(receiver)
                });
                Grpc::new(Codec::new()).streaming(service, request).await
            }
            _ => Status::new(Code::Unimplemented, format!("unknown method {path}")).into_http(),
        }
    }

    async fn keep_alive(
        mut self,
        mut asked: Streaming<LeaseRequest>,
        answers: mpsc::UnboundedSender<Result<crate::messages::LeaseKeepAliveResponse, Status>>,
    ) {
        while let Ok(Some(lease)) = asked.message().await {
            let mood = *self.mood.borrow();
            match mood {
                Mood::Well => {}
                Mood::Frozen => {
                    let _ = self.mood.wait_for(|mood| *mood != Mood::Frozen).await;
                }
                Mood::WithoutLeader => {
                    let _ = answers.send(Err(Status::unavailable("etcdserver: no leader")));
                    return;
                }
            }
            let kept = self.change(|store| {
                *store.asked.entry("KeptAlive").or_default() += 1;
                store.keep_alive(&lease)
            });
            if answers.send(Ok(kept)).is_err() {
                return;
            }
        }
    }
}

/// One watch stream.
struct Watching {
    context: Context,
    token: Option<String>,
    answers: mpsc::UnboundedSender<Result<WatchResponse, Status>>,
}

struct Watcher {
    id: i64,
    of: WatchCreateRequest,
}

impl Watching {
    async fn run(mut self, mut asked: Streaming<WatchRequest>) {
        let mut changes = self.context.shared.changed.subscribe();
        let mut extra = self.context.shared.extra.subscribe();
        let (mut watchers, mut next_id) = (Vec::new(), 0);
        loop {
            let mut more = None;
            tokio::select! {
                request = asked.message() => match request {
                    Ok(Some(WatchRequest { asked: Some(asked) })) => {
                        self.asked(asked, &mut watchers, &mut next_id);
                    }
                    Ok(Some(_)) => {}
                    _ => return,
                },
                _ = changes.changed() => {}
                Ok(extra) = extra.recv() => more = Some(extra),
                _ = self.context.mood.changed() => {}
            }
            let mood = *self.context.mood.borrow();
            match mood {
                Mood::Well => {}
                Mood::Frozen => continue,
                Mood::WithoutLeader => {
                    let _ = self.answers.send(Err(Status::unavailable("etcdserver: no leader")));
                    return;
                }
            }
            watchers.retain_mut(|watcher| self.look(watcher));
            // How far it is is told after the events up to there.
            if let Some(extra) = more {
                self.extra(extra, &watchers);
            }
        }
    }

    fn tell(&self, told: WatchResponse) {
        let header = Some(self.context.store().header());
        let _ = self.answers.send(Ok(WatchResponse { header, ..told }));
    }

    fn extra(&self, extra: Extra, watchers: &[Watcher]) {
        match extra {
            Extra::Raw(raw) => {
                let _ = self.answers.send(Ok(raw));
            }
            Extra::Progress => {
                for Watcher { id, .. } in watchers.iter().filter(|of| of.of.progress_notify) {
                    self.tell(WatchResponse { watch_id: *id, ..WatchResponse::default() });
                }
            }
        }
    }

    fn asked(&self, asked: Asked, watchers: &mut Vec<Watcher>, next_id: &mut i64) {
        match asked {
            Asked::Create(mut of) => {
                let mut told = WatchResponse { created: true, ..WatchResponse::default() };
                let checked = {
                    let mut store = self.context.store();
                    *store.asked.entry("Created").or_default() += 1;
                    store.check(self.token.as_deref(), &of.key, &of.range_end)
                };
                if let Err(refused) = checked {
                    (told.canceled, told.watch_id) = (true, -1);
                    let (code, text) = (refused.code(), refused.message());
                    told.cancel_reason = format!("rpc error: code = {code:?} desc = {text}");
                    return self.tell(told);
                }
                if of.start_revision == 0 {
                    of.start_revision = self.context.store().revision + 1;
                }
                told.watch_id = *next_id;
                watchers.push(Watcher { id: *next_id, of });
                *next_id += 1;
                self.tell(told);
            }
            Asked::Cancel(of) => {
                *self.context.store().asked.entry("Cancelled").or_default() += 1;
                watchers.retain(|watcher| watcher.id != of.watch_id);
                let watch_id = of.watch_id;
                self.tell(WatchResponse { watch_id, canceled: true, ..WatchResponse::default() });
            }
        }
    }

    /// Tells a watcher what is new. `false`: it is over.
    fn look(&self, watcher: &mut Watcher) -> bool {
        let of = &mut watcher.of;
        let (events, revision) = {
            let store = self.context.store();
            (store.events(&of.key, &of.range_end, of.start_revision), store.revision)
        };
        let told = WatchResponse { watch_id: watcher.id, ..WatchResponse::default() };
        match events {
            Ok(events) => {
                of.start_revision = of.start_revision.max(revision + 1);
                if events.is_empty() {
                    return true;
                }
                let most = *self.context.shared.fragment.lock().unwrap();
                let count = events.chunks(most.min(events.len())).count();
                for (number, events) in events.chunks(most.min(events.len())).enumerate() {
                    let fragment = of.fragment && number + 1 < count;
                    self.tell(WatchResponse { events: events.to_vec(), fragment, ..told.clone() });
                }
                true
            }
            Err(compact_revision) => {
                self.tell(WatchResponse { canceled: true, compact_revision, ..told });
                false
            }
        }
    }
}
