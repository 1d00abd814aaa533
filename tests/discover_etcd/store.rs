//! What the members of a cluster agree on: keys with their history, leases, users.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::messages::{
    AuthenticateRequest, AuthenticateResponse, DELETED, DeleteRangeRequest, Done, Event, Header,
    KeyValue, LEASE, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseRequest,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, Operation, PutRequest, RangeRequest,
    RangeResponse, TxnRequest, TxnResponse,
};

#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteRangeResponse {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(int64, tag = "2")]
    pub deleted: i64,
}

pub struct Lease {
    pub ttl: i64,
    pub expires: Instant,
    keys: BTreeSet<Bytes>,
}

pub struct Store {
    pub cluster_id: u64,
    pub revision: i64,
    pub compacted: i64,
    keys: BTreeMap<Bytes, KeyValue>,
    history: Vec<Event>,
    pub leases: BTreeMap<i64, Lease>,
    next_lease: i64,
    /// User, password, and what the keys begin with that it may read and write.
    pub user: Option<(String, String, Bytes)>,
    pub tokens: HashSet<String>,
    token_count: usize,
    /// How often each method was called.
    pub asked: HashMap<&'static str, usize>,
    pub revoked: Vec<i64>,
    /// No lease ends while no member runs.
    is_asleep: bool,
}

fn status<T>(code: Code, text: &str) -> Result<T, Status> {
    Err(Status::new(code, format!("etcdserver: {text}")))
}

/// Whether a key is in a range of etcd: one key, or those up to an end, or from a key on.
pub fn is_in(key: &[u8], first: &[u8], end: &[u8]) -> bool {
    match end {
        b"" => key == first,
        b"\0" => key >= first,
        end => key >= first && key < end,
    }
}

impl Store {
    pub fn new() -> Self {
        Self {
            cluster_id: 7,
            revision: 1,
            compacted: 0,
            keys: BTreeMap::new(),
            history: Vec::new(),
            leases: BTreeMap::new(),
            next_lease: 1,
            user: None,
            tokens: HashSet::new(),
            token_count: 0,
            asked: HashMap::new(),
            revoked: Vec::new(),
            is_asleep: false,
        }
    }

    pub fn header(&self) -> Header {
        Header { cluster_id: self.cluster_id, member_id: 1, revision: self.revision }
    }

    /// Refuses a token that is not one, and keys that are not for its user.
    pub fn check(&self, token: Option<&str>, first: &[u8], end: &[u8]) -> Result<(), Status> {
        let Some((_, _, prefix)) = &self.user else { return Ok(()) };
        match token {
            None => return status(Code::InvalidArgument, "user name is empty"),
            Some(token) if !self.tokens.contains(token) => {
                return status(Code::Unauthenticated, "invalid auth token");
            }
            Some(_) => {}
        }
        let is_allowed = first.starts_with(prefix) && (end.is_empty() || end > &prefix[..]);
        if is_allowed { Ok(()) } else { status(Code::PermissionDenied, "permission denied") }
    }

    pub fn authenticate(
        &mut self,
        asked: &AuthenticateRequest,
    ) -> Result<AuthenticateResponse, Status> {
        let Some((name, password, _)) = &self.user else {
            return status(Code::FailedPrecondition, "authentication is not enabled");
        };
        if (name, password) != (&asked.name, &asked.password) {
            return status(
                Code::InvalidArgument,
                "authentication failed, invalid user ID or password",
            );
        }
        self.token_count += 1;
        let token = format!("token.{}", self.token_count);
        self.tokens.insert(token.clone());
        Ok(AuthenticateResponse { header: Some(self.header()), token })
    }

    pub fn range(&self, asked: &RangeRequest) -> Result<RangeResponse, Status> {
        if asked.key.is_empty() {
            return status(Code::InvalidArgument, "key is not provided");
        }
        if asked.revision > self.revision {
            return status(Code::OutOfRange, "mvcc: required revision is a future revision");
        }
        if asked.revision > 0 && asked.revision < self.compacted {
            return status(Code::OutOfRange, "mvcc: required revision has been compacted");
        }
        let then =
            (asked.revision > 0 && asked.revision < self.revision).then(|| self.at(asked.revision));
        let found =
            then.as_ref().unwrap_or(&self.keys).range(asked.key.clone()..).map(|(_, kv)| kv);
        let found = found.take_while(|kv| is_in(&kv.key, &asked.key, &asked.range_end));
        let count = found.clone().count();
        let limit = usize::try_from(asked.limit).ok().filter(|limit| *limit > 0);
        let mut kvs: Vec<_> = found.take(limit.unwrap_or(count)).cloned().collect();
        if asked.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        let (more, count) = (kvs.len() < count, count as i64);
        Ok(RangeResponse { header: Some(self.header()), kvs, more, count })
    }

