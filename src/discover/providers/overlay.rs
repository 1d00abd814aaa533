//! The endpoints of a provider that were registered here, and how they go with those that were found.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::super::set::EndpointSet;
use crate::endpoint::{Address, Endpoint};

/// By key.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlay {
    own: BTreeMap<Arc<str>, Own>,
    /// Counts the changes.
    version: u64,
}

#[derive(Debug, Clone)]
struct Own {
    endpoint: Arc<Endpoint>,
    /// Whether the backend is told of it, and so knows better.
    is_announced: bool,
}

impl Overlay {
    pub(super) fn put(&mut self, endpoint: Arc<Endpoint>, is_announced: bool) {
        self.own.insert(endpoint.key().into(), Own { endpoint, is_announced });
        self.version += 1;
    }

    /// `false`: there was none.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        let is_removed = self.own.remove(key).is_some();
        self.version += u64::from(is_removed);
        is_removed
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<Endpoint>> {
        self.own.get(key).map(|own| own.endpoint.clone())
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.own.contains_key(key)
    }

    pub(super) fn keys(&self) -> Vec<Arc<str>> {
        self.own.keys().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.own.len()
    }

    /// What is found, with what was registered here: of an announced one what is found counts, of another the own.
    /// `None`: nothing is known.
    pub(super) fn over(&self, found: Option<&EndpointSet>) -> Option<EndpointSet> {
        if self.own.is_empty() {
            return found.cloned();
        }
        let own = |is_announced| {
            let own = self.own.values().filter(move |own| own.is_announced == is_announced);
            own.map(|own| own.endpoint.clone())
        };
        let revision = found.map_or("", |set| set.revision());
        let found = || found.into_iter().flat_map(|set| set.iter());
        // A backend may call what it was told by another key, such as one with the name of its node.
        let addresses: HashSet<&Address> = found().map(|of| of.address()).collect();
        let announced = own(true).filter(|own| !addresses.contains(own.address()));
        let all = own(false).chain(found().cloned()).chain(announced).collect();
        Some(EndpointSet::of_first(all, format!("{revision}+{}", self.version), |_| ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, weight: u32) -> Arc<Endpoint> {
        Endpoint::new(format!("{key}:1")).unwrap().with_key(key).with_weight(weight).into()
    }

    #[test]
    fn the_backend_knows_better_of_what_it_was_told_and_of_nothing_else() {
        let mut overlay = Overlay::default();
        assert!(overlay.over(None).is_none());
        let found = EndpointSet::new([of("a", 1), of("b", 1), of("c", 1)], "7").unwrap();
        assert_eq!(overlay.over(Some(&found)).unwrap().revision(), "7");
        overlay.put(of("b", 2), true);
        overlay.put(of("c", 2), false);
        overlay.put(of("d", 2), true);
        let weights = |set: EndpointSet| {
            set.iter().map(|of| (of.key().to_owned(), of.weight())).collect::<Vec<_>>()
        };
        let all = weights(overlay.over(Some(&found)).unwrap());
        let expected = [("a", 1), ("b", 1), ("c", 2), ("d", 2)];
        assert_eq!(all, expected.map(|(key, weight)| (key.to_owned(), weight)));
        assert_eq!(overlay.over(None).unwrap().len(), 3);
        // By whatever key it is told of.
        let found =
            EndpointSet::new([of("d", 1).as_ref().clone().with_key("node/d")], "8").unwrap();
        let all = weights(overlay.over(Some(&found)).unwrap());
        let expected = [("b", 2), ("c", 2), ("node/d", 1)];
        assert_eq!(all, expected.map(|(key, weight)| (key.to_owned(), weight)));
        assert!(overlay.remove("b") && !overlay.remove("b"));
    }
}
