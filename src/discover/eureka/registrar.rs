use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::{
    super::register::{Instance, Kept, Registrar, Round},
    body::{Lease, at, registration},
    client::Client,
    config::EurekaConfig,
    document,
    info::Info,
    status::EurekaStatus,
    wanted::{of_app, of_instance},
};
use crate::{
    error::{BoxError, Error, Kind},
    sync::lock,
    time::{self, Instant},
};

/// Instances that are kept alive at once.
const PARALLEL: usize = 8;

/// Announces instances to Eureka. Made by [`Eureka::registrar`](super::Eureka::registrar).
///
/// | of an endpoint | in Eureka |
/// |---|---|
/// | key | `instanceId` |
/// | address | `hostName` and `ipAddr`, and the port, which for `https` is the secure one; another scheme as `metadata.protocol` |
/// | weight, tags, locality | `metadata`: `weight`, `tags` with commas between them, `region`, `zone`, `sub_zone` |
/// | metadata | `metadata` |
/// | status | `DOWN` for one that is critical, otherwise `UP` |
/// | draining | the override `OUT_OF_SERVICE`, so that it gets no new calls |
///
/// The service is the application, in capital letters, and the virtual address, as it is written.
///
/// What the servers have lost, or have in an older form, is announced again. What they have in a form that has a later
/// date, such as of a process whose clock was ahead, is replaced too. An override that this registrar has not set
/// stays as it is, and ends once the instance is deregistered or expires.
///
/// # Bounds
/// 128 pairs of metadata, keys of 128 and values of 4,096 bytes. Tags have no commas. The address must have a host
/// and no path.
///
/// # Example
/// ```no_run
/// use std::time::Duration;
/// use tower_upstream::{
///     Endpoint,
///     discover::{Eureka, EurekaConfig, Registry},
/// };
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let registry = Registry::new(Eureka::new(EurekaConfig::default())?.registrar());
/// let tax = registry.register("tax", Endpoint::new("http://10.0.0.1:8080")?)?;
/// // Serve, and before the end:
/// tax.drain();
/// tax.deregister(Duration::from_secs(5)).await?;
/// # Ok(()) }
/// ```
pub struct EurekaRegistrar {
    client: Arc<Client>,
    lease: Lease,
    replication: Duration,
    /// Milliseconds of the newest registration: a server keeps what is newer.
    newest: AtomicU64,
    /// The ids whose status is overridden by this. A session may end before an override does.
    overridden: Mutex<HashSet<String>>,
}

/// What the servers have.
#[derive(Debug, Default)]
#[allow(unnameable_types, reason = "what a registrar remembers is for the registrar alone")]
pub struct EurekaSession {
    written: HashMap<String, Written>,
    looked_at: Option<Instant>,
    round: Round,
}

#[derive(Debug)]
struct Written {
    body: Value,
    time: u64,
    is_draining: bool,
}

impl EurekaRegistrar {
    pub(super) fn new(client: Arc<Client>, config: &EurekaConfig) -> Self {
        let lease =
            Lease { renewal: config.lease_renewal_interval, duration: config.lease_duration };
        Self {
            client,
            lease,
            replication: config.instance_info_replication_interval,
            newest: AtomicU64::new(0),
            overridden: Mutex::default(),
        }
    }

    /// When a registration counts as written: not before an earlier one, whatever the clock says.
    fn stamp(&self, instance: &Instance) -> u64 {
        let since = instance.updated_at().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = since.as_millis().try_into().unwrap_or(u64::MAX);
        // A counter by itself: no order is needed.
        self.newest.fetch_max(millis, Ordering::Relaxed).max(millis)
    }

    async fn post(&self, instance: &Instance, body: Value) -> Result<(), Error> {
        let path = of_app(instance.service());
        self.client.ask(Method::POST, &path, Bytes::from(body.to_string())).await?.accept()?;
        Ok(())
    }

    /// Overrides its status, or ends that. `false`: the server does not know the instance.
    async fn overrides(&self, instance: &Instance, is_draining: bool) -> Result<bool, Error> {
        let (app, id) = (instance.service(), instance.id());
        let (method, status) = match is_draining {
            true => (Method::PUT, EurekaStatus::OutOfService),
            false => (Method::DELETE, EurekaStatus::announced(instance.endpoint().status())),
        };
        if is_draining {
            lock(&self.overridden).insert(id.to_owned());
        }
        let is_known = override_status(&self.client, method, app, id, status).await?;
        if !is_draining {
            lock(&self.overridden).remove(id);
        }
        Ok(is_known)
    }