    /// What there was at a revision.
    fn at(&self, revision: i64) -> BTreeMap<Bytes, KeyValue> {
        let mut keys = BTreeMap::new();
        for event in &self.history {
            let kv = event.kv.clone().unwrap();
            if kv.mod_revision > revision {
                break;
            }
            match event.kind {
                DELETED => keys.remove(&kv.key),
                _ => keys.insert(kv.key.clone(), kv),
            };
        }
        keys
    }

    pub fn put(&mut self, asked: PutRequest) -> Result<Done, Status> {
        if asked.key.is_empty() {
            return status(Code::InvalidArgument, "key is not provided");
        }
        if asked.lease != 0 && !self.leases.contains_key(&asked.lease) {
            return status(Code::NotFound, "requested lease not found");
        }
        self.revision += 1;
        let before = self.keys.get(&asked.key);
        let kv = KeyValue {
            key: asked.key.clone(),
            value: asked.value,
            mod_revision: self.revision,
            create_revision: before.map_or(self.revision, |kv| kv.create_revision),
            version: before.map_or(1, |kv| kv.version + 1),
            lease: asked.lease,
        };
        if let Some(lease) = before.map(|kv| kv.lease).and_then(|of| self.leases.get_mut(&of)) {
            lease.keys.remove(&asked.key);
        }
        if let Some(lease) = self.leases.get_mut(&asked.lease) {
            lease.keys.insert(asked.key.clone());
        }
        self.keys.insert(asked.key, kv.clone());
        self.history.push(Event { kind: 0, kv: Some(kv) });
        Ok(Done { header: Some(self.header()) })
    }

    pub fn delete(&mut self, asked: &DeleteRangeRequest) -> Result<DeleteRangeResponse, Status> {
        if asked.key.is_empty() {
            return status(Code::InvalidArgument, "key is not provided");
        }
        let keys = self.keys.keys().filter(|key| is_in(key, &asked.key, &asked.range_end));
        let keys: Vec<_> = keys.cloned().collect();
        let deleted = self.remove(&keys);
        Ok(DeleteRangeResponse { header: Some(self.header()), deleted })
    }

    pub fn txn(&mut self, asked: TxnRequest) -> Result<TxnResponse, Status> {
        let is_so = asked.compare.iter().all(|of| {
            assert_eq!(of.target, LEASE, "nothing else is compared");
            self.keys.get(&of.key).map_or(0, |kv| kv.lease) == of.lease
        });
        for of in asked.success.into_iter().filter(|_| is_so) {
            match of.operation.unwrap() {
                Operation::Put(put) => self.put(put).map(|_| ())?,
                Operation::Delete(delete) => self.delete(&delete).map(|_| ())?,
            }
        }
        Ok(TxnResponse { header: Some(self.header()), succeeded: is_so })
    }

    /// All at one revision.
    fn remove(&mut self, keys: &[Bytes]) -> i64 {
        let keys: Vec<_> = keys.iter().filter(|key| self.keys.remove(*key).is_some()).collect();
        if keys.is_empty() {
            return 0;
        }
        self.leases.values_mut().for_each(|lease| lease.keys.retain(|key| !keys.contains(&key)));
        self.revision += 1;
        for key in &keys {
            let kv = KeyValue {
                key: (*key).clone(),
                mod_revision: self.revision,
                ..KeyValue::default()
            };
            self.history.push(Event { kind: DELETED, kv: Some(kv) });
        }
        keys.len() as i64
    }

    pub fn compact(&mut self, revision: i64) {
        self.compacted = revision;
    }

