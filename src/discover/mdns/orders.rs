//! The commands for the thread that speaks to the network, in their order: its queue may be full.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use mdns_sd::{Receiver, ServiceDaemon, ServiceInfo, UnregisterStatus};

use crate::sync::lock;

/// How often a queue that is full is tried: it has room again as soon as the thread has a turn.
const WAIT: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(100)];

/// What must not get lost: each ends something that was begun.
#[derive(Debug)]
pub(super) enum Order {
    /// To look for a type.
    StopBrowse(String),
    /// To announce an instance.
    Unregister(Announced),
    Shutdown,
}

/// An instance that was announced. Its name is of the last one that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announced {
    /// The full name, in lower case.
    full: String,
    number: u64,
}

impl Order {
    fn hand_to(&self, mdns: &ServiceDaemon) -> mdns_sd::Result<()> {
        match self {
            Self::StopBrowse(kind) => mdns.stop_browse(kind),
            Self::Unregister(of) => mdns.unregister(&of.full).map(drop),
            Self::Shutdown => mdns.shutdown().map(drop),
        }
    }
}

/// The way to the thread.
pub(super) struct Orders {
    mdns: ServiceDaemon,
    waiting: Mutex<Waiting>,
}

/// What the queue had no room for. There is a bound: nothing begins while anything waits to end.
#[derive(Default)]
struct Waiting {
    orders: VecDeque<Order>,
    /// Whether a thread hands them on.
    is_attended: bool,
    /// The number of the last announcement of each name.
    announced: HashMap<String, u64>,
    announcements: u64,
}

impl Orders {
    pub(super) fn new(mdns: ServiceDaemon) -> Self {
        Self { mdns, waiting: Mutex::default() }
    }

    /// Gives a command after all before it, or none: `Error::Again`.
    pub(super) fn ask<T>(
        &self,
        command: impl FnOnce(&ServiceDaemon) -> mdns_sd::Result<T>,
    ) -> mdns_sd::Result<T> {
        let mut waiting = lock(&self.waiting);
        match waiting.hand_on(&self.mdns) {
            true => command(&self.mdns),
            false => Err(mdns_sd::Error::Again),
        }
    }

    /// Announces an instance, after all before it or not at all.
    pub(super) fn announce(&self, info: ServiceInfo) -> mdns_sd::Result<Announced> {
        let mut waiting = lock(&self.waiting);
        if !waiting.hand_on(&self.mdns) {
            return Err(mdns_sd::Error::Again);
        }
        let full = info.get_fullname().to_lowercase();
        self.mdns.register(info)?;
        waiting.announcements += 1;
        let number = waiting.announcements;
        waiting.announced.insert(full.clone(), number);
        Ok(Announced { full, number })
    }

    /// Takes an instance back, after all before it or not at all. `None`: another has its name.
    pub(super) fn take_back(
        &self,
        of: &Announced,
    ) -> mdns_sd::Result<Option<Receiver<UnregisterStatus>>> {
        let mut waiting = lock(&self.waiting);
        match waiting.hand_on(&self.mdns) {
            false => Err(mdns_sd::Error::Again),
            true if !waiting.is_last(of) => Ok(None),
            true => {
                let told = self.mdns.unregister(&of.full)?;
                waiting.announced.remove(&of.full);
                Ok(Some(told))
            }
        }
    }

    /// Gives a command after all before it, however long that takes. Does not wait for it.
    pub(super) fn give(self: &Arc<Self>, order: Order) {
        let mut waiting = lock(&self.waiting);
        if let Order::Unregister(of) = &order {
            if !waiting.is_last(of) {
                return;
            }
            waiting.announced.remove(&of.full);
        }
        waiting.orders.push_back(order);
        if waiting.hand_on(&self.mdns) || waiting.is_attended {
            return;
        }
        // A thread of its own: a drop must not hold up a runtime, nor need one.
        let orders = self.clone();
        let attend = move || {
            let [mut wait, longest] = WAIT;
            while !lock(&orders.waiting).is_done(&orders.mdns) {
                thread::sleep(wait);
                wait = longest.min(wait * 2);
            }
        };
        let attended = thread::Builder::new().name("upstream-mdns".to_owned()).spawn(attend);
        // Otherwise the next one does it.
        waiting.is_attended = attended.is_ok();
    }
}

impl Waiting {
    fn is_last(&self, of: &Announced) -> bool {
        self.announced.get(&of.full) == Some(&of.number)
    }