    /// `false`: the server does not know the instance, or an older form of it.
    async fn beat(&self, instance: &Instance, time: Option<u64>) -> Result<bool, Error> {
        let status = match instance.endpoint().is_draining() {
            true => EurekaStatus::OutOfService,
            false => EurekaStatus::announced(instance.endpoint().status()),
        };
        let path = of_instance(instance.service(), instance.id());
        let mut path = format!("{path}?status={}", status.as_str());
        if let Some(time) = time {
            path.push_str(&format!("&lastDirtyTimestamp={time}"));
        }
        let answer = self.client.ask(Method::PUT, &path, Bytes::new()).await?;
        Ok(answer.accept_some()?.is_some())
    }

    /// What a server has of the instance.
    async fn known(&self, instance: &Instance) -> Result<Option<Info>, Error> {
        let path = of_instance(instance.service(), instance.id());
        let answer = self.client.get(&path).await?.accept_some()?;
        answer.map(|answer| answer.json(document::instance)).transpose()
    }

    /// Whether a server has the instance as it was written at `time`, or newer.
    async fn has(&self, instance: &Instance, time: Option<u64>) -> Result<bool, Error> {
        let Some(info) = self.known(instance).await? else { return Ok(false) };
        let older = |(has, wrote): (u64, u64)| has < wrote;
        Ok(!info.written_at().zip(time).is_some_and(older))
    }
}

/// Overrides the status of an instance with `PUT`, or ends that with `DELETE`. `false`: there is no such instance.
pub(super) async fn override_status(
    client: &Client,
    method: Method,
    app: &str,
    id: &str,
    status: EurekaStatus,
) -> Result<bool, Error> {
    let path = format!("{}/status?value={}", of_instance(app, id), status.as_str());
    Ok(client.ask(method, &path, Bytes::new()).await?.accept_some()?.is_some())
}

impl Registrar for EurekaRegistrar {
    type Session = EurekaSession;

    fn name(&self) -> String {
        self.client.name()
    }

    fn keep_alive_every(&self) -> Option<Duration> {
        Some(self.lease.renewal)
    }

    fn timeout(&self) -> Duration {
        self.client.longest() * 4
    }

    async fn put(&self, session: &mut EurekaSession, instance: &Instance) -> Result<(), BoxError> {
        let id = instance.id();
        let body = registration(instance, self.lease)?;
        let is_draining = instance.endpoint().is_draining();
        if session.written.get(id).is_none_or(|written| written.body != body) {
            // What it is known to have is unknown until this has succeeded.
            session.written.remove(id);
            // A server keeps what it has if that is newer: written by a clock that was ahead, or dated by itself. One
            // that does not tell what it has may take an instance all the same.
            let known = self.known(instance).await.ok().flatten();
            let known = known.and_then(|info| info.written_at()).unwrap_or(0);
            let time = self.stamp(instance).max(known);
            if is_draining {
                lock(&self.overridden).insert(id.to_owned());
            }
            self.post(instance, at(body.clone(), time, is_draining)).await?;
            let written = Written { body, time, is_draining: false };
            session.written.insert(id.to_owned(), written);
        }
        let Some(written) = session.written.get_mut(id) else { return Ok(()) };
        let is_overridden = lock(&self.overridden).contains(id);
        let is_known = match (is_draining, written.is_draining || is_overridden) {
            (true, _) if !written.is_draining => self.overrides(instance, true).await?,
            (false, true) => self.overrides(instance, false).await?,
            _ => return Ok(()),
        };
        written.is_draining = is_draining;
        if !is_known {
            session.written.remove(id);
            return Err(Error::unsent("Eureka does not know what it was just told").into());
        }
        Ok(())
    }

    async fn keep_alive(
        &self,
        session: &mut EurekaSession,
        instances: &[Instance],
    ) -> Result<Kept, BoxError> {
        let now = time::now();
        let EurekaSession { written, looked_at, round } = session;
        let last = *looked_at.get_or_insert(now);
        let looks = now.saturating_duration_since(last) >= self.replication;
        if looks {
            *looked_at = Some(now);
        }
        let tell = |instance: Instance| {
            let time = written.get(instance.id()).map(|written| written.time);
            async move {
                let is_known = self.beat(&instance, time).await?;
                Ok(is_known && (!looks || self.has(&instance, time).await?))
            }
        };
        let limit = self.client.longest() * 2;
        let slow = || Error::failed(Kind::Timeout).message(format!("{} is slow", self.name()));
        Ok(round.run(instances, (PARALLEL, limit), tell, slow).await?)
    }

    async fn remove(
        &self,
        session: &mut EurekaSession,
        instance: &Instance,
    ) -> Result<(), BoxError> {
        session.written.remove(instance.id());
        let path = of_instance(instance.service(), instance.id());
        let answer = self.client.ask(Method::DELETE, &path, Bytes::new()).await?;
        // One that is not there is removed already, and its override with it.
        if answer.status() != StatusCode::NOT_FOUND {
            answer.accept()?;
        }
        lock(&self.overridden).remove(instance.id());
        Ok(())
    }
}

impl fmt::Debug for EurekaRegistrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EurekaRegistrar")
            .field("servers", &self.client.name())
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
