//! What a real etcd answers, step by step, with what differs from one run to the next left out. The double has
//! to answer the same.

use bytes::Bytes;
use futures::stream;
use prost::Message;
use serde_json::{Value, json};
use tonic::{
    Request, Status, Streaming, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel,
};

use super::*;
use crate::{
    codec::Codec,
    double::CompactionRequest,
    messages::{
        Asked, AuthenticateRequest, AuthenticateResponse, Compare, DELETED, DeleteRangeRequest,
        Done, Header, LEASE, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse,
        LeaseRequest, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, Operation, PutRequest,
        RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse, WatchCancelRequest,
        WatchCreateRequest, WatchRequest, WatchResponse,
    },
    store::DeleteRangeResponse,
};

const RECORDED: &str = include_str!("recordings/etcd-3.4.23.json");

/// A plain client, and what it was told.
struct Client {
    channel: Channel,
    token: Option<String>,
    base: i64,
    told: serde_json::Map<String, Value>,
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn key(key: &str) -> Bytes {
    Bytes::from(format!("/recorded/{key}"))
}

fn range() -> RangeRequest {
    RangeRequest { key: "/recorded/".into(), range_end: "/recorded0".into(), ..Default::default() }
}

impl Client {
    async fn new(url: &str) -> Self {
        let channel = Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
        Self { channel, token: None, base: 0, told: Default::default() }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.parse().unwrap());
        }
        request
    }

    async fn ask<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static(path);
        Ok(grpc.unary(self.request(message), path, Codec::new()).await?.into_inner())
    }

    async fn streaming<Q, A>(
        &self,
        path: &'static str,
        messages: Vec<Q>,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        // It stays open.
        let messages = futures::StreamExt::chain(stream::iter(messages), stream::pending());
        let path = PathAndQuery::from_static(path);
        Ok(grpc.streaming(self.request(messages), path, Codec::new()).await?.into_inner())
    }

    fn note<A>(&mut self, step: &str, answer: Result<A, Status>, fields: impl Fn(&A) -> Value) {
        let told = match &answer {
            Ok(answer) => json!({ "code": 0, "fields": fields(answer) }),
            Err(status) => json!({ "code": status.code() as i32, "message": status.message() }),
        };
        assert!(self.told.insert(step.to_owned(), told).is_none(), "{step}");
    }

    fn revision(&self, header: &Option<Header>) -> i64 {
        header.as_ref().unwrap().revision - self.base
    }

    async fn range(&mut self, step: &str, asked: RangeRequest) {
        let answer = self.ask::<_, RangeResponse>("/etcdserverpb.KV/Range", asked).await;
        let base = self.base;
        let revision = answer.as_ref().map_or(0, |answer| self.revision(&answer.header));
        self.note(step, answer, |answer| {
            let kvs = answer.kvs.iter().map(|kv| {
                let [created, changed] = [kv.create_revision, kv.mod_revision].map(|of| of - base);
                let has_lease = kv.lease != 0;
                json!([text(&kv.key), text(&kv.value), created, changed, kv.version, has_lease])
            });
            let kvs: Vec<_> = kvs.collect();
            json!({ "kvs": kvs, "more": answer.more, "count": answer.count, "revision": revision })
        });
    }

    async fn put(&mut self, step: &str, of: &str, value: &'static str, lease: i64) {
        let of = if of.is_empty() { Bytes::new() } else { key(of) };
        let asked = PutRequest { key: of, value: value.into(), lease };
        let answer = self.ask::<_, Done>("/etcdserverpb.KV/Put", asked).await;
        let revision = answer.as_ref().map_or(0, |answer| self.revision(&answer.header));
        self.note(step, answer, |_| json!({ "revision": revision }));
    }

    async fn delete(&mut self, step: &str, of: Bytes, range_end: Bytes) {
        let asked = DeleteRangeRequest { key: of, range_end };
        let answer =
            self.ask::<_, DeleteRangeResponse>("/etcdserverpb.KV/DeleteRange", asked).await;
        let revision = answer.as_ref().map_or(0, |answer| self.revision(&answer.header));
        self.note(
            step,
            answer,
            |answer| json!({ "deleted": answer.deleted, "revision": revision }),
        );
    }

    /// A change of a key if it is under a lease.
    async fn change(&mut self, step: &str, of: &str, lease: i64, operation: Operation) {
        let asked = TxnRequest {
            compare: vec![Compare { target: LEASE, key: key(of), lease }],
            success: vec![RequestOp { operation: Some(operation) }],
        };
        let answer = self.ask::<_, TxnResponse>("/etcdserverpb.KV/Txn", asked).await;
        let revision = answer.as_ref().map_or(0, |answer| self.revision(&answer.header));
        self.note(
            step,
            answer,
            |answer| json!({ "succeeded": answer.succeeded, "revision": revision }),
        );
    }

    async fn revoke(&mut self, step: &str, id: i64) {
        let answer =
            self.ask::<_, Done>("/etcdserverpb.Lease/LeaseRevoke", LeaseRequest { id }).await;
        self.note(step, answer, |_| json!({}));
    }

    async fn keys_of_lease(&mut self, step: &str, id: i64) {
        let asked = LeaseTimeToLiveRequest { id, keys: true };
        let path = "/etcdserverpb.Lease/LeaseTimeToLive";
        let answer = self.ask::<_, LeaseTimeToLiveResponse>(path, asked).await;
        self.note(step, answer, |answer| {
            let keys: Vec<_> = answer.keys.iter().map(text).collect();
            json!({ "is_there": answer.ttl > 0, "keys": keys })
        });
    }

    async fn keep_alive(&mut self, step: &str, id: i64) {
        let path = "/etcdserverpb.Lease/LeaseKeepAlive";
        let answer = match self.streaming(path, vec![LeaseRequest { id }]).await {
            Ok(mut answers) => answers.message().await.map(Option::unwrap),
            Err(status) => Err(status),
        };
        self.note(step, answer, |answer: &LeaseKeepAliveResponse| {
            json!({ "ttl": answer.ttl, "is_its": answer.id == id })
        });
    }

    /// The first `count` events and what else is told meanwhile; cancelled then, if it is not yet.
    async fn watch(&mut self, step: &str, of: WatchCreateRequest, count: usize) {
        let created = WatchRequest { asked: Some(Asked::Create(of)) };
        let cancel =
            WatchRequest { asked: Some(Asked::Cancel(WatchCancelRequest { watch_id: 0 })) };
        let asked = if count == 0 { vec![created, cancel] } else { vec![created] };
        let told = self.streaming::<_, WatchResponse>("/etcdserverpb.Watch/Watch", asked).await;
        let told = match told {
            Ok(mut answers) => {
                let (mut told, mut seen) = (Vec::new(), 0);
                while seen < count.max(1) {
                    let Some(answer) = answers.message().await.unwrap() else { break };
                    seen += answer.events.len();
                    let events = answer.events.iter().map(|event| {
                        let kv = event.kv.as_ref().unwrap();
                        let is_deleted = event.kind == DELETED;
                        json!([
                            is_deleted,
                            text(&kv.key),
                            text(&kv.value),
                            kv.mod_revision - self.base
                        ])
                    });
                    let events: Vec<_> = events.collect();
                    let compacted = answer.compact_revision;
                    let compacted = (compacted != 0).then(|| compacted - self.base);
                    told.push(json!({
                        "id": answer.watch_id, "created": answer.created, "canceled": answer.canceled,
                        "compact_revision": compacted, "reason": answer.cancel_reason,
                        "fragment": answer.fragment, "events": events,
                    }));
                    if answer.canceled {
                        break;
                    }
                }
                Ok(told)
            }
            Err(status) => Err(status),
        };
        self.note(step, told, |told| json!(told));
    }
}

