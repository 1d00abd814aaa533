//! One run of the checks, from a start to a stop.

use std::{future::poll_fn, pin::pin, task::Poll};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{task::yield_now, time::sleep_until};

use super::{
    roster::{Orders, Roster, Run},
    schedule::Schedule,
};
use crate::{sync::RandomSource, time};

/// So many checks at most between two looks at other tasks.
const BUSY: usize = 64;

/// `true`: the run was stopped. `false`: nothing is left to check.
pub(super) async fn run(roster: &Roster, run: Run, random: &RandomSource) -> bool {
    let mut schedule = Schedule::new(random.clone());
    schedule.take_in(roster.enlisted(), time::now());
    let mut checks = FuturesUnordered::new();
    let mut sleep = pin!(sleep_until(time::now()));
    let mut busy = 0;
    loop {
        let parallel = match roster.orders(run) {
            Orders::Stop => return true,
            Orders::End => return false,
            Orders::GoOn { arrivals, departures, replan, round, parallel } => {
                let now = time::now();
                departures.into_iter().for_each(|number| schedule.let_go(number));
                schedule.take_in(arrivals, now);
                if replan {
                    schedule.replan(now);
                }
                if round {
                    schedule.begin_round(now);
                }
                parallel
            }
        };
        if let Some(changed) = schedule.end_round() {
            roster.end_round(changed);
            // Another may be wanted by now.
            continue;
        }
        schedule.sweep();
        let now = time::now();
        // Those that are due and find no place stay on the heap, the longest waiting on top.
        while checks.len() < parallel {
            match schedule.begin_due(now) {
                Some(check) => checks.push(check),
                None => break,
            }
        }
        let next = schedule.next().filter(|_| checks.len() < parallel);
        if let Some(at) = next {
            sleep.as_mut().reset(at);
        }
        let mut woken = pin!(roster.woken());
        let mut finished = poll_fn(|cx| {
            if let Poll::Ready(Some(finished)) = checks.poll_next_unpin(cx) {
                return Poll::Ready(Some(finished));
            }
            let wakes = woken.as_mut().poll(cx).is_ready()
                || (next.is_some() && sleep.as_mut().poll(cx).is_ready());
            if wakes { Poll::Ready(None) } else { Poll::Pending }
        })
        .await;
        // What is ready together counts together.
        while let Some(one) = finished {
            if let Some((name, changed)) = schedule.settle(one, time::now()) {
                roster.attended(name, changed);
            }
            busy += 1;
            finished = checks.next().now_or_never().flatten();
        }
        if let Some(changed) = schedule.end_round() {
            roster.end_round(changed);
        }
        // Checks that never wait must not keep a worker thread.
        if busy >= BUSY {
            busy = 0;
            yield_now().await;
        }
    }
}
