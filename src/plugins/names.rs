use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, OnceLock, Weak},
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use tokio::sync::watch;

use super::{
    body::{Request, Response},
    generation::Held,
    passage::InFlight,
    slot::{Place, Slot},
};
use crate::sync::{Leases, lock, shards, thread_number};

type Map<Req, Res> = HashMap<Arc<str>, Arc<Entry<Req, Res>>, RandomState>;

type Gone<Req, Res> = BTreeMap<Arc<str>, Weak<Slot<Req, Res>>>;

/// A place, and what stands there as far as calls know. Where another one has come meanwhile, it is the call that
/// notices.
struct Entry<Req, Res> {
    place: Place<Req, Res>,
    held: Held<Req, Res>,
    /// A handle for each group of threads, which finds its counter without a look at the others. Takes no memory before
    /// the first call.
    near: OnceLock<Near<Req, Res>>,
}

type Near<Req, Res> = Box<[OnceLock<Held<Req, Res>>]>;

impl<Req, Res> Entry<Req, Res> {
    fn new(place: Place<Req, Res>) -> Arc<Self> {
        let (held, near) = (place.core().current(), OnceLock::new());
        Arc::new(Self { place, held, near })
    }

    #[inline]
    fn take(&self) -> InFlight<Req, Res> {
        let near = self
            .near
            .get_or_init(|| (0..shards().next_power_of_two()).map(|_| OnceLock::new()).collect());
        let of_thread = &near[thread_number() & (near.len() - 1)];
        InFlight::of(of_thread.get_or_init(|| self.held.clone()))
    }

    fn is_current(&self) -> bool {
        self.place.core().is_current(&self.held)
    }
}

/// The places of all plugins by their names. A look takes no lock.
pub(super) struct Names<Req, Res> {
    map: ArcSwap<Map<Req, Res>>,
    /// Places whose plugin is there no more, and to which there still are handles: if one of that name comes
    /// again, they lead to it.
    gone: Mutex<Gone<Req, Res>>,
    changed: watch::Sender<u64>,
}

impl<Req: Request, Res: Response> Names<Req, Res> {
    pub(super) fn new() -> Self {
        let map = ArcSwap::from_pointee(Map::default());
        Self { map, gone: Mutex::default(), changed: watch::Sender::new(0) }
    }

    #[inline]
    pub(super) fn get(&self, name: &str) -> Option<Place<Req, Res>> {
        self.map.load().get(name).map(|entry| entry.place.clone())
    }

    /// Begins a call of that name.
    #[inline]
    pub(super) fn find(&self, name: &str) -> Option<InFlight<Req, Res>> {
        self.map.load().get(name).map(|entry| entry.take())
    }

    /// All, in the order of their names.
    pub(super) fn all(&self) -> Vec<Arc<Slot<Req, Res>>> {
        let map = self.map.load();
        let mut all: Vec<_> = map.values().map(|entry| entry.place.core().clone()).collect();
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

    /// Makes `added` known by their names, and whatever stands at another place now, and forgets `removed`. Changes come
    /// one after the other.
    pub(super) fn publish(&self, added: Vec<Place<Req, Res>>, removed: &[Arc<str>]) {
        let mut gone = lock(&self.gone);
        let mut map = Map::clone(&self.map.load());
        for name in removed {
            if let Some(entry) = map.remove(name) {
                gone.insert(name.clone(), Arc::downgrade(entry.place.core()));
            }
        }
        for entry in map.values_mut().filter(|entry| !entry.is_current()) {
            *entry = Entry::new(entry.place.clone());
        }
        for place in added {
            let name = place.core().name.clone();
            gone.remove(&name);
            map.insert(name, Entry::new(place));
        }
        let before = self.map.swap(Arc::new(map));
        // Those to which there is no handle are gone for good.
        gone.retain(|_, slot| slot.strong_count() > 0);
        drop(gone);
        // It may hold what is the user's.
        drop(before);
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
