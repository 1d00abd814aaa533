//! Which members are ejected, if the limit allows it, and the sweeps over all of them.

use super::{super::standing::Judge, entries::Entries, entry::Entry};
use crate::{member::Reason, rules::Population};

/// Compares the success rates of the members of each priority since the last sweep. Returns whether any call
/// failed: without that, there is nothing to sweep for until one does.
pub(super) fn sweep<C, S>(entries: &mut Entries<C, S>, judge: &Judge) -> bool {
    let list = entries.list_mut();
    let calls: Vec<_> = list.iter_mut().map(|entry| entry.follow.sweep()).collect();
    let has_failures = calls.iter().flatten().any(|calls| calls.failures > 0);
    let priorities: std::collections::BTreeSet<_> =
        list.iter().map(|entry| priority(entry)).collect();
    for of in priorities {
        let of_priority = list.iter().map(|entry| priority(entry) == of);
        let indices: Vec<_> =
            (0..).zip(of_priority).filter_map(|(index, is)| is.then_some(index)).collect();
        let calls: Vec<_> =
            indices.iter().map(|&index: &usize| calls.get(index).copied().flatten()).collect();
        let by_rate = judge.outlier.success_rate().map(|rule| rule.outliers(&calls));
        let by_percentage = judge.outlier.failure_percentage().map(|rule| rule.outliers(&calls));
        for outlier in by_rate.into_iter().chain(by_percentage).flatten() {
            if let Some(&index) = indices.get(outlier) {
                eject(list, index, judge);
            }
        }
    }
    has_failures
}

/// Ejects a member, if the limit allows it.
pub(super) fn eject<S>(list: &mut [Box<Entry<S>>], index: usize, judge: &Judge) {
    let Some(of) = list.get(index).map(|entry| priority(entry)) else { return };
    let mut population = Population::default();
    for entry in list.iter().filter(|entry| priority(entry) == of) {
        let word = entry.member.word();
        population.hosts += usize::from(word & Reason::EXCLUDED == 0);
        population.ejected += usize::from(entry.follow.is_ejected());
        population.available += usize::from(word & Reason::IN_SNAPSHOT == 0);
    }
    let most = judge.outlier.max_ejected_percent.into();
    let Some(entry) = list.get_mut(index) else { return };
    if judge.outlier.limit().allows(population, most) {
        entry.follow.eject(judge);
    } else {
        entry.follow.spare();
    }
}

fn priority<S>(entry: &Entry<S>) -> u32 {
    entry.member.tier() / 2
}
