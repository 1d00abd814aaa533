//! The next snapshot of a set, and whether there is any in it.

use std::{
    mem,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    super::{
        group::{Connected, Group},
        select::{Selection, Selector, Share},
        set::Set,
        snapshot::{Draining, Snapshot, WHOLE},
        spread::spread,
        standing::Judge,
        state::Availability,
        strategy::Strategy,
    },
    entries::Entries,
    lists::list_of,
    look::look,
};
use crate::{
    connect::Connect,
    error::Kind,
    member::{Member, Reason},
    sync::lock,
    telemetry::EventKind,
    time::{self, Instant},
};

/// Publishes the next snapshot, and tells when there is something to do without a signal.
pub(super) fn publish<C, S, P>(
    set: &Set<S, P>,
    entries: &mut Entries<C, S>,
    selector: &mut Selector,
    down_since: &mut Option<Instant>,
    judge: &Judge,
) -> Option<Instant>
where
    C: Connect<Service = S>,
    S: Clone + Send + Sync + 'static,
    P: Strategy,
{
    let (now, config) = (judge.now, set.config());
    // Whatever is barred from here on until a time wakes the task.
    set.signal.wakes_at(None);
    let due_at = look(entries, &set.signal, judge);
    let candidacies = entries.candidacies();
    let mut selection = selector.select(&config.select_rule(), candidacies, judge.since_start());
    let endpoints = entries.list().iter().map(|entry| entry.member.endpoint());
    spread(&config, candidacies, endpoints, &mut selection);
    entries.remember(&selection.was_good);
    let moves_at = selection.is_moving.then(|| time::later(now, STEP));
    let before = set.snapshot.load();
    let next = snapshot(entries, selection, &before, set, now);
    if next.is_panic() && !before.is_panic() {
        let members = next.all.len();
        tracing::warn!(
            guard = set.name(),
            members,
            "most endpoints are unhealthy: health is ignored"
        );
    }
    let is_known = |member: (&Arc<Member>, &Arc<Member>)| Arc::ptr_eq(member.0, member.1);
    let same = Arc::ptr_eq(&before.all, &next.all)
        || before.all.len() == next.all.len() && before.all.iter().zip(&*next.all).all(is_known);
    let others = (!same).then(|| next.all.len());
    let ignored = (before.is_panic() != next.is_panic()).then(|| next.is_panic());
    let zones = (before.zones_ignored != next.zones_ignored).then_some(next.zones_ignored);
    drop(before);
    set.signal.know(&next.all);
    // Also of no candidates: it knows when sessions end.
    let tables = next.shared.iter().map(|(_, group)| &group.table).chain([&next.sole.table]);
    let renewals = tables.filter_map(|table| set.strategy.renew_after(table));
    let renewed_at = renewals.min().map(|after| time::later(now, after.max(SOONEST)));
    *down_since = if next.has_candidates() { None } else { down_since.or(Some(now)) };
    let last = set.snapshot.swap(Arc::new(next));
    let retired = lock(&set.retired).replace(last);
    // What a task before this has left, too: it is connected again.
    let services = (entries.take_gone(), mem::take(&mut lock(&set.memory).services));

    let fails_at = down_since.map(|since| time::later(since, config.fail_fast_after));
    set.state.set(match fails_at {
        None if config.explain > 0.0 => Availability::Explains,
        None => Availability::Up,
        Some(at) if at <= now => Availability::FailFast,
        Some(_) => Availability::Waiting,
    });
    set.waiting.wake_all();
    drop((retired, services));
    if let Some(total) = others {
        set.reporter.emit(None, || EventKind::Members { total });
    }
    if let Some(ignored) = ignored {
        set.reporter.emit(None, || EventKind::HealthIgnored { ignored });
    }
    if let Some(ignored) = zones {
        tracing::warn!(guard = set.name(), ignored, "zones or zone hints are incomplete");
        set.reporter.emit(None, || EventKind::ZonesIgnored { ignored });
    }
    let fails_at = fails_at.filter(|&at| at > now);
    [due_at, moves_at, renewed_at, fails_at].into_iter().flatten().min()
}

