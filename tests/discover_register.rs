//! What a registry makes of a backend, whatever that does: on a paused clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use support::{ms, secs, settle};
use tokio::time::Instant;
use tower_upstream::{
    BoxError, Endpoint,
    discover::{Discover, Instance, Kept, MemoryRegistry, Registrar, Registry},
    endpoint::Status,
    error::Kind,
};

#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Does {
    #[default]
    Works,
    Fails,
    Panics,
    Hangs,
}
use Does::*;

const TTL: Duration = Duration::from_secs(30);

/// A backend whose sessions expire, and their entries with them.
#[derive(Clone, Default)]
struct Backend {
    state: Arc<Mutex<State>>,
    /// Suspension points of a call before it does anything, and after.
    steps: usize,
}

#[derive(Default)]
struct State {
    does: Does,
    /// Until when each session lives.
    leases: BTreeMap<u64, Instant>,
    sessions: u64,
    entries: BTreeMap<String, (u64, Instance)>,
    calls: Vec<(Instant, String)>,
    /// Of the sessions that the registry holds.
    held: Vec<Weak<()>>,
}

#[derive(Default)]
struct Session {
    lease: Option<(u64, Arc<()>)>,
}

impl State {
    fn expire(&mut self) {
        let now = Instant::now();
        self.leases.retain(|_, until| *until > now);
        self.entries.retain(|_, (lease, _)| self.leases.contains_key(lease));
    }
}

impl Backend {
    fn does(&self, does: Does) {
        self.state.lock().unwrap().does = does;
    }

    /// As when the backend has lost everything.
    fn forget(&self) {
        self.state.lock().unwrap().leases.clear();
    }

    /// Ids and weights.
    fn entries(&self) -> Vec<(String, u32)> {
        let mut state = self.state.lock().unwrap();
        state.expire();
        let entries = state.entries.iter();
        entries.map(|(id, (_, of))| (id.clone(), of.endpoint().weight())).collect()
    }

    fn ids(&self) -> Vec<String> {
        self.entries().into_iter().map(|(id, _)| id).collect()
    }

    fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.iter().map(|(_, call)| call.clone()).collect()
    }

    fn sessions(&self) -> (u64, usize) {
        let mut state = self.state.lock().unwrap();
        state.expire();
        let held = state.held.iter().filter(|held| held.strong_count() > 0).count();
        (state.sessions, held)
    }

    async fn call(&self, call: String) -> Result<(), BoxError> {
        let does = {
            let mut state = self.state.lock().unwrap();
            state.calls.push((Instant::now(), call));
            state.expire();
            state.does
        };
        for _ in 0..self.steps {
            tokio::task::yield_now().await;
        }
        match does {
            Works => Ok(()),
            Fails => Err("no leader".into()),
            Panics => panic!("a bug of the backend"),
            Hangs => pending().await,
        }
    }
}

impl Registrar for Backend {
    type Session = Session;

    fn name(&self) -> String {
        "the backend".to_owned()
    }

    fn keep_alive_every(&self) -> Option<Duration> {
        Some(TTL / 3)
    }

    async fn put(&self, session: &mut Session, instance: &Instance) -> Result<(), BoxError> {
        self.call(format!("put {}", instance.id())).await?;
        let mut state = self.state.lock().unwrap();
        let lease = match &session.lease {
            Some((lease, _)) => *lease,
            None => {
                state.sessions += 1;
                let (lease, held) = (state.sessions, Arc::new(()));
                state.leases.insert(lease, Instant::now() + TTL);
                state.held.push(Arc::downgrade(&held));
                session.lease = Some((lease, held));
                lease
            }
        };
        if !state.leases.contains_key(&lease) {
            return Err("there is no such lease".into());
        }
        state.entries.insert(instance.id().to_owned(), (lease, instance.clone()));
        Ok(())
    }

