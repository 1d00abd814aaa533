use std::{sync::Arc, time::Duration};

use super::{
    super::{
        candidates::Candidates,
        note::Note,
        notes::Notes,
        strategy::{Pick, Strategy},
    },
    bound::{Bound, Place},
    bounded_by::BoundedBy,
    key_bytes::KeyBytes,
    lookup::{Lookup, Shares},
    portions::Portions,
    scheme::HashScheme,
    total::Total,
    waves::{Before, Pace, STEPS, Waves, has_all, layers, newest_first},
};
use crate::{
    key::Key,
    member::{Measure, Member},
    rules::hash::{BoundedLoad, FadeIn},
    time::{self, Instant},
};

/// Chooses by a key of the request, so that equal keys go to the same endpoint while others come and go.
///
/// Use it where an endpoint does better with keys that it has seen: caches, sessions, shards. It costs
/// evenness; without such endpoints, [`LeastRequest`](super::super::LeastRequest) does better. [`HashScheme`] has the
/// tables and rings, of which [`Maglev`](HashScheme::Maglev) is the default, and the quickest.
///
/// *Keys.* The key is what [`by_key`](Self::by_key) is given. A text is hashed just as it is, as other systems do.
/// A request without a key, by [`key::optional`](crate::key::optional), goes to any endpoint.
///
/// *Bounded load.* A key goes on to another endpoint while its own has more calls in flight than
/// [`factor`](BoundedLoad::factor) times its share: always to the same, while that has room. Default: 1.5 times.
/// Where calls are short and come in bursts, bound their [occupancy](BoundedBy::Occupancy) instead.
///
/// *Priorities and zones.* Where several [share the load](crate::balance#zones), a key has its own of them as well:
/// each gets the keys of its share, which is that of its weight and of its health, and when that changes, the
/// keys of the difference alone move.
///
/// *Fade-in.* An endpoint that joins gets its keys [little by little](FadeIn), so that its cache is warm when it
/// has all of them; those that have yet to move stay where they were, and those that it has no room for by the bound go
/// back there. Endpoints that leave are gone at once. Default: within 30 s.
///
/// That protects what the others have learned. The endpoints of a set without a call yet have learned nothing, nor have
/// others the keys of those that have left: of these keys, one that joins gets its part at once, so that the endpoints
/// of a set that comes in parts, or comes back, share its keys from the start. Those that the first call finds are taken to
/// know their keys, since they may have served others before. Keys of those that have left are taken to be learned as fast
/// as by a newcomer at the end of its window: all within 12 s with the defaults. The window of an endpoint begins when
/// calls can first go to it: once it is healthy, and has weight.
///
/// A further attempt goes to the next endpoint that the key would go to. Weights are those of the endpoints, or an
/// operator's; a slow start of the balancer does not count. A ring may have no point of an endpoint that weighs far less
/// than others: that gets keys only while no other can be called.
///
/// *Why.* A call that is [explained](crate::BalanceLayer::explained) tells what its endpoint has and may have, which
/// endpoints had more, and which one will have its key when that has faded in.
///
/// # Bounds
/// A choice allocates nothing if the key is text of at most 64 bytes and its endpoint has room. What all have in
/// flight is as of 1 to 2 ms ago, and averages of 50 ms ago; the task of the set adds them up, while some endpoint
/// has more than one call. Of newcomers that
/// join within an eighth of the window of [`FadeIn`], the later ones have the shares of the first.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::{
///     BalanceLayer, Call, balance::{ConsistentHash, HashScheme}, discover, key,
///     rules::hash::{BoundedLoad, FadeIn},
/// };
///
/// let by_tenant = key::optional(|call: &Call<u64>| call.headers().get("x-tenant").cloned());
/// let strategy = ConsistentHash::by_key(by_tenant)
///     .with_bounded_load(BoundedLoad::new(1.25))
///     .with_fade_in(FadeIn { window: Duration::from_secs(60), ..FadeIn::default() });
/// let layer = BalanceLayer::new(discover::fixed(["http://a:80", "http://b:80"])?, strategy);
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConsistentHash<K> {
    key: K,
    scheme: HashScheme,
    bound: Option<BoundedLoad>,
    bounded_by: BoundedBy,
    fade_in: FadeIn,
}

impl<K> ConsistentHash<K> {
    /// Creates a strategy that chooses by `key`: a closure that returns something hashable, or a type of yours.
    pub fn by_key(key: K) -> Self {
        Self {
            key,
            scheme: HashScheme::default(),
            bound: Some(BoundedLoad::default()),
            bounded_by: BoundedBy::default(),
            fade_in: FadeIn::default(),
        }
    }

