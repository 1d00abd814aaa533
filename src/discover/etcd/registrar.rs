use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;
use tonic::Streaming;

use super::{
    super::register::{Instance, Kept, Registrar},
    client::Client,
    failure::{is_of_lease, nonsense},
    keys::Keys,
    link::Link,
    messages::{
        Compare, DeleteRangeRequest, Done, LEASE, LeaseGrantRequest, LeaseGrantResponse,
        LeaseKeepAliveResponse, LeaseRequest, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
        Operation, PutRequest, RequestOp, TxnRequest, TxnResponse,
    },
};
use crate::{
    endpoint::Status,
    error::{BoxError, Error, Kind},
    sync::lock,
};

/// Announces instances in etcd. Made by [`Etcd::registrar`](super::Etcd::registrar).
///
/// All instances of a [`Registry`](super::super::Registry) have one lease, of
/// [`lease_ttl`](super::EtcdConfig::lease_ttl). Its end removes them together; if it is lost, they are written
/// again under a new one, as is everything if one of the keys was deleted. Nothing is ever written without a lease.
///
/// An id is of the process that has announced it last: one that had it before, such as that which a restart
/// replaces, neither changes nor removes it any more. To tell them apart, a user needs to read the keys, too.
///
/// The values are JSON as the [Go library](super::Etcd) writes them. A status that was not set is `passing`.
///
/// # Example
/// ```no_run
/// use std::time::Duration;
/// use tower_upstream::{
///     Endpoint,
///     discover::{Etcd, EtcdConfig, Registry},
/// };
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let registry = Registry::new(Etcd::new(EtcdConfig::default())?.registrar());
/// let tax = registry.register("tax", Endpoint::new("http://10.0.0.1:8080")?)?;
/// // Serve, and before the end:
/// tax.drain();
/// tax.deregister(Duration::from_secs(5)).await?;
/// # Ok(()) }
/// ```
pub struct EtcdRegistrar {
    client: Arc<Client>,
    keys: Keys,
    own: Mutex<HashMap<Bytes, Own>>,
}

/// What this has written of one key.
#[derive(Default)]
struct Own {
    /// Under which it may be there, the newest last: of which it is, an answer that was lost would have told.
    leases: Vec<i64>,
    /// Whether it was there.
    is_taken: bool,
}

/// Most leases of one key that are tried. The others are over.
const MAX_LEASES: usize = 4;

/// The lease, and what keeps it.
#[derive(Default)]
#[allow(unnameable_types, reason = "what a registrar remembers is for the registrar alone")]
pub struct EtcdSession {
    lease: Option<i64>,
    /// A put found that the lease is over.
    is_lost: bool,
    keeper: Option<Keeper>,
    /// Stays open while the session lasts.
    link: Option<Arc<Link>>,
}

