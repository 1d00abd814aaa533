use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::{
    super::{
        encode::encode,
        register::{Instance, Kept, Registrar, Round},
    },
    agent::Agent,
    body::{registration, status},
    check::{ConsulCheck, ConsulCheckKind},
    query::{Scope, Target},
};
use crate::error::{BoxError, Error, Kind};

/// Longest time of one request: an agent answers by itself, without the servers.
const LIMIT: Duration = Duration::from_secs(5);
/// How often to look whether the agent still knows the instances that it checks itself.
const LOOK: Duration = Duration::from_secs(30);
/// Longest time to tell that all instances are alive.
const ROUND: Duration = Duration::from_secs(14);
/// Instances that are kept alive at once.
const PARALLEL: usize = 32;

/// Announces instances to a Consul agent. Made by [`Consul::registrar`](super::Consul::registrar).
///
/// | of an endpoint | in Consul |
/// |---|---|
/// | key | `ID` |
/// | address | `Address` and `Port`; the scheme as `Meta.protocol` |
/// | weight | `Weights` |
/// | tags | `Tags` |
/// | metadata | `Meta`; dots in keys, which Consul refuses, become `_` |
/// | region and zone | `Meta.region`, `Meta.zone` |
/// | status | that of the check, if it is a TTL: one of an unknown status passes |
/// | draining | maintenance, so that it gets no new calls |
///
/// What the agent has forgotten is announced again. So is what was announced with a token that is replaced in its
/// [file](super::ConsulConfig::token_file): the agent tells the servers of it with the token that it came with.
///
/// # Bounds
/// Those of Consul: 64 pairs of metadata, keys of 128 and values of 512 bytes, a weight from 1 to 65,535. The
/// address must have a host and no path.
///
/// # Example
/// ```no_run
/// use std::time::Duration;
/// use tower_upstream::{
///     Endpoint,
///     discover::{Consul, ConsulCheck, ConsulConfig, Registry},
/// };
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let consul = Consul::new(ConsulConfig::default())?;
/// let registry = Registry::new(consul.registrar(ConsulCheck::default()));
/// let tax = registry.register("tax", Endpoint::new("http://10.0.0.1:8080")?)?;
/// // Serve, and before the end:
/// tax.drain();
/// tax.deregister(Duration::from_secs(5)).await?;
/// # Ok(()) }
/// ```
pub struct ConsulRegistrar {
    agent: Arc<Agent>,
    check: ConsulCheck,
    scope: Scope,
}

/// What the agent has.
#[derive(Debug, Default)]
#[allow(unnameable_types, reason = "what a registrar remembers is for the registrar alone")]
pub struct ConsulSession {
    written: HashMap<String, Written>,
    round: Round,
}

#[derive(Debug)]
struct Written {
    body: Value,
    /// The agent keeps it, and needs it for as long as it has the instance.
    token: Option<HeaderValue>,
    /// Unknown at first: another process may have left it so.
    in_maintenance: Option<bool>,
}

impl ConsulRegistrar {
    pub(super) fn new(agent: Arc<Agent>, check: ConsulCheck, scope: Scope) -> Self {
        Self { agent, check: check.clamped(), scope }
    }

    async fn put_json(&self, target: Target, body: &Value) -> Result<(), Error> {
        let target = target.within(&self.scope);
        self.agent.send(Method::PUT, &target, Bytes::from(body.to_string()), LIMIT).await?;
        Ok(())
    }

    async fn maintain(&self, id: &str, enable: bool) -> Result<(), Error> {
        let mut target = Target::new(&format!("/v1/agent/service/maintenance/{}", encode(id)));
        target.pair("enable", if enable { "true" } else { "false" });
        target.pair("reason", if enable { "draining" } else { "" });
        self.put_json(target, &Value::Null).await
    }

    /// Tells its status. `false`: the agent does not know the instance.
    async fn tell(&self, instance: &Instance) -> Result<bool, Error> {
        let id = instance.id();
        let target =
            Target::new(&format!("/v1/agent/check/update/{}", encode(&format!("service:{id}"))));
        let body = json!({"Status": status(instance.endpoint().status()), "Output": ""});
        let (target, body) = (target.within(&self.scope), Bytes::from(body.to_string()));
        let answer = self.agent.ask(Method::PUT, &target, body, LIMIT).await?;
        // Up to version 1.10 it is a 500.
        let is_unknown = answer.status() == StatusCode::NOT_FOUND
            || answer.status() == StatusCode::INTERNAL_SERVER_ERROR
                && String::from_utf8_lossy(answer.body()).contains("does not have associated TTL");
        if is_unknown {
            return Ok(false);
        }
        self.agent.accept(answer)?;
        Ok(true)
    }