    /// Hands on what there is room for. Tells whether that was all.
    fn hand_on(&mut self, mdns: &ServiceDaemon) -> bool {
        while let Some(order) = self.orders.front() {
            if matches!(order.hand_to(mdns), Err(mdns_sd::Error::Again)) {
                return false;
            }
            // Any other error: the thread has ended, and needs none any more.
            self.orders.pop_front();
        }
        true
    }

    /// As `hand_on`, for what attends to it until then.
    fn is_done(&mut self, mdns: &ServiceDaemon) -> bool {
        let is_done = self.hand_on(mdns);
        self.is_attended = !is_done;
        is_done
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::UdpSocket,
        sync::mpsc::{self, Sender},
    };

    use mdns_sd::{IfKind, IfPredicate};

    use super::*;

    /// On loopback alone, with a port of its own.
    fn loopback() -> Arc<Orders> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mdns = ServiceDaemon::new_with_port(socket.local_addr().unwrap().port()).unwrap();
        let orders = Arc::new(Orders::new(mdns));
        orders.ask(|mdns| mdns.disable_interface(IfKind::All)).unwrap();
        orders.ask(|mdns| mdns.enable_interface(IfKind::LoopbackV4)).unwrap();
        orders
    }

    /// Keeps the thread busy until what is returned is dropped.
    fn hold(orders: &Orders) -> Sender<()> {
        let (busy, until) = mpsc::channel();
        let (has_begun, begun) = mpsc::channel();
        let until = Mutex::new(until);
        let holds = IfPredicate::new(move |_| {
            let _ = has_begun.send(());
            let _ = lock(&until).recv();
            false
        });
        orders.ask(|mdns| mdns.disable_interface(IfKind::Predicate(holds))).unwrap();
        begun.recv().unwrap();
        busy
    }

    fn fill(orders: &Orders) {
        while orders.ask(ServiceDaemon::get_metrics).is_ok() {}
    }

    fn tax(number: usize) -> ServiceInfo {
        let (id, host) = (format!("tax-{number}"), format!("host-{number}.local."));
        ServiceInfo::new("_tax._tcp.local.", &id, &host, "127.0.0.1", 80, None).unwrap()
    }

    #[test]
    fn what_finds_no_room_waits_for_nothing_and_comes_in_its_order() {
        let orders = loopback();
        let busy = hold(&orders);
        let announce = |number| orders.announce(tax(number));
        let all: Vec<_> = (0..50).map(|number| announce(number).unwrap()).collect();
        fill(&orders);
        for of in &all {
            orders.give(Order::Unregister(of.clone()));
        }
        // Nothing begins before that, and the thread is still held.
        assert!(matches!(announce(0), Err(mdns_sd::Error::Again)));
        assert_eq!(lock(&orders.waiting).orders.len(), 50);
        drop(busy);
        // Without any other command, all are handed on.
        while lock(&orders.waiting).is_attended {
            thread::yield_now();
        }
        while announce(0).is_err() {
            thread::yield_now();
        }
        for number in 0..50 {
            let full = tax(number).get_fullname().to_owned();
            let status = loop {
                match orders.ask(|mdns| mdns.unregister(&full)) {
                    Err(mdns_sd::Error::Again) => thread::yield_now(),
                    status => break status.unwrap().recv().unwrap(),
                }
            };
            let is_there = matches!(status, UnregisterStatus::OK);
            assert_eq!(is_there, number == 0, "{number}: what begins after an end stays");
        }
        orders.give(Order::Shutdown);
    }

    #[test]
    fn a_name_is_of_the_last_that_was_announced() {
        let orders = loopback();
        let [first, second] = [(); 2].map(|()| orders.announce(tax(0)).unwrap());
        assert!(orders.take_back(&first).unwrap().is_none());
        orders.give(Order::Unregister(first));
        let told = orders.take_back(&second).unwrap().unwrap().recv().unwrap();
        assert!(matches!(told, UnregisterStatus::OK));
        assert!(orders.take_back(&second).unwrap().is_none());
        orders.give(Order::Shutdown);
    }

    #[test]
    fn a_thread_ends_although_there_was_no_room_to_say_so() {
        let orders = loopback();
        let busy = hold(&orders);
        fill(&orders);
        orders.give(Order::StopBrowse("_tax._tcp.local.".to_owned()));
        orders.give(Order::Shutdown);
        drop(busy);
        while lock(&orders.waiting).is_attended {
            thread::yield_now();
        }
        let ask = || orders.ask(ServiceDaemon::get_metrics);
        while !matches!(ask(), Err(mdns_sd::Error::DaemonShutdown)) {
            thread::yield_now();
        }
    }
}