    /// Sets how keys are placed on endpoints. Default: [`HashScheme::Maglev`] with 65,537 places.
    #[must_use]
    pub fn with_scheme(mut self, scheme: HashScheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// Sets how much an endpoint may have; `None` is without a bound. Default: 1.5 times its share.
    #[must_use]
    pub fn with_bounded_load(mut self, bound: impl Into<Option<BoundedLoad>>) -> Self {
        self.bound = bound.into();
        self
    }

    /// Sets what the bound is a bound to. Default: [`BoundedBy::InFlight`].
    #[must_use]
    pub fn with_bounded_by(mut self, by: BoundedBy) -> Self {
        self.bounded_by = by;
        self
    }

    /// Sets how fast an endpoint that joins gets its keys; `None` is at once, as a window of 0. Default: within 30 s,
    /// with the exponent 2.5.
    #[must_use]
    pub fn with_fade_in(mut self, fade_in: impl Into<Option<FadeIn>>) -> Self {
        let at_once = || FadeIn { window: Duration::ZERO, ..FadeIn::default() };
        self.fade_in = fade_in.into().unwrap_or_else(at_once);
        self
    }
}

/// State of [`ConsistentHash`]: the table or ring, and which endpoints are newcomers.
#[derive(Debug)]
pub struct ConsistentHashTable {
    lookup: Lookup,
    members: Box<[Arc<Member>]>,
    /// Those that have a part of the lookup, with their weights.
    universe: Box<[(Arc<Member>, u32)]>,
    pub(super) waves: Waves,
    /// When each of the members has all of its keys, of those that are newcomers to the others.
    has_all: Box<[Option<Instant>]>,
    pub(super) shares: Shares,
    portions: Portions,
    total: Total,
}

impl<K: Send + Sync + 'static> Strategy for ConsistentHash<K> {
    type Table = ConsistentHashTable;

    fn table(&self, members: &[Arc<Member>], before: Option<&Self::Table>) -> Self::Table {
        self.table_among(members, members, before)
    }

    fn table_among(
        &self,
        members: &[Arc<Member>],
        all: &[Arc<Member>],
        before: Option<&Self::Table>,
    ) -> Self::Table {
        let pace = Pace::new(self.fade_in, time::now());
        let last = before.map(|before| {
            let ConsistentHashTable { waves, members, has_all, .. } = before;
            Before { waves, members, has_all }
        });
        let waves = Waves::next(last, members, all, &pace);
        let has_all = has_all(&waves, members);
        let newest_first = newest_first(&has_all);
        let shares = match newest_first.is_empty() {
            true => Shares::default(),
            false => Shares {
                of: has_all.iter().map(|at| pace.share(*at)).collect(),
                waves: newest_first.iter().map(|at| pace.share(Some(*at))).collect(),
            },
        };
        let universe = self.universe(members, all);
        let kept = before.and_then(|before| before.kept(members, &universe, &has_all));
        let lookup = kept.unwrap_or_else(|| {
            Lookup::new(self.scheme, members, &universe, &layers(&has_all, &newest_first))
        });
        let portions = Portions::new(members, &shares);
        let works = self.bound.is_some() && self.bounded_by == BoundedBy::Occupancy;
        let measure = Measure { works, ..Measure::DEFAULT };
        members.iter().for_each(|member| member.set_measure(measure));
        let total = Total::new(self.bounded_by, members);
        let members = members.into();
        ConsistentHashTable { lookup, members, universe, waves, has_all, shares, portions, total }
    }

    fn renew_after(&self, table: &Self::Table) -> Option<Duration> {
        table.waves.has_newcomers().then_some(self.fade_in.window / STEPS)
    }

    fn watch(&self, table: &Self::Table) -> Option<Duration> {
        table.total.look(&table.members)
    }
}

impl<K> ConsistentHash<K> {
    /// `None` if the request has no key.
    #[inline]
    fn hash<Req>(&self, request: &Req) -> Option<u64>
    where
        K: Key<Req>,
    {
        let mut key = KeyBytes::new();
        self.key.hash(request, &mut key);
        key.get().map(|key| self.scheme.hash(key))
    }