/// Everything that the backend relies on.
async fn open(url: &str) -> serde_json::Map<String, Value> {
    let mut etcd = Client::new(url).await;
    let all = DeleteRangeRequest { key: "/recorded/".into(), range_end: "/recorded0".into() };
    let _: DeleteRangeResponse = etcd.ask("/etcdserverpb.KV/DeleteRange", all).await.unwrap();
    let answer: RangeResponse = etcd.ask("/etcdserverpb.KV/Range", range()).await.unwrap();
    let base = answer.header.unwrap().revision;
    etcd.base = base;

    etcd.range("a range without keys", range()).await;
    etcd.put("a put", "a", "1", 0).await;
    etcd.put("another put", "b", "1", 0).await;
    etcd.put("a put over it", "a", "2", 0).await;
    etcd.put("a put without a key", "", "1", 0).await;
    etcd.put("a put with a lease that is not there", "c", "1", 4_711).await;
    etcd.range("a range", range()).await;
    etcd.range("keys alone", RangeRequest { keys_only: true, ..range() }).await;
    etcd.range("a page", RangeRequest { limit: 1, ..range() }).await;
    let then = |revision| RangeRequest { revision, ..range() };
    etcd.range("a range of then", then(base + 1)).await;
    etcd.range("a range of the future", then(base + 1_000)).await;
    etcd.range("a range without a key", RangeRequest::default()).await;
    etcd.delete("a deletion", key("b"), Bytes::new()).await;
    etcd.delete("a deletion of nothing", key("b"), Bytes::new()).await;

    let watch = |start_revision| WatchCreateRequest {
        key: "/recorded/".into(),
        range_end: "/recorded0".into(),
        start_revision,
        progress_notify: true,
        fragment: true,
    };
    etcd.watch("a watch from then", watch(base + 1), 4).await;
    etcd.watch("a watch that is cancelled", watch(0), 0).await;

    let grant = |ttl| LeaseGrantRequest { ttl, id: 0 };
    let path = "/etcdserverpb.Lease/LeaseGrant";
    let lease: LeaseGrantResponse = etcd.ask(path, grant(30)).await.unwrap();
    etcd.note("a lease", Ok(lease.clone()), |of| json!({ "ttl": of.ttl, "error": of.error }));
    let short = etcd.ask::<_, LeaseGrantResponse>(path, grant(1)).await;
    etcd.note("a lease that is too short", short, |of| json!({ "ttl": of.ttl }));
    etcd.put("a put with a lease", "c", "1", lease.id).await;
    etcd.put("another with it", "d", "1", lease.id).await;
    etcd.range("a range with a lease", range()).await;
    etcd.keep_alive("a lease that is kept", lease.id).await;
    etcd.keep_alive("a lease that is not there", 4_711).await;
    etcd.revoke("a lease that is revoked", lease.id).await;
    etcd.revoke("a lease that was revoked", lease.id).await;
    etcd.keep_alive("a lease that is over", lease.id).await;
    etcd.range("a range after that", range()).await;
    etcd.watch("a watch of the end of a lease", watch(base + 7), 2).await;

    let compact = |revision| CompactionRequest { revision, physical: true };
    let path = "/etcdserverpb.KV/Compact";
    let done = etcd.ask::<_, Done>(path, compact(base + 5)).await;
    etcd.note("a compaction", done, |_| json!({}));
    let again = etcd.ask::<_, Done>(path, compact(base + 5)).await;
    etcd.note("the same compaction", again, |_| json!({}));
    etcd.range("a range of what was compacted", then(base + 2)).await;
    etcd.watch("a watch of what was compacted", watch(base + 2), 1_000).await;
    etcd.watch("a watch from where it was compacted", watch(base + 6), 3).await;

    let who = AuthenticateRequest { name: "tax".into(), password: "s3cret".into() };
    let answer = etcd.ask::<_, AuthenticateResponse>("/etcdserverpb.Auth/Authenticate", who).await;
    etcd.note("a user where none are asked for", answer, |_| json!({}));

    let lease: LeaseGrantResponse =
        etcd.ask("/etcdserverpb.Lease/LeaseGrant", grant(30)).await.unwrap();
    let put = |of, lease| Operation::Put(PutRequest { key: key(of), value: "9".into(), lease });
    let delete =
        || Operation::Delete(DeleteRangeRequest { key: key("e"), range_end: Bytes::new() });
    etcd.change("a change of what is not there", "e", 0, put("e", lease.id)).await;
    etcd.change("a change of what has a lease", "e", 0, put("e", lease.id)).await;
    etcd.change("a change of what has that lease", "e", lease.id, put("e", lease.id)).await;
    etcd.change("a change to a lease that is not there", "e", lease.id, put("e", 4_711)).await;
    etcd.change("a change of what has no lease", "a", 0, put("a", 0)).await;
    etcd.change("a deletion of what has another lease", "e", 4_711, delete()).await;
    etcd.keys_of_lease("the keys of a lease", lease.id).await;
    etcd.change("a deletion of what has that lease", "e", lease.id, delete()).await;
    etcd.keys_of_lease("the keys of a lease without any", lease.id).await;
    etcd.keys_of_lease("the keys of a lease that is not there", 4_711).await;
    etcd.change("a deletion of what is not there", "e", lease.id, delete()).await;
    etcd.range("a range after the changes", range()).await;
    etcd.revoke("a lease without keys", lease.id).await;
    etcd.told
}

