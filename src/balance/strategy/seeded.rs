use std::{sync::Arc, time::Duration};

use super::{
    candidates::Candidates,
    notes::Notes,
    strategy::{Pick, Strategy},
};
use crate::{
    member::Member,
    session::Binding,
    sync::{Seed, random_below},
};

/// Chooses as another strategy does, with random numbers that a seed determines.
///
/// One seed gives one sequence of choices, for calls that are made one after the other: for simulations, tests,
/// and to replay what went wrong. Each set begins with the seed. A choice of a set costs an atomic addition
/// more. [`BalanceLayer::with_seed`](super::super::BalanceLayer::with_seed) makes it.
///
/// A strategy of yours takes part if it draws with [`Candidates::random`].
///
/// ```
/// use tower_upstream::{balance::{BalanceLayer, LeastRequest, Seeded}, discover};
/// let strategy = Seeded::new(LeastRequest::new(), 7);
/// let layer = BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, strategy);
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Seeded<P> {
    strategy: P,
    seed: u64,
}

impl<P: Strategy> Seeded<P> {
    /// Creates a strategy that chooses as `strategy` does. Any `seed` will do.
    pub const fn new(strategy: P, seed: u64) -> Self {
        Self { strategy, seed }
    }
}

/// State of [`Seeded`]: that of the strategy, and of the random numbers.
#[derive(Debug)]
pub struct SeededTable<T> {
    table: T,
    /// Goes on from snapshot to snapshot.
    seed: Arc<Seed>,
}

impl<P: Strategy> Strategy for Seeded<P> {
    type Table = SeededTable<P::Table>;

    fn table(&self, members: &[Arc<Member>], before: Option<&Self::Table>) -> Self::Table {
        self.table_among(members, members, before)
    }

    fn table_among(
        &self,
        members: &[Arc<Member>],
        all: &[Arc<Member>],
        before: Option<&Self::Table>,
    ) -> Self::Table {
        let seed = before.map_or_else(|| Arc::new(Seed::new(self.seed)), |of| of.seed.clone());
        let before = before.map(|before| &before.table);
        let table = seed.scope(|| self.strategy.table_among(members, all, before));
        SeededTable { table, seed }
    }

    fn renew_after(&self, table: &Self::Table) -> Option<Duration> {
        self.strategy.renew_after(&table.table)
    }

    fn watch(&self, table: &Self::Table) -> Option<Duration> {
        self.strategy.watch(&table.table)
    }

    fn hedges(&self) -> bool {
        self.strategy.hedges()
    }

    fn name(&self) -> &'static str {
        self.strategy.name()
    }

    fn keeps_sessions(&self) -> bool {
        self.strategy.keeps_sessions()
    }

    fn draw(&self, table: &Self::Table, bound: u32) -> u32 {
        table.seed.scope(|| random_below(bound))
    }
}

impl<P: Pick<Req>, Req: ?Sized> Pick<Req> for Seeded<P> {
    #[inline]
    fn pick(
        &self,
        table: &Self::Table,
        candidates: Candidates<'_>,
        request: &Req,
    ) -> Option<usize> {
        table.seed.scope(|| self.strategy.pick(&table.table, candidates, request))
    }

    fn affinity(&self, request: &Req) -> Option<u64> {
        self.strategy.affinity(request)
    }

    fn explain(
        &self,
        table: &Self::Table,
        candidates: Candidates<'_>,
        request: &Req,
        notes: &Notes,
    ) -> Option<usize> {
        table.seed.scope(|| self.strategy.explain(&table.table, candidates, request, notes))
    }

    #[inline]
    fn home<'t>(&self, table: &'t Self::Table, request: &Req) -> Option<&'t Arc<Member>> {
        self.strategy.home(&table.table, request)
    }

    #[inline]
    fn bind(&self, request: &Req, member: &Member, is_home: bool) -> Option<Binding> {
        self.strategy.bind(request, member, is_home)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            HealthBased, LeastRequest, PickFirst, Random, RoundRobin, WeightedRandom,
            tests::{members, obeys, pick},
        },
        *,
    };

    fn sequence<P: Pick<()>>(strategy: P, seed: u64) -> Vec<Option<usize>> {
        let (strategy, members) = (Seeded::new(strategy, seed), members(&[1, 2, 3, 4, 5, 6, 7]));
        let mut table = strategy.table(&[], None);
        let mut picks = Vec::new();
        for step in 1..=members.len() {
            table = strategy.table(&members[..step], Some(&table));
            picks.extend((0..20).map(|_| pick(&strategy, &table, &members[..step])));
            picks.push(Some(strategy.draw(&table, 1_000) as usize));
        }
        picks
    }

    #[test]
    fn one_seed_is_one_sequence_whatever_else_is_drawn() {
        fn check<P: Pick<()> + Clone>(strategy: P) {
            let first = sequence(strategy.clone(), 7);
            crate::sync::random();
            assert_eq!(sequence(strategy.clone(), 7), first);
            assert_ne!(sequence(strategy, 8), first);
        }
        check(LeastRequest::new());
        check(LeastRequest::new().with_full_scan());
        check(LeastRequest::new().with_bias(1.0));
        check(Random::new());
        check(WeightedRandom::new());
        check(RoundRobin::new());
        check(PickFirst::new());
        check(HealthBased::new());
    }

    #[test]
    fn it_obeys() {
        obeys(&Seeded::new(LeastRequest::new(), 1));
    }
}