    /// A ring has the points of those that are out of use as well, which are passed by: so nothing is placed
    /// anew, and nothing comes back to another place.
    fn universe(&self, members: &[Arc<Member>], all: &[Arc<Member>]) -> Box<[(Arc<Member>, u32)]> {
        // Not that of the moment: a weight that grows would move keys all the time.
        let weighted = |member: &Arc<Member>| (member.clone(), member.nominal_weight());
        // Those of weight 0 have no points beside others.
        let has_weight = |member: &Arc<Member>| member.nominal_weight() > 0;
        match members.first().filter(|_| self.scheme.is_ring() && members.iter().any(has_weight)) {
            None => members.iter().map(weighted).collect(),
            Some(first) => {
                // Of one priority: a panic chooses also among those that discovery warns of.
                let is_near = |member: &&Arc<Member>| member.tier() / 2 == first.tier() / 2;
                all.iter().filter(is_near).map(weighted).collect()
            }
        }
    }
}

impl ConsistentHashTable {
    /// The lookup of before, if it is that for these as well.
    fn kept(
        &self,
        members: &[Arc<Member>],
        universe: &[(Arc<Member>, u32)],
        has_all: &[Option<Instant>],
    ) -> Option<Lookup> {
        let is_same = |one: &Arc<Member>, other: &Arc<Member>| Arc::ptr_eq(one, other);
        let is_same_universe = self.universe.len() == universe.len()
            && self
                .universe
                .iter()
                .zip(universe)
                .all(|((one, weight), (other, now))| is_same(one, other) && weight == now);
        if !is_same_universe {
            return None;
        }
        let is_same_members = self.members.len() == members.len()
            && self.members.iter().zip(members).all(|(one, other)| is_same(one, other));
        match is_same_members {
            true if self.lookup.is_ring() || *self.has_all == *has_all => Some(self.lookup.clone()),
            true => None,
            false => self.lookup.for_others(universe, members),
        }
    }

    /// Where `hash` goes on to, since its `owner` is not free, or it has none: back, if that is a newcomer.
    #[cold]
    fn next(&self, hash: u64, owner: Option<usize>, candidates: &Candidates<'_>) -> Option<usize> {
        let is_free = |index: usize| candidates.is_free(index);
        let before = owner.and_then(|owner| self.lookup.before(hash, &self.shares, owner));
        let warm = before.filter(|&index| is_free(index));
        warm.or_else(|| self.lookup.next(hash, &self.shares, candidates.len(), is_free))
    }

    /// Notes which one `hash` will belong to, if that is another than its `owner` now.
    #[inline(always)]
    fn note_newcomer<N: Note>(&self, hash: u64, owner: Option<usize>, note: &N) {
        if N::TELLS && !self.shares.of.is_empty() {
            let at_last = self.lookup.owner(hash, &Shares::default());
            if let Some(newcomer) = at_last.filter(|&index| Some(index) != owner) {
                note.fades_in(newcomer);
            }
        }
    }
}

impl<K> ConsistentHash<K> {
    #[inline(always)]
    fn choose<Req>(
        &self,
        table: &ConsistentHashTable,
        candidates: Candidates<'_>,
        request: &Req,
        note: &impl Note,
    ) -> Option<usize>
    where
        K: Key<Req>,
    {
        let hash = self.hash(request).unwrap_or_else(|| {
            note.random();
            // A random number is hashed as well: those of some schemes have 32 bits.
            self.scheme.hash(&candidates.random().to_ne_bytes())
        });
        let owner = table.lookup.owner(hash, &table.shares);
        let first = match owner.filter(|&owner| candidates.is_free(owner)) {
            Some(owner) => owner,
            None => table.next(hash, owner, &candidates)?,
        };
        let chosen = match self.bound {
            None => first,
            Some(factor) => {
                let bound = Bound { factor, by: self.bounded_by, scheme: self.scheme };
                let (lookup, shares) = (&table.lookup, &table.shares);
                let place = Place { lookup, shares, hash, first };
                bound.choose(place, &candidates, &table.total, &table.portions, note)
            }
        };
        table.note_newcomer(hash, owner, note);
        Some(chosen)
    }
}

impl<Req, K> Pick<Req> for ConsistentHash<K>
where
    K: Key<Req> + Send + Sync + 'static,
{
    #[inline]
    fn pick(
        &self,
        table: &ConsistentHashTable,
        candidates: Candidates<'_>,
        request: &Req,
    ) -> Option<usize> {
        self.choose(table, candidates, request, &())
    }

    fn explain(
        &self,
        table: &ConsistentHashTable,
        candidates: Candidates<'_>,
        request: &Req,
        notes: &Notes,
    ) -> Option<usize> {
        self.choose(table, candidates, request, notes)
    }

    fn affinity(&self, request: &Req) -> Option<u64> {
        self.hash(request)
    }
}