/// Where there is a user `tax` who may read and write below `/recorded/`.
async fn guarded(url: &str) -> serde_json::Map<String, Value> {
    let mut etcd = Client::new(url).await;
    etcd.range("a range of no user", range()).await;
    etcd.token = Some("nonsense".into());
    etcd.range("a range with a wrong token", range()).await;
    let watch = |prefix: &str| WatchCreateRequest {
        key: format!("{prefix}/").into(),
        range_end: format!("{prefix}0").into(),
        start_revision: 0,
        progress_notify: true,
        fragment: true,
    };
    etcd.watch("a watch with a wrong token", watch("/recorded"), 1).await;
    etcd.token = None;
    let who =
        |password: &str| AuthenticateRequest { name: "tax".into(), password: password.into() };
    let path = "/etcdserverpb.Auth/Authenticate";
    let wrong = etcd.ask::<_, AuthenticateResponse>(path, who("wr0ng")).await;
    etcd.note("a wrong password", wrong, |_| json!({}));
    let right: AuthenticateResponse = etcd.ask(path, who("s3cret")).await.unwrap();
    etcd.note("a password", Ok(right.clone()), |of| json!({ "is_there": !of.token.is_empty() }));
    etcd.token = Some(right.token);
    let allowed = etcd.ask::<_, RangeResponse>("/etcdserverpb.KV/Range", range()).await;
    etcd.note("a range that is allowed", allowed, |of| json!({ "count": of.count }));
    let other = RangeRequest { key: "/other/".into(), range_end: "/other0".into(), ..range() };
    etcd.range("a range that is forbidden", other).await;
    etcd.watch("a watch that is forbidden", watch("/other"), 1).await;
    let of = |key: &'static str| PutRequest { key: key.into(), value: "1".into(), lease: 0 };
    for (step, compared, written) in [
        ("a change that is allowed", "/recorded/x", "/recorded/x"),
        ("a change for what must not be read", "/other/x", "/recorded/x"),
        ("a change of what must not be written", "/recorded/x", "/other/x"),
    ] {
        let asked = TxnRequest {
            compare: vec![Compare { target: LEASE, key: compared.into(), lease: 1 }],
            success: vec![RequestOp { operation: Some(Operation::Put(of(written))) }],
        };
        let answer = etcd.ask::<_, TxnResponse>("/etcdserverpb.KV/Txn", asked).await;
        etcd.note(step, answer, |of| json!({ "succeeded": of.succeeded }));
    }
    etcd.told
}

