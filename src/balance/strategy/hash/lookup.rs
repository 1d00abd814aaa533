//! Which endpoint has which keys: what it takes to find out, made once for a set of members.

use std::sync::Arc;

use super::{names::names, places::Places, scheme::HashScheme};
use crate::{
    member::Member,
    rules::hash::{FadeIn, Maglev, ProbeOrder, Rendezvous, Ring},
};

#[derive(Debug, Clone)]
pub(super) enum Lookup {
    Ring {
        ring: Arc<Ring>,
        candidates: Owners,
    },
    /// The table of all, and one more without each wave of newcomers, the newest wave first: for the keys that
    /// have yet to move.
    Tables(Arc<[Places]>),
    Rendezvous(Arc<Rendezvous>),
}

/// The candidate that each owner of points is.
#[derive(Debug, Clone)]
pub(super) enum Owners {
    /// All are candidates, in the same order.
    All,
    /// [`NONE`] is none.
    Some(Arc<[u32]>),
}

const NONE: u32 = u32::MAX;

/// How much of its keys each newcomer has. Empty if there are none.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Of each candidate.
    pub(super) of: Box<[f64]>,
    /// Of each wave, the newest first, so that they grow.
    pub(super) waves: Box<[f64]>,
}

impl Shares {
    /// Whether the candidate has the key, if it is its own.
    fn has(&self, index: usize, hash: u64) -> bool {
        self.of.get(index).is_none_or(|&share| share >= 1.0 || FadeIn::has_moved(hash, share))
    }

    /// How much of its keys the candidate has.
    fn share(&self, index: usize) -> f64 {
        self.of.get(index).copied().unwrap_or(1.0)
    }

    /// The table that is the key's. Those that it moves between differ also where an endpoint that was there
    /// before gets a key: that is to warm up, too.
    #[inline]
    fn table<'a>(&self, tables: &'a [Places], hash: u64) -> Option<&'a Places> {
        let moved = self.waves.iter().position(|&share| FadeIn::has_moved(hash, share));
        tables.get(moved.unwrap_or(self.waves.len()))
    }
}

impl Lookup {
    /// That of `members` among `universe`, which has their weights; both are ordered by key. `layers` tells for each of the tables which
    /// members are in it; the first has all.
    pub(super) fn new(
        scheme: HashScheme,
        members: &[Arc<Member>],
        universe: &[(Arc<Member>, u32)],
        layers: &[Vec<bool>],
    ) -> Self {
        if scheme.is_ring() {
            return Self::of_ring(scheme, members, universe);
        }
        let names = names(scheme, universe);
        let of_layer = |layer: &Vec<bool>| -> Vec<_> {
            let weight = |is_in: bool, weight| if is_in { weight } else { 0 };
            let hosts = names.iter().zip(layer);
            hosts.map(|((name, of), is_in)| (name.as_str(), weight(*is_in, *of))).collect()
        };
        match scheme {
            HashScheme::Rendezvous => Self::Rendezvous(Arc::new(Rendezvous::new(&names))),
            HashScheme::Modulo => {
                let of = |layer: &Vec<bool>| {
                    (0_u32..)
                        .zip(layer)
                        .filter(|(_, is_in)| **is_in)
                        .map(|(index, _)| index)
                        .collect()
                };
                Self::Tables(layers.iter().map(of).collect())
            }
            HashScheme::Maglev { size } => {
                let table = |layer| {
                    let hosts = of_layer(layer);
                    let table =
                        Maglev::with_size(&hosts, size).unwrap_or_else(|_| Maglev::new(&hosts));
                    table.slots().iter().copied().collect()
                };
                Self::Tables(layers.iter().map(table).collect())
            }
            _ => Self::of_ring(scheme, members, universe),
        }
    }

    fn of_ring(
        scheme: HashScheme,
        members: &[Arc<Member>],
        universe: &[(Arc<Member>, u32)],
    ) -> Self {
        let hosts = names(scheme, universe);
        let ring = match scheme {
            HashScheme::Ring(size) => Ring::envoy(&hosts, size),
            HashScheme::Libketama => Ring::libketama(&hosts),
            HashScheme::Libmemcached => Ring::libmemcached(&hosts),
            HashScheme::Nginx => Ring::nginx(&hosts),
            HashScheme::Skipper { points } => {
                let hosts: Vec<_> = hosts.iter().map(|(host, _)| host).collect();
                Ring::skipper(&hosts, points)
            }
            _ => Ring::envoy(&hosts, Default::default()),
        };
        Self::Ring { ring: Arc::new(ring), candidates: Owners::new(universe, members) }
    }

