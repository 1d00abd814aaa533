use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, Weak},
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use tokio::sync::watch;

use super::slot::{Found, Place, Slot};
use crate::sync::{Leases, lock, shards};

type Map<Req, Res> = HashMap<Arc<str>, Place<Req, Res>, RandomState>;

type Gone<Req, Res> = BTreeMap<Arc<str>, Weak<Slot<Req, Res>>>;

/// The places of all plugins by their names. A look takes no lock.
pub(super) struct Names<Req, Res> {
    map: ArcSwap<Map<Req, Res>>,
    /// Places whose plugin is there no more, and to which there still are handles: if one of that name comes
    /// again, they lead to it.
    gone: Mutex<Gone<Req, Res>>,
    changed: watch::Sender<u64>,
}

impl<Req, Res> Names<Req, Res> {
    pub(super) fn new() -> Self {
        let map = ArcSwap::from_pointee(Map::default());
        Self { map, gone: Mutex::default(), changed: watch::Sender::new(0) }
    }

    #[inline]
    pub(super) fn get(&self, name: &str) -> Option<Place<Req, Res>> {
        self.map.load().get(name).cloned()
    }

    /// The place of that name, for the time of one call.
    #[inline]
    pub(super) fn find(&self, name: &str) -> Option<Found<Req, Res>> {
        self.map.load().get(name).map(Leases::take)
    }

    /// All, in the order of their names.
    pub(super) fn all(&self) -> Vec<Arc<Slot<Req, Res>>> {
        let map = self.map.load();
        let mut all: Vec<_> = map.values().map(|place| place.core().clone()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The place of that name, there or not. It is found by its name once it is [published](Self::publish).
    pub(super) fn place(&self, name: &str) -> Place<Req, Res> {
        if let Some(place) = self.get(name) {
            return place;
        }
        let mut gone = lock(&self.gone);
        // It may be there by now.
        if let Some(place) = self.get(name) {
            return place;
        }
        let slot = gone.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let slot = Slot::new(&Arc::from(name));
            gone.retain(|_, slot| slot.strong_count() > 0);
            gone.insert(slot.name.clone(), Arc::downgrade(&slot));
            slot
        });
        Leases::over(slot, shards())
    }

    /// Makes `added` known by their names, and forgets `removed`. Changes come one after the other.
    pub(super) fn publish(&self, added: Vec<Place<Req, Res>>, removed: &[Arc<str>]) {
        let mut gone = lock(&self.gone);
        let mut map = Map::clone(&self.map.load());
        for name in removed {
            if let Some(place) = map.remove(name) {
                gone.insert(name.clone(), Arc::downgrade(place.core()));
            }
        }
        for place in added {
            let name = place.core().name.clone();
            gone.remove(&name);
            map.insert(name, place);
        }
        let before = self.map.swap(Arc::new(map));
        // Those to which there is no handle are gone for good.
        gone.retain(|_, slot| slot.strong_count() > 0);
        drop(gone);
        // It may hold what is the user's.
        drop(before);
        self.tell();
    }

    /// Wakes what watches for the plugins that there are.
    pub(super) fn tell(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(a: &Place<u64, u64>, b: &Place<u64, u64>) -> bool {
        Arc::ptr_eq(a.core(), b.core())
    }

    #[test]
    fn handles_to_a_name_without_a_plugin_lead_to_the_one_that_comes() {
        let names = Names::<u64, u64>::new();
        let (early, late) = (names.place("tax"), names.place("tax"));
        assert!(is_same(&early, &late) && names.get("tax").is_none());
        names.publish(vec![late], &[]);
        assert!(names.get("tax").is_some_and(|place| is_same(&place, &early)));
        names.publish(vec![], &["tax".into()]);
        assert!(is_same(&names.place("tax"), &early), "there is a handle");
        // Without one, nothing is kept.
        drop(early);
        names.publish(vec![], &[]);
        assert!(lock(&names.gone).is_empty());
    }
}
