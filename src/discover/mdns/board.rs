//! What was heard in the network, as events make it: the instances of each type, and the own interfaces.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    sync::Arc,
};

use super::kind::ServiceType;
use crate::{endpoint::Endpoint, time::Instant};

/// All that a daemon has heard.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Own addresses in use.
    pub(super) own: BTreeSet<IpAddr>,
    /// How often one was lost.
    pub(super) lost: u64,
    /// Nothing is heard any more.
    pub(super) is_over: bool,
    listings: BTreeMap<ServiceType, Listing>,
    begun: u64,
}

/// The instances of one type.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    /// Of the search that found them.
    pub(super) number: u64,
    /// By their full names, in lower case; and as they are written.
    instances: BTreeMap<String, (String, Arc<Endpoint>)>,
    /// How many have left.
    pub(super) removals: u64,
    pub(super) changed_at: Instant,
    /// Whether the search has ended.
    pub(super) is_over: bool,
    users: usize,
}

impl Board {
    /// Another user of the search that runs, if there is one. Tells its number.
    pub(super) fn join(&mut self, kind: &ServiceType) -> Option<u64> {
        let listing = self.listings.get_mut(kind).filter(|listing| !listing.is_over)?;
        listing.users += 1;
        Some(listing.number)
    }

    /// A search begins, and replaces the one before. Tells its number.
    pub(super) fn begin(&mut self, kind: &ServiceType, now: Instant) -> u64 {
        self.begun += 1;
        let listing = Listing {
            number: self.begun,
            instances: BTreeMap::new(),
            removals: 0,
            changed_at: now,
            is_over: false,
            users: 1,
        };
        self.listings.insert(kind.clone(), listing);
        self.begun
    }

    fn get(&mut self, kind: &ServiceType, number: u64) -> Option<&mut Listing> {
        self.listings.get_mut(kind).filter(|listing| listing.number == number)
    }

    /// An instance is there. Tells whether there was room.
    pub(super) fn found(
        &mut self,
        (kind, number): (&ServiceType, u64),
        full: &str,
        endpoint: Endpoint,
        max: usize,
        now: Instant,
    ) -> bool {
        let Some(listing) = self.get(kind, number) else { return true };
        let lower = full.to_lowercase();
        let known = listing.instances.get(&lower);
        let has_room = listing.instances.len() < max || known.is_some();
        if has_room && known.is_none_or(|(_, known)| **known != endpoint) {
            listing.instances.insert(lower, (full.to_owned(), Arc::new(endpoint)));
            listing.changed_at = now;
        }
        has_room
    }

    /// An instance has left, or can no longer be reached. Tells whether it was there.
    pub(super) fn gone(
        &mut self,
        (kind, number): (&ServiceType, u64),
        full: &str,
        now: Instant,
    ) -> bool {
        let Some(listing) = self.get(kind, number) else { return false };
        let was_there = listing.instances.remove(&full.to_lowercase()).is_some();
        if was_there {
            listing.removals += 1;
            listing.changed_at = now;
        }
        was_there
    }

    /// A search has ended. What it found stays. Tells whether it was the one that runs.
    pub(super) fn end(&mut self, kind: &ServiceType, number: u64) -> bool {
        let running = self.get(kind, number).filter(|listing| !listing.is_over);
        running.map(|listing| listing.is_over = true).is_some()
    }

    /// A user leaves a search. Tells whether it was the last one; then what was found is forgotten.
    pub(super) fn leave(&mut self, kind: &ServiceType, number: u64) -> bool {
        let Some(listing) = self.get(kind, number) else { return false };
        listing.users -= 1;
        let is_last = listing.users == 0;
        if is_last {
            self.listings.remove(kind);
        }
        is_last
    }

    pub(super) fn listing(&self, kind: &ServiceType, number: u64) -> Option<&Listing> {
        self.listings.get(kind).filter(|listing| listing.number == number)
    }

    /// The full name of the instance with a key, as it is written.
    pub(super) fn name_of(&self, key: &str) -> Option<String> {
        let mut all = self.listings.values().flat_map(|listing| listing.instances.values());
        all.find(|(_, endpoint)| endpoint.key() == key).map(|(full, _)| full.clone())
    }
}

impl Listing {
    /// The instances, ordered by their names.
    pub(super) fn instances(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.instances.values().map(|(_, endpoint)| endpoint)
    }
}

