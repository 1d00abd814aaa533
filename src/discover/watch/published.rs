//! What users of a watch see: the newest set.

use std::{collections::HashSet, sync::Arc};

use super::super::{
    diff::{Change, changes},
    set::EndpointSet,
};
use crate::endpoint::Endpoint;

/// A set with its number in the order of delivery.
#[derive(Debug, Clone, Default)]
pub(super) struct Published {
    pub(super) set: Option<EndpointSet>,
    pub(super) number: u64,
}

/// How many of `base` are not in `set`.
pub(super) fn gone(base: &[Arc<Endpoint>], set: &[Arc<Endpoint>]) -> usize {
    changes(base, set).filter(|change| matches!(change, Change::Remove(_))).count()
}

/// `set`, and of `base` what it lacks.
pub(super) fn with_all_of(base: &EndpointSet, set: &EndpointSet) -> EndpointSet {
    // A key may have gone from one identity to another.
    let keys: HashSet<&str> = set.iter().map(|endpoint| endpoint.key()).collect();
    let removed = changes(base, set).filter_map(|change| match change {
        Change::Remove(at) => base.as_ref().get(at).filter(|of| !keys.contains(of.key())),
        _ => None,
    });
    let all = set.iter().chain(removed).cloned();
    // Cannot fail: no key and no identity is there twice.
    EndpointSet::new(all, set.revision()).unwrap_or_else(|_| set.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Some with a key of their own, which may be the address of another.
    fn sets() -> impl Strategy<Value = EndpointSet> {
        prop::collection::btree_map("[a-d]:1", (any::<bool>(), "[a-d]:1"), 0..5).prop_map(
            |entries| {
                let endpoints = entries.into_iter().map(|(key, (keyed, address))| {
                    let endpoint = Endpoint::new(if keyed { &address } else { &key }).unwrap();
                    if keyed { endpoint.with_key(&*key) } else { endpoint }
                });
                EndpointSet::new(endpoints, "").unwrap()
            },
        )
    }

    proptest! {
        #[test]
        fn nothing_is_lost_but_a_key_that_moved(base in sets(), set in sets()) {
            let all = with_all_of(&base, &set);
            for endpoint in set.iter() {
                prop_assert!(all.iter().any(|of| Arc::ptr_eq(of, endpoint)));
            }
            for endpoint in base.iter() {
                prop_assert!(all.iter().any(|of| of.key() == endpoint.key()));
            }
            prop_assert!(all.len() <= base.len() + set.len());
            let identities: HashSet<_> = set.iter().map(|of| of.identity()).collect();
            let lacking = base.iter().filter(|of| !identities.contains(of.identity())).count();
            prop_assert_eq!(gone(&base, &set), lacking);
        }
    }
}
