//! One plugin: its process, and the way to it.

use std::sync::{Arc, Mutex};

use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::timeout,
};

use super::{
    config::ProcessConfig,
    letters::Letters,
    program::path_of,
    question::ASK_TIMEOUT,
    seat::Ticket,
    state::{Phase, Shared, Status, Terms},
    supervisor::supervise,
};
use crate::{
    allow::AllowList,
    error::{Error, Kind},
    guard::{Configured, Newest},
    member::Member,
    sync::lock,
};

/// A plugin that is a child process. The process ends after the last of these.
#[derive(Debug)]
pub(super) struct Plugin {
    member: Arc<Member>,
    pub(super) shared: Arc<Shared>,
    /// To the task of the process, if there is one.
    channel: Mutex<Option<UnboundedSender<Ticket>>>,
}

impl Plugin {
    pub(super) fn new(
        member: Arc<Member>,
        config: &ProcessConfig,
        allowed: Option<&AllowList>,
    ) -> Self {
        let endpoint = member.endpoint();
        let path = path_of(endpoint.address());
        let shared = Arc::new(Shared::new(&endpoint, path, config, allowed));
        Self { member, shared, channel: Mutex::default() }
    }

    pub(super) fn terms(&self) -> Arc<Terms> {
        self.shared.terms.load_full()
    }

    /// Sends a call on its way, and starts the process if there is none.
    pub(super) fn send(&self, ticket: Ticket) -> Result<(), Error> {
        self.with_channel(|channel| {
            // One that cannot be sent is dropped, which its caller is told.
            let _ = channel.send(ticket);
        })
    }

    fn with_channel(&self, with: impl FnOnce(&UnboundedSender<Ticket>)) -> Result<(), Error> {
        let mut channel = lock(&self.channel);
        // Its task ends before its last sender only if its runtime does.
        if let Some(channel) = channel.as_ref().filter(|channel| !channel.is_closed()) {
            with(channel);
            return Ok(());
        }
        let runtime = Handle::try_current().map_err(|_| Error::not_sent(Kind::Unavailable))?;
        self.shared.path()?;
        let (sender, receiver) = unbounded_channel();
        with(&sender);
        runtime.spawn(supervise(self.shared.clone(), Letters::new(receiver)));
        *channel = Some(sender);
        Ok(())
    }

    /// What is known of the process, which is started if there is none; and of what it says of itself, if
    /// `is_told` waits for that. Takes at most 5 s.
    pub(super) async fn status(&self, is_told: bool) -> Result<Status, Error> {
        let mut status = self.shared.status.subscribe();
        self.with_channel(|_| ())?;
        let is_settled = |status: &Status| match status.phase {
            Phase::Idle | Phase::Starting => false,
            Phase::Running { .. } => !is_told || status.info.is_some(),
            Phase::Down(_) => true,
        };
        let _ = timeout(ASK_TIMEOUT, status.wait_for(is_settled)).await;
        Ok(self.shared.status.borrow().clone())
    }
}

impl Configured<ProcessConfig> for Plugin {
    /// What concerns the process itself counts when it is started next.
    fn apply(self: Arc<Self>, newest: &Newest<ProcessConfig>) {
        // Under the lock under which they are read last.
        let _lock = lock(&self.channel);
        self.shared.terms.store(Arc::new(Terms::new(&newest.get())));
    }

    fn member(&self) -> Option<&Arc<Member>> {
        Some(&self.member)
    }
}