impl fmt::Debug for EtcdSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdSession").field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// The stream on which a lease is kept alive.
struct Keeper {
    link: Arc<Link>,
    requests: mpsc::UnboundedSender<LeaseRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl EtcdRegistrar {
    pub(super) fn new(client: Arc<Client>, keys: Keys) -> Self {
        Self { client, keys, own: Mutex::default() }
    }

    async fn link(&self, session: &mut EtcdSession) -> Result<Arc<Link>, Error> {
        let link = self.client.link().await?;
        session.link = Some(link.clone());
        Ok(link)
    }

    /// The lease of a session, which begins with it.
    async fn lease(&self, session: &mut EtcdSession, link: &Arc<Link>) -> Result<i64, Error> {
        if let Some(lease) = session.lease.filter(|_| !session.is_lost) {
            return Ok(lease);
        }
        let ttl = self.client.config.lease_ttl.as_secs();
        let request = LeaseGrantRequest { ttl: ttl.try_into().unwrap_or(i64::MAX), id: 0 };
        let granted: LeaseGrantResponse =
            self.client.ask(link, "/etcdserverpb.Lease/LeaseGrant", request).await?;
        if granted.id == 0 || !granted.error.is_empty() {
            return Err(nonsense(&link.url, &format!("no lease is granted: {}", granted.error)));
        }
        session.lease = Some(granted.id);
        Ok(granted.id)
    }

    /// Does something with a key if it is under one of these leases. Tells whether it was.
    async fn if_under(
        &self,
        link: &Arc<Link>,
        key: &Bytes,
        leases: impl IntoIterator<Item = i64>,
        operation: Operation,
    ) -> Result<bool, Error> {
        for lease in leases {
            let request = TxnRequest {
                compare: vec![Compare { target: LEASE, key: key.clone(), lease }],
                success: vec![RequestOp { operation: Some(operation.clone()) }],
            };
            let path = "/etcdserverpb.KV/Txn";
            if self.client.ask::<_, TxnResponse>(link, path, request).await?.succeeded {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn write(&self, link: &Arc<Link>, put: PutRequest) -> Result<(), Error> {
        let (key, lease) = (put.key.clone(), put.lease);
        let (leases, is_taken) = {
            let mut all = lock(&self.own);
            let own = all.entry(key.clone()).or_default();
            own.leases.retain(|of| *of != lease);
            own.leases.push(lease);
            let over = own.leases.len().saturating_sub(MAX_LEASES);
            own.leases.drain(..over);
            (own.leases.clone(), own.is_taken)
        };
        if is_taken {
            // It may have none, or be gone.
            let leases = leases.into_iter().rev().chain([0]);
            if !self.if_under(link, &key, leases, Operation::Put(put)).await? {
                return Err(Error::failed(Kind::InvalidConfig)
                    .message("another process has announced this id in etcd since"));
            }
        } else {
            self.client.ask::<_, Done>(link, "/etcdserverpb.KV/Put", put).await?;
        }
        lock(&self.own).insert(key, Own { leases: vec![lease], is_taken: true });
        Ok(())
    }

    /// Asks for another term. Tells how many seconds there are.
    async fn renew(&self, session: &mut EtcdSession, lease: i64) -> Result<i64, Error> {
        let mut keeper = match session.keeper.take() {
            Some(keeper) => keeper,
            None => {
                let link = self.link(session).await?;
                return self.begin_renewing(session, link, lease).await;
            }
        };
        let _ = keeper.requests.send(LeaseRequest { id: lease });
        let ttl = self.answer(&mut keeper).await?;
        session.keeper = Some(keeper);
        Ok(ttl)
    }

    /// The first request goes with the stream: a member answers to that.
    async fn begin_renewing(
        &self,
        session: &mut EtcdSession,
        link: Arc<Link>,
        lease: i64,
    ) -> Result<i64, Error> {
        let token = self.client.token(&link).await?;
        let (requests, mut receiver) = mpsc::unbounded_channel::<LeaseRequest>();
        // Cannot fail: the receiver is here.
        let _ = requests.send(LeaseRequest { id: lease });
        let asked = stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let path = "/etcdserverpb.Lease/LeaseKeepAlive";
        let opening = link.converse(path, asked, token.as_deref());
        let answers = match self.client.in_time(&link, opening).await? {
            Ok(answers) => answers,
            Err(status) => return Err(self.client.failed(&link, status)),
        };
        let mut keeper = Keeper { link, requests, answers };
        let ttl = self.answer(&mut keeper).await?;
        session.keeper = Some(keeper);
        Ok(ttl)
    }

    async fn answer(&self, keeper: &mut Keeper) -> Result<i64, Error> {
        let Keeper { link, answers, .. } = keeper;
        match self.client.in_time(link, answers.message()).await? {
            Ok(Some(answer)) => Ok(answer.ttl),
            Ok(None) => {
                self.client.leave(link);
                Err(nonsense(&link.url, "the stream that keeps the lease has ended"))
            }
            Err(status) => Err(self.client.failed(link, status)),
        }
    }
}

impl Registrar for EtcdRegistrar {
    type Session = EtcdSession;

    fn name(&self) -> String {
        "etcd".to_owned()
    }

    fn keep_alive_every(&self) -> Option<Duration> {
        Some(self.client.config.lease_ttl / 3)
    }

    fn timeout(&self) -> Duration {
        self.client.longest_call()
    }

    async fn put(&self, session: &mut EtcdSession, instance: &Instance) -> Result<(), BoxError> {
        let key = self.keys.of_instance(instance.service(), instance.id())?;
        let link = self.link(session).await?;
        let lease = self.lease(session, &link).await?;
        let put = PutRequest { key, value: written(instance)?.into(), lease };
        let put = self.write(&link, put).await;
        if put.as_ref().is_err_and(is_of_lease) {
            session.is_lost = true;
        }
        put?;
        Ok(())
    }

    async fn keep_alive(
        &self,
        session: &mut EtcdSession,
        instances: &[Instance],
    ) -> Result<Kept, BoxError> {
        let Some(id) = session.lease.filter(|_| !session.is_lost) else { return Ok(Kept::Lost) };
        if self.renew(session, id).await? <= 0 {
            return Ok(Kept::Lost);
        }
        // What something else has deleted, or written over, is under no lease of this any more.
        let link = self.link(session).await?;
        let path = "/etcdserverpb.Lease/LeaseTimeToLive";
        let request = LeaseTimeToLiveRequest { id, keys: true };
        let LeaseTimeToLiveResponse { keys, .. } = self.client.ask(&link, path, request).await?;
        let keys: HashSet<_> = keys.into_iter().collect();
        let is_there = |of: &Instance| {
            let key = self.keys.of_instance(of.service(), of.id());
            key.is_ok_and(|key| keys.contains(&key))
        };
        Ok(if instances.iter().all(is_there) { Kept::Alive } else { Kept::Lost })
    }

    async fn remove(&self, session: &mut EtcdSession, instance: &Instance) -> Result<(), BoxError> {
        let key = self.keys.of_instance(instance.service(), instance.id())?;
        let leases = lock(&self.own).get(&key).map(|own| own.leases.clone()).unwrap_or_default();
        let link = self.link(session).await?;
        let delete = DeleteRangeRequest { key: key.clone(), range_end: Bytes::new() };
        let leases = leases.into_iter().rev();
        // What is not under one of them is of another process.
        self.if_under(&link, &key, leases, Operation::Delete(delete)).await?;
        lock(&self.own).remove(&key);
        Ok(())
    }

    async fn end(&self, mut session: EtcdSession) -> Result<(), BoxError> {
        lock(&self.own).clear();
        let Some(id) = session.lease else { return Ok(()) };
        let link = self.link(&mut session).await?;
        let path = "/etcdserverpb.Lease/LeaseRevoke";
        match self.client.ask::<_, Done>(&link, path, LeaseRequest { id }).await {
            Err(error) if !is_of_lease(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// One whose status was not set passes: it is announced when it listens.
fn written(instance: &Instance) -> Result<String, Error> {
    let endpoint = instance.endpoint();
    if endpoint.status() != Status::Unknown {
        return Ok(instance.to_json());
    }
    let passing = (**endpoint).clone().with_status(Status::Passing);
    Ok(Instance::new(instance.service(), passing)?.to_json())
}

impl fmt::Debug for EtcdRegistrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdRegistrar").field("config", &self.client.config).finish()
    }
}
