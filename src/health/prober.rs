//! The background task that checks all that one layer value made: when there is one, and where.

use std::{
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use futures_util::future::select;
use tokio::{runtime::Handle, time::timeout};

use super::{
    gate::Gate,
    roster::{Roster, Run},
    run::run,
};
use crate::sync::{RandomSource, lock};

/// How long a stop waits for what does not want to end.
const STOP: Duration = Duration::from_secs(1);

pub(super) struct Prober {
    pub(super) roster: Arc<Roster>,
    /// Where the checks run; `None` is the runtime of the call that starts them.
    runtime: Option<Handle>,
    /// Of the times of checks.
    random: RandomSource,
    /// Where they last began to.
    began_on: Mutex<Option<Handle>>,
}

impl Prober {
    pub(super) fn new(
        roster: Arc<Roster>,
        runtime: Option<Handle>,
        random: RandomSource,
    ) -> Arc<Self> {
        Arc::new(Self { roster, runtime, random, began_on: Mutex::default() })
    }

    /// The runtimes that the checks may run on, the first choice first.
    fn runtimes(&self) -> impl Iterator<Item = Handle> + use<> {
        [self.runtime.clone(), Handle::try_current().ok()].into_iter().flatten()
    }

    /// Has a target checked from now on. `false`: there is no runtime to do it in.
    pub(super) fn enlist(self: &Arc<Self>, gate: &Gate) -> bool {
        self.begin(|roster| roster.enlist(gate))
    }

    /// Has all members checked that are not, if there is a runtime to do it in.
    pub(super) fn enlist_members(self: &Arc<Self>) {
        self.begin(Roster::enlist_members);
    }

    fn begin(self: &Arc<Self>, enlist: impl Fn(&Roster) -> Option<Run>) -> bool {
        self.runtimes().any(|runtime| match enlist(&self.roster) {
            Some(run) => self.spawn(&runtime, run),
            None => true,
        })
    }

    /// Lets checks run again, if they were stopped.
    pub(super) fn start(self: &Arc<Self>) {
        if let Some(run) = self.roster.start() {
            // Without a runtime, the next use inside one starts them.
            let runtime = self.runtimes().next();
            if !runtime.is_some_and(|runtime| self.spawn(&runtime, run)) {
                self.roster.abandon(run);
                self.enlist_members();
            }
        }
    }

    /// `false`: the runtime has ended, and so has the run.
    fn spawn(self: &Arc<Self>, runtime: &Handle, run: Run) -> bool {
        *lock(&self.began_on) = Some(runtime.clone());
        // Made here and moved into the task, so that it drops, and says that no task runs any more,
        // even if the runtime ends before the first poll.
        let task = Task { prober: self.clone(), run, over: false };
        !runtime.spawn(task.run()).is_finished()
    }

    /// Ends all checks, and waits until nothing runs of them, but not for ever.
    pub(super) async fn stop(&self) {
        self.roster.stop();
        if Handle::try_current().is_ok() {
            drop(timeout(STOP, self.roster.still()).await);
            return;
        }
        // There is no timer here, and that of the checks may stand still. But their runtime has
        // threads that may block.
        let began_on = lock(&self.began_on).clone();
        if let Some(runtime) = began_on {
            // Dropped with this future, so that none blocks for longer than it is waited for.
            let (_waits, ends) = mpsc::channel::<()>();
            let late = runtime.spawn_blocking(move || ends.recv_timeout(STOP).is_err());
            drop(select(pin!(self.roster.still()), late).await);
        }
    }
}

struct Task {
    prober: Arc<Prober>,
    run: Run,
    /// Ended by order.
    over: bool,
}

impl Task {
    async fn run(mut self) {
        let Prober { roster, random, .. } = &*self.prober.clone();
        while run(roster, self.run, random).await {
            match roster.end_run(self.run) {
                Some(next) => self.run = next,
                None => break,
            }
        }
        self.over = true;
    }
}

/// The runtime ended. The next use starts another task.
impl Drop for Task {
    fn drop(&mut self) {
        if !self.over {
            self.prober.roster.abandon(self.run);
        }
    }
}
