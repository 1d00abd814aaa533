//! Members to choose from, for the tests of strategies.

use std::sync::Arc;

use super::{candidates::Candidates, notes::Notes, strategy::Pick};
use crate::{
    choose::Tried,
    decision::PassedOver,
    endpoint::Endpoint,
    member::{Member, Reason},
    sync::{Seed, random_below},
};

/// Members of one set with these weights, ordered by key.
pub(super) fn members(weights: &[u32]) -> Vec<Arc<Member>> {
    let endpoint = |(index, &weight): (usize, &u32)| {
        Endpoint::new(format!("h:{}", index + 1)).unwrap().with_weight(weight)
    };
    of(weights.iter().enumerate().map(endpoint))
}

pub(super) fn of(endpoints: impl Iterator<Item = Endpoint>) -> Vec<Arc<Member>> {
    let signal = Arc::default();
    endpoints.map(|endpoint| Member::in_set(Arc::new(endpoint), Arc::clone(&signal))).collect()
}

/// A choice, none tried.
pub(super) fn pick<P: Pick<()>>(
    strategy: &P,
    table: &P::Table,
    members: &[Arc<Member>],
) -> Option<usize> {
    pick_again(strategy, table, members, &[])
}

pub(super) fn pick_again<P: Pick<()>>(
    strategy: &P,
    table: &P::Table,
    members: &[Arc<Member>],
    tried: &[usize],
) -> Option<usize> {
    let mut of_call = Tried::default();
    tried.iter().for_each(|&index| of_call.insert(members[index].clone()));
    strategy.pick(table, Candidates::new(members, u64::MAX, &of_call), &())
}

/// How often each is chosen, where nothing is ever in flight.
pub(super) fn counts<P: Pick<()>>(
    strategy: &P,
    members: &[Arc<Member>],
    picks: usize,
) -> Vec<usize> {
    let table = strategy.table(members, None);
    let mut counts = vec![0; members.len()];
    for _ in 0..picks {
        counts[pick(strategy, &table, members).unwrap()] += 1;
    }
    counts
}

/// What each strategy must do with members that are barred or tried, with one, and with none.
pub(super) fn obeys<P: Pick<()>>(strategy: &P) {
    explains(strategy);
    let table = strategy.table(&[], None);
    assert_eq!(pick(strategy, &table, &[]), None, "none");
    let one = members(&[3]);
    let table = strategy.table(&one, Some(&table));
    assert_eq!(pick(strategy, &table, &one), Some(0), "one");
    assert_eq!(pick_again(strategy, &table, &one, &[0]), None, "one that was tried");
    // The last one weighs so little that some rings have no point of it.
    for weights in [[1, 1, 1, 1], [1, 7, 2, 9], [0, 0, 0, 0], [55, 55, 55, 1]] {
        let members = members(&weights);
        let table = strategy.table(&members, Some(&table));
        let veto = members[0].veto(Reason::Busy);
        veto.raise();
        for _ in 0..100 {
            assert_eq!(pick_again(strategy, &table, &members, &[1, 2]), Some(3), "{weights:?}");
            assert_ne!(pick(strategy, &table, &members), Some(0), "{weights:?}");
        }
        assert_eq!(pick_again(strategy, &table, &members, &[1, 2, 3]), None, "{weights:?}");
        drop(veto);
        // A table for other members than there are chooses one of those there are, or none.
        for fewer in 0..4 {
            let picked = pick(strategy, &table, &members[..fewer]);
            assert!(picked.is_none_or(|index| index < fewer));
        }
    }
}

/// What is explained is the choice that would have been made otherwise, and the costs that are told lead to it.
fn explains<P: Pick<()>>(strategy: &P) {
    for weights in [&[1, 1, 1, 1, 1][..], &[3, 1, 7, 2], &[0, 0], &[1; 100], &[1, 2].repeat(50)[..]]
    {
        let members = members(weights);
        let (plain, told) = (Seed::new(7), Seed::new(7));
        let table = plain.scope(|| strategy.table(&members, None));
        let other = told.scope(|| strategy.table(&members, None));
        let mut in_flight = Vec::new();
        for _ in 0..50 {
            let any = || &members[random_below(members.len() as u32) as usize];
            in_flight.extend((0..3).map(|_| any().begin()));
            let veto = any().veto(Reason::Busy);
            veto.raise();
            let mut tried = Tried::default();
            tried.insert(any().clone());
            let candidates = Candidates::new(&members, u64::MAX, &tried);
            // As the task of a set does.
            strategy.watch(&table);
            strategy.watch(&other);
            let notes = Notes::default();
            let picked = plain.scope(|| strategy.pick(&table, candidates, &()));
            let explained = told.scope(|| strategy.explain(&other, candidates, &(), &notes));
            assert_eq!(explained, picked, "{weights:?}");
            let noted = notes.into_noted();
            let free = noted.iter().filter(|of| candidates.is_free(of.index));
            let compared = || free.clone().filter(|of| of.passed_over == PassedOver::Costlier);
            let chosen = noted.iter().find(|of| Some(of.index) == picked);
            assert!(chosen.is_some() || compared().next().is_none(), "{weights:?}: {noted:?}");
            for of in compared() {
                let least = chosen.and_then(|chosen| chosen.cost);
                assert!(of.bound.is_some() || of.cost >= least, "{weights:?}: {noted:?}");
            }
            for of in noted.iter().filter(|of| of.passed_over == PassedOver::OverBound) {
                assert!(of.cost > of.bound, "{weights:?}: {noted:?}");
            }
        }
    }
}
