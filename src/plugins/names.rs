use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, Weak},
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use tokio::sync::watch;

use super::{by_name::Found, slot::Slot};
use crate::sync::{Leases, lock, shards};

/// The place of a plugin, as each handle to it holds it.
pub(super) type Place<Req, Res> = Leases<Arc<Slot<Req, Res>>, ()>;

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
        let mut all: Vec<_> = map.values().map(|place| Arc::clone(&**place.core())).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The place of that name, there or not. It is found by its name once it is [published](Self::publish).
    pub(super) fn place(&self, name: &str) -> Place<Req, Res> {
        if let Some(place) = self.get(name) {
            return place;
        }
        let known = lock(&self.gone).get(name).and_then(Weak::upgrade);
        let slot = known.unwrap_or_else(|| Slot::new(&Arc::from(name)));
        Leases::new(slot, shards())
    }

    /// Makes `added` known by their names, and forgets `removed`. Changes come one after the other.
    pub(super) fn publish(&self, added: Vec<Place<Req, Res>>, removed: &[Arc<str>]) {
        let mut gone = lock(&self.gone);
        let mut map = Map::clone(&self.map.load());
        for name in removed {
            if let Some(place) = map.remove(name) {
                gone.insert(name.clone(), Arc::downgrade(&**place.core()));
            }
        }
        for place in added {
            let name = place.core().name.clone();
            gone.remove(&name);
            map.insert(name, place);
        }
        // Those to which there is no handle are gone for good.
        let before = self.map.swap(Arc::new(map));
        drop(before);
        gone.retain(|_, slot| slot.strong_count() > 0);
        drop(gone);
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
