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
    let policy = &watch.policy;
    policy.runtimes().any(|runtime| {
        watch.clear(IDLE);
        let Some(run) = policy.roster.enlist(watch) else {
            return true;
        };
        // A barred member gets no call that would do it, and is to be checked all the same.
        policy.enlist_all();
        spawn(&runtime, policy.clone(), run)
    })
}

/// Lets checks run again, if they were stopped.
pub(super) fn start(policy: &Arc<Policy>) {
    if let Some(run) = policy.roster.start() {
        // Without a runtime, the next use inside one starts them.
        let runtime = policy.runtimes().next();
        if !runtime.is_some_and(|runtime| spawn(&runtime, policy.clone(), run)) {
            idle(policy.roster.abandon(run));
        }
    }
    policy.enlist_all();
}

/// `false`: the runtime has ended, and so has the run.
fn spawn(runtime: &Handle, policy: Arc<Policy>, run: Run) -> bool {
    // Made here and moved into the task, so that it drops, and says that nobody runs any more,
    // even if the runtime ends before the first poll.
    let prober = Prober { policy, run, over: false };
    !runtime.spawn(prober.run()).is_finished()
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
