//! Which members are ejected, if the limit allows it, and the sweeps over all of them.

use std::collections::BTreeSet;

use super::{super::standing::Judge, entries::Entries, entry::Entry};
use crate::{member::Reason, rules::Population};

/// Compares the success rates of the members of each priority since the last sweep, and looks again at those that
/// failed in a row and were spared. Returns whether any call failed: without that, there is nothing to sweep for
/// until one does.
pub(super) fn sweep<C, S>(entries: &mut Entries<C, S>, judge: &Judge) -> bool {
    let list = entries.list_mut();
    let calls: Vec<_> = list.iter_mut().map(|entry| entry.follow.sweep()).collect();
    let has_failures = calls.iter().flatten().any(|calls| calls.failures > 0);
    let priorities: BTreeSet<_> = list.iter().map(|entry| priority(entry)).collect();
    for of in priorities {
        let (indices, calls): (Vec<_>, Vec<_>) = (0..)
            .zip(list.iter().zip(&calls))
            .filter(|(_, (entry, _))| priority(entry) == of)
            .map(|(index, (_, calls)): (usize, _)| (index, *calls))
            .unzip();
        let outliers = judge.sweep_rule.outliers(&calls, population(list, of), |_| true);
        for (outlier, _) in outliers.into_iter().filter(|(_, is_ejected)| *is_ejected) {
            if let Some(entry) = indices.get(outlier).and_then(|&index| list.get_mut(index)) {
                entry.follow.eject(judge);
            }
        }
    }
    for index in 0..list.len() {
        eject_if_failed(list, index, judge);
    }
    has_failures
}

/// Ejects a member that failed so many times in a row, if the limit allows it.
pub(super) fn eject_if_failed<S>(list: &mut [Box<Entry<S>>], index: usize, judge: &Judge) {
    let failed = list.get(index).filter(|entry| entry.follow.has_failed(&judge.rule));
    let Some(of) = failed.map(|entry| population(list, priority(entry))) else { return };
    let rule = &judge.sweep_rule;
    if rule.limit.allows(of, rule.max_ejection_percent) {
        list.iter_mut().skip(index).take(1).for_each(|entry| entry.follow.eject(judge));
    }
}

/// Ends the probation of members that nothing else of their priority is available beside: one call at a time would
/// be all that it gets.
pub(super) fn release_lone<C, S>(entries: &mut Entries<C, S>, judge: &Judge) {
    for index in entries.indices_on_probation() {
        let list = entries.list_mut();
        let of = list.get(index).map(|entry| population(list, priority(entry)));
        if of.is_some_and(|of| of.available == 0) {
            list.iter_mut().skip(index).take(1).for_each(|entry| entry.follow.release(judge));
        }
    }
}

/// The members of a priority, but those that are meant to get no calls.
fn population<S>(list: &[Box<Entry<S>>], of: u32) -> Population {
    let members =
        || list.iter().filter(|entry| priority(entry) == of && !entry.follow.is_excluded());
    let has_weight = members().any(|entry| entry.member.weight() > 0);
    let mut population = Population::default();
    for entry in members() {
        let is_barred = entry.member.word() & Reason::IN_SNAPSHOT != 0
            || has_weight && entry.member.weight() == 0;
        population.count(entry.follow.standing(), is_barred);
    }
    population
}

fn priority<S>(entry: &Entry<S>) -> u32 {
    entry.member.tier() / 2
}
