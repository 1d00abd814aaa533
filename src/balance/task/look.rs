//! How members stand that something is new of, or that time changes, and what follows from that.

use super::{super::standing::Judge, ejecting::eject, entries::Entries};
use crate::{connect::Connect, member::Signal, telemetry::EventKind, time::Instant};

/// Clears what is over, connects those that are due, ejects those that failed in a row, and tells when time alone
/// changes something.
pub(super) fn look<C, S>(
    entries: &mut Entries<C, S>,
    signal: &Signal,
    judge: &Judge,
) -> Option<Instant>
where
    C: Connect<Service = S>,
    S: Clone,
{
    /// What this does to a member is noted as well. What still is new after so many times wakes the task again.
    const ROUNDS: usize = 4;
    for _ in 0..ROUNDS {
        let indices = entries.take_changed(signal, judge);
        if indices.is_empty() {
            break;
        }
        look_at(entries, &indices, judge);
    }
    entries.next_due()
}

fn look_at<C, S>(entries: &mut Entries<C, S>, indices: &[usize], judge: &Judge)
where
    C: Connect<Service = S>,
    S: Clone,
{
    let mut has_other_service = Vec::new();
    let mut clear_at = Vec::with_capacity(indices.len());
    for &index in indices {
        let Some(entry) = entries.list().get(index) else { break };
        entry.member.look();
        let is_due = entry.connect_at.is_some_and(|at| at <= judge.now);
        if is_due && entries.connect_again(index, judge.now) {
            has_other_service.push(index);
        }
        let member = entries.list().get(index).map(|entry| &entry.member);
        clear_at.push(member.and_then(|member| member.clear_due(judge.now)));
    }
    for (&index, clear_at) in indices.iter().zip(clear_at) {
        if entries.list().get(index).is_some_and(|entry| entry.follow.has_failed(&judge.rule)) {
            eject(entries.list_mut(), index, judge);
        }
        let Some(entry) = entries.list_mut().get_mut(index) else { break };
        let stands_at = entry.follow.follow(judge);
        let due = [entry.connect_at, clear_at, stands_at].into_iter().flatten().min();
        let ejected = entry.follow.is_ejected();
        let is_told = std::mem::replace(&mut entry.ejection_told, ejected) == ejected;
        if !is_told {
            let lasts = entry.follow.ejected_until(judge);
            let lasts = lasts.map(|until| until.saturating_duration_since(judge.now));
            let key = entry.member.shared_key().clone();
            entries.reporter.emit(Some(&key), || EventKind::Ejection { ejected, lasts });
        }
        if entries.looked_at(index, due) {
            has_other_service.push(index);
        }
    }
    if !has_other_service.is_empty() {
        entries.renew_services(&has_other_service);
    }
}
