use std::{cmp::Reverse, sync::Arc};

use super::{
    candidates::Candidates,
    draw::any,
    strategy::{Pick, Strategy},
};
use crate::{endpoint::Endpoint, member::Member};

/// Chooses the endpoint with the greatest priority that can be used, any of those that share it.
///
/// The priority is a number that a function of yours reads from the endpoint; without one it is that of the
/// metadata `priority`, or 0. It may be negative.
///
/// This is the `priority` of the Go plugin manager, where the greatest wins. The
/// [priority of an endpoint](Endpoint::with_priority) is another thing: there the lowest wins, and the balancer
/// moves on to the next as soon as too few of a tier are healthy. [`Priority::tiers`] turns the one into the
/// other, for any strategy.
///
/// # Example
/// ```
/// use tower_upstream::{Endpoint, balance::{BalanceLayer, Priority}, discover};
/// let endpoints = [Endpoint::new("a:1")?.with_metadata("priority", "9"), Endpoint::new("b:1")?];
/// let layer = BalanceLayer::new(discover::fixed(endpoints)?, Priority::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Priority<F = fn(&Endpoint) -> i64> {
    of: F,
}

impl Priority {
    /// Reads the metadata `priority`.
    pub const fn new() -> Self {
        Self { of: of_metadata }
    }

    /// Returns the tier of each priority: the greatest is tier 0, and each other as many tiers below as it is
    /// less.
    ///
    /// ```
    /// use tower_upstream::balance::Priority;
    /// assert_eq!(Priority::tiers(&[10, -5, 10]), [0, 15, 0]);
    /// ```
    pub fn tiers(priorities: &[i64]) -> Vec<u32> {
        let greatest = priorities.iter().copied().max().unwrap_or(0);
        let tier = |&of: &i64| u32::try_from(greatest.abs_diff(of)).unwrap_or(u32::MAX);
        priorities.iter().map(tier).collect()
    }
}

impl<F> Priority<F> {
    /// Reads the priority of an endpoint with `of`.
    ///
    /// ```
    /// use tower_upstream::{Endpoint, balance::Priority};
    /// let strategy = Priority::by(|endpoint: &Endpoint| i64::from(endpoint.weight()));
    /// ```
    pub const fn by(of: F) -> Self
    where
        F: Fn(&Endpoint) -> i64,
    {
        Self { of }
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::new()
    }
}

fn of_metadata(endpoint: &Endpoint) -> i64 {
    endpoint.metadata().get("priority").and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// State of [`Priority`]: the endpoints of each priority, the greatest first.
#[derive(Debug)]
pub struct PriorityTable {
    groups: Vec<Vec<usize>>,
}

impl<F> Strategy for Priority<F>
where
    F: Fn(&Endpoint) -> i64 + Send + Sync + 'static,
{
    type Table = PriorityTable;

    fn table(&self, members: &[Arc<Member>], _: Option<&PriorityTable>) -> PriorityTable {
        let priorities: Vec<_> = members.iter().map(|of| (self.of)(&of.endpoint())).collect();
        let mut order: Vec<_> = (0..members.len()).collect();
        order.sort_by_key(|&index| Reverse(priorities[index]));
        let groups = order.chunk_by(|&one, &other| priorities[one] == priorities[other]);
        PriorityTable { groups: groups.map(<[_]>::to_vec).collect() }
    }
}

impl<F, Req: ?Sized> Pick<Req> for Priority<F>
where
    F: Fn(&Endpoint) -> i64 + Send + Sync + 'static,
{
    #[inline]
    fn pick(&self, table: &PriorityTable, candidates: Candidates<'_>, _: &Req) -> Option<usize> {
        table.groups.iter().find_map(|group| {
            let start = any(group.len());
            let around = group[start..].iter().chain(&group[..start]).copied();
            around.into_iter().find(|&index| candidates.is_free(index))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{counts, members, obeys, of, pick, pick_again},
        *,
    };
    use crate::member::Reason;

    #[test]
    fn every_way_obeys() {
        obeys(&Priority::new());
        obeys(&Priority::by(|endpoint: &Endpoint| -i64::from(endpoint.weight())));
    }

    #[test]
    fn the_greatest_that_can_be_used_wins_and_ties_share() {
        let strategy = Priority::by(|endpoint: &Endpoint| i64::from(endpoint.weight()) - 100);
        let members = members(&[1, 7, 7, 3]);
        let counted = counts(&strategy, &members, 2_000);
        assert!(
            counted[1].abs_diff(1_000) < 150 && counted[1] + counted[2] == 2_000,
            "{counted:?}"
        );
        let table = strategy.table(&members, None);
        let veto = members[1].veto(Reason::Busy);
        veto.raise();
        assert_eq!(pick(&strategy, &table, &members), Some(2));
        assert_eq!(pick_again(&strategy, &table, &members, &[2]), Some(3));
    }

    #[test]
    fn metadata_tells_the_priority_and_may_be_negative() {
        let endpoint = |key: &str, priority: &str| {
            Endpoint::new(key).unwrap().with_metadata("priority", priority)
        };
        let members = of([endpoint("a:1", "-4"), endpoint("b:1", "-2")].into_iter());
        assert_eq!(counts(&Priority::new(), &members, 10), [0, 10]);
    }
}