    async fn keep_alive(&self, session: &mut Session, _: &[Instance]) -> Result<Kept, BoxError> {
        self.call("keep".to_owned()).await?;
        let lease = session.lease.as_ref().map(|(lease, _)| *lease);
        let mut state = self.state.lock().unwrap();
        match lease.and_then(|lease| state.leases.get_mut(&lease)) {
            Some(until) => {
                *until = Instant::now() + TTL;
                Ok(Kept::Alive)
            }
            None => Ok(Kept::Lost),
        }
    }

    async fn remove(&self, _: &mut Session, instance: &Instance) -> Result<(), BoxError> {
        self.call(format!("remove {}", instance.id())).await?;
        self.state.lock().unwrap().entries.remove(instance.id());
        Ok(())
    }

    async fn end(&self, session: Session) -> Result<(), BoxError> {
        self.call("end".to_owned()).await?;
        if let Some((lease, _)) = session.lease {
            self.state.lock().unwrap().leases.remove(&lease);
        }
        Ok(())
    }
}

fn at(key: &str) -> Endpoint {
    Endpoint::new("10.0.0.1:80").unwrap().with_key(key)
}

const NONE: [&str; 0] = [];

#[tokio::test(start_paused = true)]
async fn an_instance_is_announced_changed_drained_and_removed() {
    let backend = Backend::default();
    let registry = Registry::new(backend.clone());
    let tax = registry.register("tax", at("1")).unwrap();
    assert!(!tax.is_registered());
    tax.registered(secs(1)).await.unwrap();
    assert_eq!(backend.entries(), [("1".to_owned(), 1)]);
    // Changes that come together are written together, and none that changes nothing.
    for weight in 2..9 {
        tax.update(|endpoint| endpoint.with_weight(weight)).unwrap();
    }
    tax.set_status(Status::Unknown);
    tax.registered(secs(1)).await.unwrap();
    assert_eq!(backend.entries(), [("1".to_owned(), 8)]);
    tax.drain();
    tax.drain();
    tax.registered(secs(1)).await.unwrap();
    assert_eq!(backend.calls(), ["put 1", "put 1", "put 1"]);
    tax.deregister(secs(1)).await.unwrap();
    assert_eq!(backend.calls()[3..], ["remove 1", "end"]);
    assert_eq!((backend.ids(), backend.sessions().1), (vec![], 0));
    tokio::time::sleep(secs(600)).await;
    assert_eq!(backend.calls().len(), 5, "nothing is left that calls");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_keep_alives_show_one_id_and_a_drop_leaves_nothing() {
    let backend = Backend::default();
    let registry = Registry::new(backend.clone());
    let tax = registry.register("tax", Endpoint::new("10.0.0.1:80").unwrap()).unwrap();
    let id = tax.id().to_owned();
    tokio::time::sleep(secs(1_000)).await;
    let kept = backend.calls().iter().filter(|call| *call == "keep").count();
    assert!((100..=112).contains(&kept), "{kept}");
    assert_eq!(backend.ids(), [id]);
    let others = backend.calls().iter().filter(|call| *call != "keep").count();
    assert_eq!(others, 1);
    drop(tax);
    settle().await;
    assert_eq!((backend.ids(), backend.sessions()), (vec![], (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn registrations_share_one_session_which_ends_with_the_last() {
    let backend = Backend::default();
    let registry = Registry::new(backend.clone());
    let all: Vec<_> =
        (0..10).map(|of| registry.clone().register("tax", at(&of.to_string())).unwrap()).collect();
    settle().await;
    assert_eq!((backend.ids().len(), backend.sessions()), (10, (1, 1)));
    let mut all = all.into_iter();
    let last = all.next_back();
    drop(all);
    settle().await;
    assert_eq!((backend.ids(), backend.sessions()), (vec!["9".to_owned()], (1, 1)));
    drop(last);
    settle().await;
    assert_eq!(backend.sessions(), (1, 0));
    // It begins anew.
    let again = registry.register("tax", at("9")).unwrap();
    again.registered(secs(1)).await.unwrap();
    assert_eq!(backend.sessions(), (2, 1));
    assert_eq!(registry.register("tax", at("9")).unwrap_err().kind(), Kind::InvalidConfig);
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_session_everything_is_there_again_within_one_step() {
    let backend = Backend::default();
    let registry = Registry::new(backend.clone());
    let _all = ["1", "2", "3"].map(|id| registry.register("tax", at(id)).unwrap());
    settle().await;
    for round in 2..5 {
        // A partition that is longer than the time to live.
        backend.does(Fails);
        tokio::time::sleep(TTL * 2).await;
        assert_eq!(backend.ids(), NONE);
        backend.does(Works);
        // A failed keep-alive is repeated no later than one that works.
        tokio::time::sleep(TTL / 3 + ms(1)).await;
        assert_eq!(
            (backend.ids(), backend.sessions()),
            (vec!["1".into(), "2".into(), "3".into()], (round, 1))
        );
    }
    backend.forget();
    tokio::time::sleep(TTL / 3 + ms(1)).await;
    assert_eq!(backend.ids().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_backend_in_trouble_is_tried_again_and_does_not_spin() {
    for does in [Fails, Panics, Hangs] {
        let backend = Backend::default();
        backend.does(does);
        let registry = Registry::new(backend.clone());
        let tax = registry.register("tax", at("1")).unwrap();
        let error = tax.registered(secs(600)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout);
        assert!(tax.last_error().is_some(), "{does:?}");
        assert!((20..300).contains(&backend.calls().len()), "{does:?}");
        backend.does(Works);
        tokio::time::sleep(secs(36)).await;
        assert!(tax.is_registered() && tax.last_error().is_none(), "{does:?}");
        assert_eq!(backend.ids(), ["1"]);
        assert_eq!(backend.sessions().1, 1);
        // While it is kept alive, too.
        backend.does(does);
        tokio::time::sleep(secs(600)).await;
        assert!(backend.calls().len() < 800, "{does:?}");
        backend.does(Works);
        tokio::time::sleep(secs(36)).await;
        assert_eq!(backend.ids(), ["1"]);
        drop(tax);
        tokio::time::sleep(secs(31)).await;
        assert_eq!((backend.ids(), backend.sessions().1), (vec![], 0), "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_deregistered_expires_and_the_task_ends() {
    let backend = Backend::default();
    let registry = Registry::new(backend.clone());
    let tax = registry.register("tax", at("1")).unwrap();
    tax.registered(secs(1)).await.unwrap();
    backend.does(Fails);
    let error = tax.deregister(secs(3)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    tokio::time::sleep(secs(150)).await;
    assert_eq!((backend.ids(), backend.sessions().1), (vec![], 0));
    let calls = backend.calls().len();
    tokio::time::sleep(secs(600)).await;
    assert_eq!(backend.calls().len(), calls);
}

#[tokio::test(start_paused = true)]
async fn deregister_all_waits_until_nothing_is_left() {
    let backend = Backend::default();
    let registry = Registry::new(backend.clone());
    let all: Vec<_> =
        (0..3).map(|of| registry.register("tax", at(&of.to_string())).unwrap()).collect();
    settle().await;
    registry.deregister_all(secs(1)).await.unwrap();
    assert_eq!((backend.ids(), backend.sessions().1), (vec![], 0));
    // What is withdrawn stays so.
    all[0].set_status(Status::Passing);
    settle().await;
    assert_eq!(backend.ids(), NONE);
    registry.deregister_all(secs(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn futures_may_be_dropped_at_each_await() {
    for polls in 0..12 {
        let backend = Backend { steps: 3, ..Backend::default() };
        let registry = Registry::new(backend.clone());
        let tax = registry.register("tax", at("1")).unwrap();
        {
            let mut waiting = Box::pin(tax.registered(secs(1)));
            for _ in 0..polls {
                if waiting.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        settle().await;
        assert!(tax.is_registered());
        {
            let mut waiting = Box::pin(tax.deregister(secs(1)));
            for _ in 0..polls {
                if waiting.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        settle().await;
        assert_eq!((backend.ids(), backend.sessions().1), (vec![], 0), "{polls}");
    }
}

#[test]
fn a_runtime_that_ends_leaves_nothing_that_does_not_expire() {
    let backend = Backend::default();
    let registry = Registry::new(backend.clone());
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap()
    };
    let endpoint = at("1");
    assert_eq!(registry.register("tax", endpoint).unwrap_err().kind(), Kind::Unavailable);
    let first = runtime();
    let tax = first.block_on(async {
        let tax = registry.register("tax", at("1")).unwrap();
        tax.registered(secs(1)).await.unwrap();
        tax
    });
    drop(first);
    assert_eq!(backend.state.lock().unwrap().held[0].strong_count(), 0);
    // The next registration announces what is still wanted.
    runtime().block_on(async {
        let _other = registry.register("tax", at("2")).unwrap();
        tax.registered(secs(1)).await.unwrap();
        settle().await;
        assert_eq!(backend.state.lock().unwrap().entries.len(), 2);
    });
}

#[test]
fn what_a_runtime_left_behind_is_done_in_the_next_one() {
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap()
    };
    for asks in 0..4 {
        let backend = Backend::default();
        let registry = Registry::new(backend.clone());
        let first = runtime();
        let tax = first.block_on(async {
            let tax = registry.register("tax", at("1")).unwrap();
            tax.registered(secs(1)).await.unwrap();
            tax
        });
        drop(first);
        let calls = backend.calls().len();
        runtime().block_on(async {
            match asks {
                0 => tax.registered(secs(1)).await.unwrap(),
                1 => tax.deregister(secs(1)).await.unwrap(),
                2 => registry.deregister_all(secs(1)).await.unwrap(),
                _ => drop(tax),
            }
            settle().await;
        });
        let expected: &[&str] = if asks == 0 { &["put 1"] } else { &["remove 1"] };
        assert_eq!(backend.calls()[calls..], *expected, "{asks}");
        // Nothing to do, so nothing runs.
        if asks == 2 {
            runtime().block_on(registry.deregister_all(secs(1))).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_may_look_at_what_it_changes_and_none_is_lost() {
    let registry = Registry::new(MemoryRegistry::new());
    let tax = registry.register("tax", at("1")).unwrap();
    tax.update(|of| of.with_metadata("was", tax.instance().id().to_owned())).unwrap();
    // One change within another: the outer one is made again.
    let mut made = 0;
    tax.update(|of| {
        made += 1;
        tax.drain();
        of.with_weight(7)
    })
    .unwrap();
    let endpoint = tax.instance().endpoint().clone();
    assert_eq!((made, endpoint.weight(), endpoint.is_draining()), (2, 7, true));
    assert_eq!(endpoint.metadata().get("was").map(|of| &**of), Some("1"));
    let add = &|name: &'static str| {
        for number in 0..200 {
            tax.update(|of| of.with_metadata(format!("{name}{number}"), "")).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            scope.spawn(move || add(name));
        }
    });
    assert_eq!(tax.instance().endpoint().metadata().len(), 601);
}

#[tokio::test(start_paused = true)]
async fn balancers_follow_what_is_announced_in_memory() {
    let backend = MemoryRegistry::new();
    let registry = Registry::new(backend.clone());
    let mut sets = backend.service("tax").discover();
    assert!(sets.next().await.unwrap().is_empty());
    let tax = registry.register("tax", at("1").with_tag("v2")).unwrap();
    assert_eq!(sets.next().await.unwrap()[0].tags(), ["v2"]);
    let created = backend.get("1").unwrap();
    assert_eq!(created.service(), "tax");
    tax.drain();
    assert!(sets.next().await.unwrap()[0].is_draining());
    let drained = backend.get("1").unwrap();
    assert_eq!(drained.created_at(), created.created_at());
    assert!(drained.updated_at() >= created.updated_at());
    assert_eq!(backend.services(), ["tax"]);
    tax.deregister(secs(1)).await.unwrap();
    assert!(sets.next().await.unwrap().is_empty());
    assert_eq!((backend.services(), backend.instances("tax")), (vec![], vec![]));
    // An id moves from one service to another.
    for service in ["one", "other"] {
        backend.put(&Instance::new(service, at("7")).unwrap());
        assert_eq!(backend.services(), [service]);
    }
}
