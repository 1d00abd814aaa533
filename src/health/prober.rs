//! The background task that checks all that one layer value made.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;

use super::{
    roster::Run,
    schedule::Schedule,
    watch::{IDLE, Policy, Watch},
};

/// Has `watch` checked from now on. `false`: there is no runtime to do it in.
pub(super) fn enlist(watch: &Arc<Watch>) -> bool {
    let Ok(runtime) = Handle::try_current() else {
        return false;
    };
    watch.clear(IDLE);
    let policy = &watch.policy;
    if let Some(run) = policy.roster.enlist(watch) {
        // A barred member gets no call that would do it, and is to be checked all the same.
        policy.enlist_all();
        spawn(&runtime, policy.clone(), run);
    }
    true
}

/// Lets checks run again, if they were stopped.
pub(super) fn start(policy: &Arc<Policy>) {
    if let Some(run) = policy.roster.start() {
        match Handle::try_current() {
            Ok(runtime) => spawn(&runtime, policy.clone(), run),
            // The next use inside a runtime starts them.
            Err(_) => idle(policy.roster.abandon(run)),
        }
    }
    policy.enlist_all();
}

fn spawn(runtime: &Handle, policy: Arc<Policy>, run: Run) {
    // Made here and moved into the task, so that it drops, and says that nobody runs any more,
    // even if the runtime ends before the first poll.
    let prober = Prober { policy, run, over: false };
    drop(runtime.spawn(prober.run()));
}

fn idle(watches: Vec<Weak<Watch>>) {
    for watch in watches.iter().filter_map(Weak::upgrade) {
        watch.set(IDLE);
    }
}

struct Prober {
    policy: Arc<Policy>,
    run: Run,
    /// Ended by order.
    over: bool,
}

impl Prober {
    async fn run(mut self) {
        loop {
            let stopped = Schedule::new(self.policy.clone(), self.run).run().await;
            let next = if stopped { self.policy.roster.end_run(self.run) } else { None };
            match next {
                Some(run) => self.run = run,
                None => break,
            }
        }
        self.over = true;
    }
}

/// The runtime ended. The next use starts another task.
impl Drop for Prober {
    fn drop(&mut self) {
        if !self.over {
            idle(self.policy.roster.abandon(self.run));
        }
    }
}
