use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    candidates::Candidates,
    strategy::{Pick, Strategy},
};
use crate::{
    member::Member,
    sync::{fraction, random, wyrand},
};

/// Calls one endpoint while it can be used, then another, and stays there.
///
/// For a single leader with standbys, and for connections that are dear. The order is random, and of more
/// weight is the more likely first, so that many callers do not all choose the same; a set keeps it through
/// changes. An endpoint that comes back does not take calls away from the one in use.
///
/// Calls are not [hedged](crate::Attempts::hedge): the others stand by.
///
/// Only what bars an endpoint moves on to another: health, an open circuit, discovery. A call that is tried
/// again goes elsewhere alone, and so does a call that waits more than 10 ms for its endpoint to be ready.
///
/// ```
/// use tower_upstream::{balance::{BalanceLayer, PickFirst}, discover};
/// let layer = BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, PickFirst::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct PickFirst {
    by_key: bool,
}

impl PickFirst {
    /// Orders endpoints at random.
    pub const fn new() -> Self {
        Self { by_key: false }
    }

    /// Orders endpoints by their keys.
    ///
    /// ```
    /// use tower_upstream::balance::PickFirst;
    /// let strategy = PickFirst::by_key();
    /// ```
    pub const fn by_key() -> Self {
        Self { by_key: true }
    }
}

/// State of [`PickFirst`]: the order, and the endpoint in use.
#[derive(Debug)]
pub struct PickFirstTable {
    /// What the order is of.
    salt: u64,
    /// Indices, the first first.
    order: Box<[usize]>,
    identities: Box<[Arc<str>]>,
    current: AtomicUsize,
}

impl Strategy for PickFirst {
    type Table = PickFirstTable;

    fn table(&self, members: &[Arc<Member>], before: Option<&PickFirstTable>) -> PickFirstTable {
        let salt = before.map_or_else(random, |before| before.salt);
        let mut order: Box<[usize]> = (0..members.len()).collect();
        if !self.by_key {
            let mut ranks: Vec<_> = members.iter().map(|member| rank(member, salt)).collect();
            ranks.iter_mut().for_each(|rank| *rank = -*rank);
            order.sort_by(|&one, &other| ranks[one].total_cmp(&ranks[other]));
        }
        let identities: Box<[_]> = members.iter().map(|member| member.identity().clone()).collect();
        let in_use = before.and_then(|before| {
            let current = before.identities.get(before.current.load(Ordering::Relaxed))?;
            identities.binary_search(current).ok()
        });
        let current = in_use.or(order.first().copied()).unwrap_or(0);
        PickFirstTable { salt, order, identities, current: AtomicUsize::new(current) }
    }

    fn hedges(&self) -> bool {
        false
    }
}

/// `u^(1 / weight)` as a logarithm, where `u` is a random number of its own for each member and salt: sorted by
/// this, a member is first with a chance in proportion to its weight (Efraimidis and Spirakis, "Weighted
/// random sampling with a reservoir", 2006).
fn rank(member: &Member, salt: u64) -> f64 {
    let hash = member.identity().bytes().fold(salt, |hash, byte| wyrand(hash ^ u64::from(byte)).1);
    fraction(hash).ln() / f64::from(member.weight().max(1))
}

impl<Req: ?Sized> Pick<Req> for PickFirst {
    #[inline]
    fn pick(&self, table: &PickFirstTable, candidates: Candidates<'_>, _: &Req) -> Option<usize> {
        let current = table.current.load(Ordering::Relaxed);
        if candidates.is_free(current) {
            return Some(current);
        }
        let next = table.order.iter().copied().find(|&index| candidates.is_free(index))?;
        if candidates.is_barred(current) {
            // Relaxed: another call that moves on moves on to the same.
            table.current.store(next, Ordering::Relaxed);
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{members, obeys, pick, pick_again},
        *,
    };
    use crate::member::Reason;

    #[test]
    fn every_way_obeys() {
        obeys(&PickFirst::by_key());
        obeys(&PickFirst::new());
    }

    #[test]
    fn it_stays_where_it_is_and_moves_on_only_from_what_is_barred() {
        let (strategy, members) = (PickFirst::by_key(), members(&[1, 1, 1]));
        let table = strategy.table(&members, None);
        assert_eq!(pick(&strategy, &table, &members), Some(0));
        assert_eq!(pick_again(&strategy, &table, &members, &[0]), Some(1));
        assert_eq!(pick(&strategy, &table, &members), Some(0), "one call alone went elsewhere");
        let veto = members[0].veto(Reason::Busy);
        veto.raise();
        assert_eq!(pick(&strategy, &table, &members), Some(1));
        veto.clear();
        assert_eq!(pick(&strategy, &table, &members), Some(1), "it does not go back");
        let table = strategy.table(&members[1..], Some(&table));
        assert_eq!(pick(&strategy, &table, &members[1..]), Some(0), "the same after a change");
        let table = strategy.table(&members, Some(&table));
        assert_eq!(pick(&strategy, &table, &members), Some(1));
    }

    #[test]
    fn the_first_is_random_by_weight() {
        let (strategy, members) = (PickFirst::new(), members(&[1, 3]));
        let firsts = (0..4_000).filter(|_| {
            let table = strategy.table(&members, None);
            pick(&strategy, &table, &members) == Some(1)
        });
        let count = firsts.count();
        assert!((2_800..3_200).contains(&count), "{count}");
    }
}