    pub fn compact_as_asked(&mut self, revision: i64) -> Result<Done, Status> {
        if revision > self.revision {
            return status(Code::OutOfRange, "mvcc: required revision is a future revision");
        }
        if revision <= self.compacted {
            return status(Code::OutOfRange, "mvcc: required revision has been compacted");
        }
        self.compact(revision);
        Ok(Done { header: Some(self.header()) })
    }

    /// The events of a range from a revision on; `Err` has the revision that was compacted.
    pub fn events(&self, first: &[u8], end: &[u8], from: i64) -> Result<Vec<Event>, i64> {
        if from <= self.compacted {
            return Err(self.compacted);
        }
        let is_new = |event: &&Event| {
            let kv = event.kv.as_ref().unwrap();
            kv.mod_revision >= from && is_in(&kv.key, first, end)
        };
        // What is asked for is mostly the end.
        let start = self.history.partition_point(|of| of.kv.as_ref().unwrap().mod_revision < from);
        Ok(self.history[start..].iter().filter(is_new).cloned().collect())
    }

    pub fn grant(&mut self, asked: &LeaseGrantRequest) -> Result<LeaseGrantResponse, Status> {
        // A real one asks for the least that its election timeout allows.
        let ttl = asked.ttl.max(2);
        let id = if asked.id == 0 { self.next_lease } else { asked.id };
        if self.leases.contains_key(&id) {
            return status(Code::FailedPrecondition, "lease already exists");
        }
        self.next_lease += 1;
        let expires = Instant::now() + Duration::from_secs(ttl as u64);
        self.leases.insert(id, Lease { ttl, expires, keys: BTreeSet::new() });
        Ok(LeaseGrantResponse { header: Some(self.header()), id, ttl, error: String::new() })
    }

    pub fn revoke(&mut self, asked: &LeaseRequest) -> Result<Done, Status> {
        let Some(lease) = self.leases.remove(&asked.id) else {
            return status(Code::NotFound, "requested lease not found");
        };
        self.remove(&lease.keys.into_iter().collect::<Vec<_>>());
        self.revoked.push(asked.id);
        Ok(Done { header: Some(self.header()) })
    }

    pub fn keep_alive(&mut self, asked: &LeaseRequest) -> LeaseKeepAliveResponse {
        let ttl = self.leases.get_mut(&asked.id).map_or(0, |lease| {
            lease.expires = Instant::now() + Duration::from_secs(lease.ttl as u64);
            lease.ttl
        });
        LeaseKeepAliveResponse { header: Some(self.header()), id: asked.id, ttl }
    }

    pub fn time_to_live(&self, asked: &LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse {
        let header = Some(self.header());
        let Some(lease) = self.leases.get(&asked.id) else {
            return LeaseTimeToLiveResponse { header, ttl: -1, keys: vec![] };
        };
        let ttl = lease.expires.saturating_duration_since(Instant::now()).as_secs() as i64;
        let keys = lease.keys.iter().filter(|_| asked.keys).cloned().collect();
        LeaseTimeToLiveResponse { header, ttl, keys }
    }

    /// The whole cluster stops, or begins again: then each lease has its whole time.
    pub fn sleeps(&mut self, is_asleep: bool) {
        self.is_asleep = is_asleep;
        for lease in self.leases.values_mut() {
            lease.expires = Instant::now() + Duration::from_secs(lease.ttl as u64);
        }
    }

    /// Ends the leases that are over. Tells when to look again.
    pub fn expire(&mut self, now: Instant) -> Option<Instant> {
        if self.is_asleep {
            return None;
        }
        let over = self.leases.iter().filter(|(_, of)| of.expires <= now).map(|(id, _)| *id);
        for id in over.collect::<Vec<_>>() {
            let keys = self.leases.remove(&id).unwrap().keys;
            self.remove(&keys.into_iter().collect::<Vec<_>>());
        }
        self.leases.values().map(|lease| lease.expires).min()
    }

    pub fn keys_below(&self, prefix: &str) -> Vec<String> {
        let from = (Bound::Included(Bytes::from(prefix.to_owned())), Bound::Unbounded);
        let keys = self.keys.range(from).map(|(key, _)| key);
        let keys = keys.take_while(|key| key.starts_with(prefix.as_bytes()));
        keys.map(|key| String::from_utf8(key.to_vec()).unwrap()).collect()
    }

    pub fn value(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key.as_bytes())
    }
}