    /// The same ring for other candidates.
    pub(super) fn for_others(
        &self,
        universe: &[(Arc<Member>, u32)],
        members: &[Arc<Member>],
    ) -> Option<Self> {
        let Self::Ring { ring, .. } = self else { return None };
        Some(Self::Ring { ring: ring.clone(), candidates: Owners::new(universe, members) })
    }

    pub(super) fn is_ring(&self) -> bool {
        matches!(self, Self::Ring { .. })
    }

    /// The candidate that has `hash`, whether it is free or not.
    #[inline]
    pub(super) fn owner(&self, hash: u64, shares: &Shares) -> Option<usize> {
        match self {
            Self::Ring { ring, candidates } if shares.of.is_empty() => {
                let owner = candidates.get(ring.get(hash)?);
                owner.or_else(|| self.next(hash, shares, 0, |_| true))
            }
            Self::Ring { .. } | Self::Rendezvous(_) => self.next(hash, shares, 0, |_| true),
            Self::Tables(tables) => shares.table(tables, hash)?.get(hash),
        }
    }

    /// The candidate that `hash` goes to, of those that `may_be`, among `len`.
    pub(super) fn next(
        &self,
        hash: u64,
        shares: &Shares,
        len: usize,
        may_be: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let may_have = |&index: &usize| shares.has(index, hash) && may_be(index);
        let others = || ProbeOrder::new(hash, len).find(may_have);
        let found = match self {
            Self::Ring { ring, candidates } => {
                let mut owners = ring.walk(hash).filter_map(|owner| candidates.get(owner));
                // One of so little weight that it has no point is better than none.
                owners.find(may_have).or_else(others)
            }
            Self::Rendezvous(rule) => rule.get(hash, |index| may_have(&index)),
            Self::Tables(_) => {
                let owner = self.owner(hash, shares).filter(|&owner| may_be(owner));
                owner.or_else(others)
            }
        };
        // A newcomer rather than none.
        found.or_else(|| match shares.of.is_empty() {
            true => None,
            false => self.next(hash, &Shares::default(), len, may_be),
        })
    }

    /// The candidate that had `hash` before the wave came that `newcomer` is of; `None` if it is no newcomer.
    pub(super) fn before(&self, hash: u64, shares: &Shares, newcomer: usize) -> Option<usize> {
        let share = Some(shares.share(newcomer)).filter(|&share| share < 1.0)?;
        // Earlier waves have more.
        let had_it = |index: usize| shares.share(index) > share && shares.has(index, hash);
        match self {
            Self::Ring { ring, candidates } => {
                let mut owners = ring.walk(hash).filter_map(|owner| candidates.get(owner));
                owners.find(|&index| had_it(index))
            }
            Self::Rendezvous(rule) => rule.get(hash, had_it),
            Self::Tables(tables) => {
                let had_it = |&of: &f64| of > share && FadeIn::has_moved(hash, of);
                let wave = shares.waves.iter().position(had_it).unwrap_or(shares.waves.len());
                tables.get(wave)?.get(hash)
            }
        }
    }

    /// The candidates in the order of the ring, if there is one; they come again.
    pub(super) fn walk(&self, hash: u64) -> Option<impl Iterator<Item = usize> + '_> {
        let Self::Ring { ring, candidates } = self else { return None };
        Some(ring.walk(hash).filter_map(|owner| candidates.get(owner)))
    }
}

impl Owners {
    /// Those of `universe` among `members`, both of which are ordered by key.
    fn new(universe: &[(Arc<Member>, u32)], members: &[Arc<Member>]) -> Self {
        let mut left = (0_u32..).zip(members).peekable();
        let index = |(of, _): &(Arc<Member>, u32)| {
            left.next_if(|(_, member)| Arc::ptr_eq(member, of)).map_or(NONE, |(index, _)| index)
        };
        let indices: Arc<[u32]> = universe.iter().map(index).collect();
        match indices.contains(&NONE) {
            true => Self::Some(indices),
            false => Self::All,
        }
    }

    #[inline]
    fn get(&self, owner: usize) -> Option<usize> {
        match self {
            Self::All => Some(owner),
            Self::Some(indices) => {
                indices.get(owner).copied().filter(|&of| of != NONE).map(|of| of as usize)
            }
        }
    }
}