/// The instances of several types together. Each key is there once: that of the first type, and there of the
/// first name.
pub(super) fn together<'a>(
    all: impl IntoIterator<Item = &'a Arc<Endpoint>>,
    is_wanted: impl Fn(&Endpoint) -> bool,
    max: usize,
) -> Vec<Arc<Endpoint>> {
    let mut keys = HashSet::new();
    let wanted = all.into_iter().filter(|endpoint| is_wanted(endpoint));
    let once = wanted.filter(|endpoint| keys.insert(endpoint.key().to_owned()));
    once.take(max).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    fn kind(name: &str) -> ServiceType {
        ServiceType::of_service(name).unwrap()
    }

    fn at(address: &str, key: &str) -> Endpoint {
        Endpoint::new(address).unwrap().with_key(key)
    }

    fn keys<'a>(all: impl IntoIterator<Item = &'a Arc<Endpoint>>) -> Vec<String> {
        together(all, |_| true, 9)
            .iter()
            .map(|of| format!("{}@{}", of.key(), of.address()))
            .collect()
    }

    #[test]
    fn each_id_is_there_once_and_the_first_type_counts() {
        let (mut board, now) = (Board::default(), time::now());
        let (one, two) = (kind("one"), kind("two"));
        let (first, second) = (board.begin(&one, now), board.begin(&two, now));
        for (of, full, endpoint) in [
            ((&two, second), "x", at("c:1", "1")),
            ((&two, second), "y", at("d:1", "2")),
            ((&one, first), "y", at("b:1", "1")),
            ((&one, first), "X", at("a:1", "1")),
        ] {
            assert!(board.found(of, full, endpoint, 2, now));
        }
        let all = [(&one, first), (&two, second)];
        let all = all.map(|(kind, number)| board.listing(kind, number).unwrap());
        let all: Vec<_> = all.into_iter().flat_map(Listing::instances).collect();
        assert_eq!(keys(all.clone()), ["1@a:1", "2@d:1"]);
        assert_eq!(together(all, |_| true, 1).len(), 1);
    }

    #[test]
    fn instances_beyond_the_limit_are_ignored_and_those_known_are_not() {
        let (mut board, now) = (Board::default(), time::now());
        let tax = kind("tax");
        let number = board.begin(&tax, now);
        assert!(board.found((&tax, number), "a", at("a:1", "a"), 1, now));
        assert!(!board.found((&tax, number), "b", at("b:1", "b"), 1, now));
        assert!(board.found((&tax, number), "A", at("a:2", "a"), 1, now));
        let listing = board.listing(&tax, number).unwrap();
        assert_eq!(keys(listing.instances()), ["a@a:2"]);
    }

    #[test]
    fn what_an_older_search_tells_changes_nothing() {
        let (mut board, now) = (Board::default(), time::now());
        let tax = kind("tax");
        let old = board.begin(&tax, now);
        board.found((&tax, old), "a", at("a:1", "a"), 9, now);
        let new = board.begin(&tax, now);
        board.found((&tax, new), "a", at("a:1", "a"), 9, now);
        board.gone((&tax, old), "a", now);
        board.end(&tax, old);
        assert!(!board.leave(&tax, old));
        let listing = board.listing(&tax, new).unwrap();
        assert_eq!((keys(listing.instances()).len(), listing.is_over), (1, false));
        assert!(board.listing(&tax, old).is_none());
    }

    #[test]
    fn a_search_ends_with_its_last_user() {
        let (mut board, now) = (Board::default(), time::now());
        let tax = kind("tax");
        assert_eq!(board.join(&tax), None);
        let number = board.begin(&tax, now);
        assert_eq!(board.join(&tax), Some(number));
        assert!(!board.leave(&tax, number) && board.leave(&tax, number));
        assert!(board.listing(&tax, number).is_none());
        // One that is over is not joined.
        let number = board.begin(&tax, now);
        board.end(&tax, number);
        assert_eq!(board.join(&tax), None);
    }

    #[test]
    fn what_stays_as_it_is_is_no_change() {
        let (mut board, now) = (Board::default(), time::now());
        let tax = kind("tax");
        let number = board.begin(&tax, now);
        board.found((&tax, number), "a", at("a:1", "a"), 9, now);
        let later = time::later(now, std::time::Duration::from_secs(1));
        board.found((&tax, number), "a", at("a:1", "a"), 9, later);
        board.gone((&tax, number), "b", later);
        let listing = board.listing(&tax, number).unwrap();
        assert_eq!((listing.changed_at, listing.removals), (now, 0));
        board.gone((&tax, number), "A", later);
        let listing = board.listing(&tax, number).unwrap();
        assert_eq!((listing.changed_at, listing.removals), (later, 1));
    }
}
