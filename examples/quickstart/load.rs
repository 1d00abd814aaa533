//! A steady open-loop load: calls start on time, however long the others take.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tower::ServiceExt;
use tower_upstream::{Call, Error, Reply};

use crate::tax::{Plugins, TaxReply, TaxRequest};

/// How one call ended.
pub(crate) struct Done {
    /// From when it was due, so that a call that started late counts as slow.
    pub(crate) latency: Duration,
    pub(crate) result: Result<Good, Error>,
}

pub(crate) struct Good {
    pub(crate) endpoint: String,
    pub(crate) attempts: u32,
}

/// Sends `rate` calls a second for `length`, and tells of each.
pub(crate) async fn send(
    plugins: impl Plugins,
    rate: u32,
    length: Duration,
    done: mpsc::UnboundedSender<Done>,
) {
    let start = Instant::now();
    let total = u64::from(rate) * length.as_secs();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = 0;
    while sent < total {
        tick.tick().await;
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        for number in sent..due.min(total) {
            let due = start + Duration::from_secs_f64(number as f64 / f64::from(rate));
            tokio::spawn(call(plugins.clone(), number, due, done.clone()));
        }
        sent = sent.max(due.min(total));
    }
}

async fn call(plugins: impl Plugins, number: u64, due: Instant, done: mpsc::UnboundedSender<Done>) {
    let net = 100 + number % 1_000;
    // Idempotent: a tax is what it is, however often one asks.
    let call = Call::new(TaxRequest { net }).with_timeout(Duration::from_secs(10)).idempotent();
    let result = plugins.oneshot(call).await.map(|reply| check(net, reply));
    let _ = done.send(Done { latency: due.elapsed(), result });
}

/// A wrong answer would be worse than none.
fn check(net: u64, reply: Reply<TaxReply>) -> Good {
    assert_eq!(reply.body().gross, net * 122 / 100, "a wrong answer");
    Good { endpoint: reply.endpoint().unwrap_or_default().to_owned(), attempts: reply.attempts() }
}
