//! Starts the process of a plugin, and another when that has ended.

use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::timeout;

use super::{
    config::{Multiplex, ProcessConfig},
    letters::Letters,
    program::cannot,
    question::{ASK_TIMEOUT, write},
    session::{End, Session},
    state::{Phase, Shared},
};
use crate::{
    allow::Changes,
    child,
    error::Error,
    plugin::{Call, wire::stream::INFO},
    sync::random_fraction,
    time,
};

/// A process that lived so long did not end because it was started.
const STABLE: Duration = Duration::from_secs(10);

/// Runs until no call can come any more.
pub(super) async fn supervise(shared: Arc<Shared>, mut letters: Letters) {
    let mut failures = 0;
    loop {
        let config = shared.terms.load().config.clone();
        let set = |phase| shared.status.send_modify(|status| status.phase = phase);
        // From before the check on.
        let changes = shared.allow_list().map(Changes::of);
        set(Phase::Starting);
        let (error, at_once) = match start(&shared, &config).await {
            Ok(mut session) => {
                let started = time::now();
                let end = session.run(&mut letters).await;
                let error = session.reason(&end);
                let is_over = matches!(end, End::Stopped);
                if !is_over {
                    tracing::warn!(plugin = %shared.key, %error, "the process of a plugin ended");
                }
                let lived = time::now().saturating_duration_since(started);
                // One that has ended by itself may be followed at once, which is not known before it is read out.
                set(match end {
                    End::Exited(_) => Phase::Starting,
                    _ => Phase::Down(error.clone()),
                });
                let is_done = session.finish(end, &mut letters, &error).await;
                failures = if is_done || lived >= STABLE { 1 } else { failures + 1 };
                if is_over {
                    set(Phase::Idle);
                    return;
                }
                (error, failures == 1)
            }
            Err(error) => {
                tracing::warn!(plugin = %shared.key, %error, "cannot start the process of a plugin");
                failures += 1;
                (error, false)
            }
        };
        shared.status.send_modify(|status| status.restarts += 1);
        if !at_once {
            set(Phase::Down(error.clone()));
            let wait = config.delays().wait(failures, None, random_fraction());
            let changes = changes.filter(|_| error.is_refused());
            if refuse(&mut letters, &error, wait, changes).await {
                set(Phase::Idle);
                return;
            }
        }
    }
}

async fn start(shared: &Arc<Shared>, config: &ProcessConfig) -> Result<Session, Error> {
    let (own, settings) = (shared.clone(), config.clone());
    let make = move || {
        let program = own.program()?;
        if program.is_replaced() {
            tracing::warn!(
                plugin = %own.key,
                "starts the program of before: its path leads to another file by now"
            );
        }
        let checked = own.check(&program)?;
        let command = program.command(&settings, checked.is_some()).map_err(cannot)?;
        Ok((command, checked))
    };
    let (child, pipes, checked) = child::start(make, cannot).await?;
    if let Some(checked) = checked {
        checked.confirm()?;
    }
    let pid = child.pid();
    let asks = config.multiplex != Multiplex::Never;
    let mut session = Session::new(shared.clone(), config.clone(), child, pipes).map_err(cannot)?;
    if asks {
        let call = Call::new(()).with_id(format!("info-{pid}"));
        let id = call.id();
        session.introduce(&id, write::<()>(INFO, &id, &call, None, ASK_TIMEOUT)?);
    }
    shared.status.send_modify(|status| {
        status.phase = Phase::Running { pid, since: SystemTime::now() };
        status.info = (!asks).then_some(None);
    });
    Ok(session)
}

/// Fails all calls for `wait`, or until there are `changes`: nothing can take them. Returns whether no call can
/// come any more.
async fn refuse(
    letters: &mut Letters,
    error: &Error,
    wait: Duration,
    changes: Option<Changes>,
) -> bool {
    let until = time::later(time::now(), wait);
    let mut changed = pin!(async {
        match changes {
            Some(mut changes) => changes.changed().await,
            None => pending().await,
        }
    });
    let refusing = poll_fn(|cx| {
        let is_closed = letters.poll_closed(cx).map(|()| true);
        letters.fail_all(|| error.clone().never_sent().retry_at(until));
        if is_closed.is_ready() { is_closed } else { changed.as_mut().poll(cx).map(|()| false) }
    });
    timeout(wait, refusing).await.unwrap_or(false)
}