    /// Whether the agent still knows all instances.
    async fn knows_all(&self, instances: &[Instance]) -> Result<bool, Error> {
        let target = Target::new("/v1/agent/services").within(&self.scope);
        let answer = self.agent.send(Method::GET, &target, Bytes::new(), LIMIT).await?;
        let known: HashMap<String, serde::de::IgnoredAny> = serde_json::from_slice(answer.body())
            .map_err(|error| {
            self.agent
                .failed(Kind::Transport, "has a list of services that cannot be read")
                .caused_by(error)
        })?;
        Ok(instances.iter().all(|instance| known.contains_key(instance.id())))
    }
}

impl Registrar for ConsulRegistrar {
    type Session = ConsulSession;

    fn name(&self) -> String {
        format!("Consul at `{}`", self.agent.address())
    }

    fn keep_alive_every(&self) -> Option<Duration> {
        Some(match self.check.kind {
            ConsulCheckKind::Ttl => self.check.ttl / 3,
            _ => LOOK,
        })
    }

    fn timeout(&self) -> Duration {
        LIMIT * 3
    }

    async fn put(&self, session: &mut ConsulSession, instance: &Instance) -> Result<(), BoxError> {
        let id = instance.id();
        let body = registration(instance, &self.check, &self.scope)?;
        // Asked first: if it is replaced now, it is too old here, and the instance is announced once too often.
        let token = self.agent.token().await?;
        if session.written.get(id).is_none_or(|written| written.body != body) {
            // What it is known to have is unknown until this has succeeded.
            session.written.remove(id);
            let mut target = Target::new("/v1/agent/service/register");
            // So that a check of another kind does not stay.
            target.pair("replace-existing-checks", "true");
            self.put_json(target, &body).await?;
            session.written.insert(id.to_owned(), Written { body, token, in_maintenance: None });
        }
        let is_draining = instance.endpoint().is_draining();
        let is_so = session.written.get(id).and_then(|written| written.in_maintenance);
        if is_so != Some(is_draining) {
            self.maintain(id, is_draining).await?;
            if let Some(written) = session.written.get_mut(id) {
                written.in_maintenance = Some(is_draining);
            }
        }
        // A check that was there keeps the status that it had.
        if self.check.kind == ConsulCheckKind::Ttl && !self.tell(instance).await? {
            session.written.remove(id);
            return Err(Error::unsent("the agent does not know what it was just told").into());
        }
        Ok(())
    }

    async fn keep_alive(
        &self,
        session: &mut ConsulSession,
        instances: &[Instance],
    ) -> Result<Kept, BoxError> {
        let token = self.agent.token().await?;
        if session.written.values().any(|written| written.token != token) {
            return Ok(Kept::Lost);
        }
        if self.check.kind == ConsulCheckKind::Ttl {
            let tell = |of: Instance| async move { self.tell(&of).await };
            let slow = || self.agent.failed(Kind::Timeout, "is slow");
            return Ok(session.round.run(instances, (PARALLEL, ROUND), tell, slow).await?);
        }
        let knows_all = self.knows_all(instances).await?;
        Ok(if knows_all { Kept::Alive } else { Kept::Lost })
    }

    async fn remove(
        &self,
        session: &mut ConsulSession,
        instance: &Instance,
    ) -> Result<(), BoxError> {
        session.written.remove(instance.id());
        let path = format!("/v1/agent/service/deregister/{}", encode(instance.id()));
        let target = Target::new(&path).within(&self.scope);
        let answer = self.agent.ask(Method::PUT, &target, Bytes::new(), LIMIT).await?;
        // One that is not there is removed already.
        if answer.status() != StatusCode::NOT_FOUND {
            self.agent.accept(answer)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConsulRegistrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsulRegistrar")
            .field("address", &self.agent.address())
            .field("check", &self.check)
            .finish()
    }
}
