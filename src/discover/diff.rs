use std::{cmp::Ordering, sync::Arc};

use crate::endpoint::Endpoint;

/// What a set has that the set before it had not.
///
/// ```
/// use tower_upstream::{Endpoint, discover::{Difference, EndpointSet, diff}};
/// let set = |names: &[&str]| {
///     let endpoints = names.iter().map(|name| name.parse::<Endpoint>().unwrap());
///     EndpointSet::new(endpoints, "").unwrap()
/// };
/// let (old, new) = (set(&["a:1", "b:1"]), set(&["b:1", "c:1"]));
/// let changes: Vec<_> = diff(&old, &new).collect();
/// assert!(matches!(&changes[..], [Difference::Remove(a), Difference::Insert(c)]
///     if a.key() == "a:1" && c.key() == "c:1"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference<'a> {
    /// New, or at another address than before: connect to it.
    Insert(&'a Arc<Endpoint>),
    /// At the same address, but with another weight, status or the like: keep the connection.
    Update(&'a Arc<Endpoint>),
    /// Gone.
    Remove(&'a Arc<Endpoint>),
}

/// Compares two sets that are ordered by key, in one pass.
///
/// ```
/// use tower_upstream::{Endpoint, discover::{Difference, EndpointSet, diff}};
/// let old = EndpointSet::new([Endpoint::new("a:1")?], "1")?;
/// let new = EndpointSet::new([Endpoint::new("a:1")?, Endpoint::new("b:1")?], "2")?;
/// assert!(matches!(diff(&old, &new).next(), Some(Difference::Insert(b)) if b.key() == "b:1"));
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub fn diff<'a>(
    old: &'a [Arc<Endpoint>],
    new: &'a [Arc<Endpoint>],
) -> impl Iterator<Item = Difference<'a>> {
    changes(old, new).filter_map(|change| {
        Some(match change {
            Change::Insert(_, endpoint) | Change::Move(_, endpoint) => Difference::Insert(endpoint),
            Change::Update(_, endpoint) => Difference::Update(endpoint),
            Change::Remove(at) => Difference::Remove(old.get(at)?),
        })
    })
}

/// What becomes of one endpoint, by its index in the old set.
#[derive(Clone, Copy)]
pub(crate) enum Change<'a> {
    /// New, before that one.
    Insert(usize, &'a Arc<Endpoint>),
    /// At another address.
    Move(usize, &'a Arc<Endpoint>),
    Update(usize, &'a Arc<Endpoint>),
    Remove(usize),
}

impl Change<'_> {
    pub(crate) fn at(&self) -> usize {
        let (Self::Insert(at, _) | Self::Move(at, _) | Self::Update(at, _) | Self::Remove(at)) =
            *self;
        at
    }
}

/// Compares two sets that are ordered by identity, in one pass. What both share costs least.
pub(crate) fn changes<'a>(
    old: &[Arc<Endpoint>],
    new: &'a [Arc<Endpoint>],
) -> impl Iterator<Item = Change<'a>> {
    let (mut at, mut next) = (0, 0);
    std::iter::from_fn(move || {
        loop {
            let (was, is) = (old.get(at), new.get(next));
            if let (Some(was), Some(is)) = (was, is) {
                if Arc::ptr_eq(was, is) {
                    (at, next) = (at + 1, next + 1);
                    continue;
                }
            }
            let order = match (was, is) {
                (Some(was), Some(is)) => was.identity().cmp(is.identity()),
                (was, _) => {
                    if was.is_some() {
                        Ordering::Less
                    } else {
                        Ordering::Greater
                    }
                }
            };
            let index = at;
            at += usize::from(order.is_le());
            next += usize::from(order.is_ge());
            match order {
                Ordering::Less => return Some(Change::Remove(index)),
                Ordering::Greater => return is.map(|is| Change::Insert(index, is)),
                Ordering::Equal => {}
            }
            let (was, is) = (was?, is?);
            if was.address() != is.address() {
                return Some(Change::Move(index, is));
            }
            if was != is {
                return Some(Change::Update(index, is));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Keys `a` to `f`, each absent or with an address and a weight.
    fn sets() -> impl Strategy<Value = Vec<Arc<Endpoint>>> {
        prop::collection::btree_map("[a-f]", (1_u16..3, 1_u32..3), 0..6).prop_map(|entries| {
            entries
                .into_iter()
                .map(|(key, (port, weight))| {
                    let endpoint = Endpoint::new(format!("h:{port}")).unwrap();
                    Arc::new(endpoint.with_key(key).with_weight(weight))
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn applying_the_difference_gives_the_new_set(old in sets(), new in sets()) {
            let mut result: BTreeMap<_, _> =
                old.iter().map(|endpoint| (endpoint.key().to_owned(), endpoint.clone())).collect();
            for change in diff(&old, &new) {
                match change {
                    Difference::Insert(endpoint) => {
                        let before = result.insert(endpoint.key().into(), endpoint.clone());
                        prop_assert!(before.is_none_or(|b| b.address() != endpoint.address()));
                    }
                    Difference::Update(endpoint) => {
                        let before = result.insert(endpoint.key().into(), endpoint.clone());
                        let before = before.unwrap();
                        prop_assert_eq!(before.address(), endpoint.address());
                        prop_assert_ne!(before, endpoint.clone());
                    }
                    Difference::Remove(endpoint) => {
                        prop_assert!(result.remove(endpoint.key()).is_some());
                    }
                }
            }
            prop_assert_eq!(result.into_values().collect::<Vec<_>>(), new);
        }
    }
}
