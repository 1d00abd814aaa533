//! Runs a scenario under a policy: one loop that moves the clock to whatever happens next.

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::{runtime::Builder, task::yield_now, time};
use tower::{Service, ServiceExt};
use tower_upstream::BoxError;

use crate::{
    policy::{Fleet, Policy},
    random::Random,
    scenario::Scenario,
    trace::{Done, Trace},
    world::World,
};

/// Runs on a runtime of its own, so that the end is the end of all that the policy has started.
pub(crate) fn run(scenario: &Scenario, policy: &Policy, seed: u64) -> Result<Trace, BoxError> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let done = runtime.block_on(drive(scenario, policy, seed))?;
    Ok(Trace::new(scenario.clone(), done))
}

async fn drive(scenario: &Scenario, policy: &Policy, seed: u64) -> Result<Vec<Done>, BoxError> {
    let world = World::new(scenario);
    let mut changes = scenario.changes.iter().peekable();
    let joins_later =
        |server| scenario.changes.iter().any(|of| of.joins && of.servers.contains(&server));
    let first = (0..scenario.servers).filter(|server| !joins_later(*server));
    let fleet = Fleet::new(world.clone(), first, scenario.slow_start)?;
    // Not a number that the requests are drawn from.
    let mut seeds = Random::new(seed, 1);
    let mut clients: Vec<_> =
        (0..scenario.clients).map(|_| policy.client(&fleet, seeds.bits())).collect();
    for client in &mut clients {
        client.ready().await?;
    }

    let mut requests = scenario.requests(seed).peekable();
    let mut under_way = FuturesUnordered::new();
    let mut done = Vec::new();
    loop {
        let request_at = requests.peek().map(|request| request.at);
        // A policy that holds a request back has a timer for it, which only tokio knows.
        let is_held_back = under_way.len() > world.alarms();
        let timer_at = is_held_back.then(|| world.now() + Duration::from_millis(1));
        let change_at = changes.peek().map(|change| change.at);
        let moments = [world.next_at(), change_at, request_at, timer_at];
        let Some(next) = moments.into_iter().flatten().min() else {
            return Ok(done);
        };
        move_to(next, &world).await;
        // Of one moment first what ends, so that a balancer knows it.
        world.wake_due();
        take_done(&mut under_way, &mut done);
        if let Some(change) = changes.next_if(|change| change.at <= next) {
            fleet.change(change)?;
            // Each client's own task hears of it.
            for _ in 0..=scenario.clients {
                yield_now().await;
            }
        }
        while let Some(request) = requests.next_if(|request| request.at <= next) {
            let call = clients[request.client].ready().await?.call(request);
            let world = world.clone();
            under_way.push(async move {
                let succeeded = call.await.is_ok();
                let served = world.served(request.number);
                Done {
                    sent: request.at,
                    key: request.key,
                    took: world.now() - request.at,
                    server: served.map(|served| served.server),
                    missed: served.is_some_and(|served| served.missed),
                    succeeded,
                }
            });
            // A balancer takes the time of a call from its first poll.
            take_done(&mut under_way, &mut done);
        }
    }
}

/// tokio's clock stands still but for this. Timers that are due by then fire, and tasks run.
async fn move_to(next: Duration, world: &World) {
    let wait = next.saturating_sub(world.now());
    if !wait.is_zero() {
        time::advance(wait).await;
    }
}

fn take_done<F>(under_way: &mut FuturesUnordered<F>, done: &mut Vec<Done>)
where
    F: Future<Output = Done>,
{
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(one)) = under_way.poll_next_unpin(&mut context) {
        done.push(one);
    }
}
