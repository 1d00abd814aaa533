//! The next snapshot of a set, and whether there is anybody in it.

use std::sync::Arc;

use super::{
    super::{
        select::{Selection, select},
        set::Set,
        snapshot::Snapshot,
        state::Availability,
        strategy::Strategy,
    },
    entries::Entries,
};
use crate::{
    connect::Connect,
    error::Kind,
    member::Reason,
    sync::lock,
    time::{self, Instant},
};

/// Publishes the next snapshot, and tells when there is something to do without a signal.
pub(super) fn publish<C, S, P>(
    set: &Set<S, P>,
    entries: &mut Entries<C, S>,
    down_since: &mut Option<Instant>,
) -> Option<Instant>
where
    C: Connect<Service = S>,
    S: Clone + Send + Sync + 'static,
    P: Strategy,
{
    let (now, config) = (time::now(), set.config());
    // Whatever is barred from here on until a time wakes the task.
    set.signal.wakes_at(None);
    let connect_at = entries.connect_due(now);
    let clear_at = entries.members().filter_map(|member| member.clear_due(now)).min();
    // All that was changed up to here is in what follows; but not who died since the dead
    // were buried.
    set.signal.take();
    if !lock(&set.dead).is_empty() {
        set.signal.notify();
    }

    let selection = select(&entries.candidacies(), config.panic_threshold);
    let before = set.snapshot.load();
    let next = snapshot(entries, selection, &before, set, now);
    if next.is_panic() && !before.is_panic() {
        let members = next.members.len();
        tracing::warn!(
            guard = set.name(),
            members,
            "most endpoints are unhealthy: health is ignored"
        );
    }
    drop(before);
    *down_since = if next.members.is_empty() { down_since.or(Some(now)) } else { None };
    set.snapshot.store(Arc::new(next));
    // Those of the last snapshot drop here, outside the lock.
    let last = std::mem::replace(&mut *lock(&set.connected), entries.connected().clone());

    let fails_at = down_since.map(|since| time::later(since, config.fail_fast_after));
    set.state.set(match fails_at {
        None => Availability::Up,
        Some(at) if at <= now => Availability::FailFast,
        Some(_) => Availability::Waiting,
    });
    set.waiting.wake_all();
    drop(last);
    [connect_at, clear_at, fails_at.filter(|&at| at > now)].into_iter().flatten().min()
}

/// The snapshot of those that were selected.
fn snapshot<C, S, P>(
    entries: &Entries<C, S>,
    selection: Selection,
    before: &Snapshot<S, P::Table>,
    set: &Set<S, P>,
    now: Instant,
) -> Snapshot<S, P::Table>
where
    S: Send + Sync + 'static,
    P: Strategy,
{
    let (all, services) = (entries.all(), entries.services());
    let member = |index: u32| all[index as usize].clone();
    let service = |index: u32| services[index as usize].clone();
    let reserve = selection.reserve.iter().map(|&index| (member(index), service(index)));
    // Indices are in order, so if there are as many, all are candidates.
    let (members, services) = if selection.candidates.len() == all.len() {
        (all.clone(), services.clone())
    } else {
        let candidates = || selection.candidates.iter().copied();
        (candidates().map(member).collect(), candidates().map(service).collect())
    };
    let retry_at = match selection.outage {
        Kind::CircuitOpen => {
            all.iter().filter_map(|member| member.barred_until(Reason::CircuitOpen)).min()
        }
        _ => None,
    };
    let refusal = set.refusal(selection.outage);
    let wait = |at: Instant| at.saturating_duration_since(now);
    Snapshot {
        version: before.version + 1,
        table: set.strategy.table(&members, Some(&before.table)),
        members,
        services,
        reserve: reserve.collect(),
        all: all.clone(),
        bars: if selection.panic { !Reason::OVERLOOKED_IN_PANIC } else { u64::MAX },
        refusal: match retry_at {
            Some(at) => refusal.retry_in(now, wait(at)),
            None => refusal,
        },
    }
}
