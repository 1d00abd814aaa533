//! What is known of the process of a plugin.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};

use super::{config::ProcessConfig, program::Program};
use crate::{
    allow::{AllowList, Checked},
    endpoint::Endpoint,
    error::Error,
    plugin::PluginInfo,
    sync::lock,
};

/// Settings, and the right to make a call where their number is limited.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) config: ProcessConfig,
    pub(super) permits: Arc<Semaphore>,
}

impl Terms {
    pub(super) fn new(config: &ProcessConfig) -> Self {
        let permits = Arc::new(Semaphore::new(config.max_calls.min(Semaphore::MAX_PERMITS)));
        Self { config: config.clone(), permits }
    }
}

/// What the process does.
#[derive(Debug, Clone, Default)]
pub(super) enum Phase {
    /// It was never needed.
    #[default]
    Idle,
    Starting,
    Running {
        pid: i32,
        since: SystemTime,
    },
    /// It ended, or cannot be started, and is started again later.
    Down(Error),
}

impl Phase {
    /// As Go calls it.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Idle => "stopped",
            Self::Starting => "starting",
            Self::Running { .. } => "running",
            Self::Down(_) => "failed",
        }
    }
}

/// What is known of the process.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    pub(super) phase: Phase,
    pub(super) restarts: u64,
    /// What the plugin says of itself. `Some(None)`: it does not say.
    pub(super) info: Option<Option<Arc<PluginInfo>>>,
}

/// What a plugin's service and the task of its process share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) key: Arc<str>,
    pub(super) path: Result<String, Error>,
    pub(super) terms: ArcSwap<Terms>,
    pub(super) status: watch::Sender<Status>,
    /// Whether the plugin, which takes one call at a time, works on one.
    is_busy: AtomicBool,
    program: Mutex<Option<Arc<Program>>>,
    /// What says whether the program of this endpoint may run.
    allowed: Option<(AllowList, Endpoint)>,
}

impl Shared {
    pub(super) fn new(
        endpoint: &Endpoint,
        path: Result<String, Error>,
        config: &ProcessConfig,
        allowed: Option<&AllowList>,
    ) -> Self {
        let key = endpoint.shared_key().clone();
        let allowed = allowed.map(|list| (list.clone(), endpoint.clone()));
        let terms = ArcSwap::from_pointee(Terms::new(config));
        let status = watch::Sender::new(Status::default());
        let is_busy = AtomicBool::new(false);
        Self { key, path, terms, status, is_busy, program: Mutex::default(), allowed }
    }

    pub(super) fn path(&self) -> Result<&str, Error> {
        self.path.as_deref().map_err(Error::clone)
    }

    /// The program that was executed first, or the one that is there now if that is no more.
    pub(super) fn program(&self) -> Result<Arc<Program>, Error> {
        let known = lock(&self.program).clone();
        if let Some(program) = known.filter(|known| !known.is_rewritten()) {
            return Ok(program);
        }
        let program = Arc::new(Program::open(self.path()?)?);
        *lock(&self.program) = Some(program.clone());
        Ok(program)
    }

    /// Whether it may run; `None` where nothing says so.
    pub(super) fn check(&self, program: &Program) -> Result<Option<Checked>, Error> {
        let allowed = self.allowed.as_ref();
        allowed.map(|(list, endpoint)| program.check(list, endpoint)).transpose()
    }

    pub(super) fn allow_list(&self) -> Option<&AllowList> {
        self.allowed.as_ref().map(|(list, _)| list)
    }

    /// Whether it has answered nothing, not even its name, since it was started.
    pub(super) fn is_new(&self) -> bool {
        let status = self.status.borrow();
        match status.phase {
            Phase::Idle | Phase::Starting => true,
            Phase::Running { .. } => status.info.is_none(),
            Phase::Down(_) => false,
        }
    }

    /// Relaxed: it is out of date the moment it is read, whatever the order.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }

    pub(super) fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::Relaxed);
    }

    /// Whether another file has taken the place of the one that was executed.
    pub(super) fn is_replaced(&self) -> bool {
        let program = lock(&self.program).clone();
        program.is_some_and(|program| program.is_replaced())
    }
}