fn recorded() -> Value {
    serde_json::from_str(RECORDED).unwrap()
}

fn compare(part: &str, told: serde_json::Map<String, Value>) {
    let recorded = recorded()[part].as_object().unwrap().clone();
    assert_eq!(recorded.len(), told.len());
    let wrong: Vec<_> = told.iter().filter(|(step, told)| recorded[*step] != **told).collect();
    for (step, told) in &wrong {
        println!("{step}:\n  real   {}\n  double {told}", recorded[*step]);
    }
    assert!(wrong.is_empty(), "{} steps differ", wrong.len());
}

#[tokio::test]
async fn the_double_answers_as_a_real_etcd_did() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    compare("open", open(&member.url()).await);
    let cluster = Cluster::new();
    let member = cluster.member().await;
    cluster.store().user = Some(("tax".into(), "s3cret".into(), "/recorded/".into()));
    compare("guarded", guarded(&member.url()).await);
}

/// With `TOWER_UPSTREAM_RECORD`, the recording is written there.
#[tokio::test]
async fn a_real_etcd_answers_as_it_did() {
    let Some(url) = real::given("ETCD_DEV") else { return };
    let Some(with_users) = real::given("ETCD_USERS") else { return };
    let told = json!({ "open": open(&url).await, "guarded": guarded(&with_users).await });
    if let Ok(path) = std::env::var("TOWER_UPSTREAM_RECORD") {
        std::fs::write(path, serde_json::to_string_pretty(&told).unwrap() + "\n").unwrap();
        return;
    }
    for part in ["open", "guarded"] {
        compare(part, told[part].as_object().unwrap().clone());
    }
}