/// After what time a strategy may have its table made anew, or look again.
pub(super) const SOONEST: Duration = Duration::from_millis(1);

/// How often load moves while it comes back to a better priority.
const STEP: Duration = Duration::from_millis(500);

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
    let all = entries.all();
    let services = entries.open_services();
    // Those on probation take one call at a time of their own share, and none beside it.
    let on_probation = entries.indices_on_probation();
    let reserve = selection.reserve.iter().filter_map(|&(rank, index)| {
        let index = index as usize;
        let is_open = !on_probation.contains(&index);
        is_open.then(|| (rank, all[index].clone(), services[index].clone()))
    });
    let refusal = set.explained(set.refusal(selection.outage));
    let retry_at = match selection.outage {
        Kind::CircuitOpen => {
            all.iter().filter_map(|member| member.barred_until(Reason::CircuitOpen)).min()
        }
        _ => None,
    };
    let wait = |at: Instant| at.saturating_duration_since(now);
    let group = |share: &Share| group(entries, share, before, set);
    let (sole, shared) = match &selection.shares[..] {
        [share] => (group(share), Box::default()),
        shares => {
            // Of no members: what the turn of a table is goes on in the groups.
            let none = Group::empty(set.strategy.table_among(&[], all, Some(&before.sole.table)));
            let mut sum = 0.0;
            let until = |share: &Share| {
                sum += share.load;
                (sum * f64::from(WHOLE)).round() as u32
            };
            (none, shares.iter().map(until).zip(shares.iter().map(group)).collect())
        }
    };
    Snapshot {
        version: before.version + 1,
        all: all.clone(),
        lowest: all.iter().map(|member| member.tier()).min().unwrap_or(0),
        sole,
        shared,
        reserve: reserve.collect(),
        draining: match set.strategy.keeps_sessions() {
            true => draining(all, services),
            false => Box::default(),
        },
        zones_ignored: selection.zones_ignored,
        refusal: match retry_at {
            Some(at) => refusal.retry_in(now, wait(at)),
            None => refusal,
        },
    }
}

/// Those that drain and that nothing else keeps out of the snapshot.
fn draining<S>(all: &[Arc<Member>], services: &[Weak<Connected<S>>]) -> Box<[Draining<S>]> {
    let (draining, slow) = (Reason::Draining.bits(), Reason::IN_SNAPSHOT);
    let is_draining = |member: &Member| {
        let word = member.word();
        word & draining != 0 && word & slow & !draining == 0
    };
    let both = all.iter().zip(services).filter(|(member, _)| is_draining(member));
    both.map(|(member, service)| (member.clone(), service.clone())).collect()
}

fn group<C, S, P>(
    entries: &Entries<C, S>,
    share: &Share,
    before: &Snapshot<S, P::Table>,
    set: &Set<S, P>,
) -> Group<S, P::Table>
where
    S: Send + Sync + 'static,
    P: Strategy,
{
    let (all, services) = (entries.all(), entries.open_services());
    let indices = || share.candidates.iter().map(|&index| index as usize);
    let id = (share.tier, share.zone);
    let same = before.groups().find(|group| group.id == id);
    let last = same.or_else(|| before.groups().next()).unwrap_or(&before.sole);
    // Indices are in order, so if there are as many, all are candidates.
    let (members, services) = if share.candidates.len() == all.len() {
        (all.clone(), services.clone())
    } else {
        let members = list_of(indices().map(|index| &all[index]), &last.members, Arc::ptr_eq);
        let of_members = indices().map(|index| &services[index]);
        (members, list_of(of_members, &last.services, Weak::ptr_eq))
    };
    Group {
        id,
        is_near: share.is_near,
        table: set.strategy.table_among(&members, all, Some(&last.table)),
        members,
        services,
        probation: entries.on_probation(indices()),
        bars: if share.panic { !Reason::OVERLOOKED_IN_PANIC } else { u64::MAX },
    }
}
