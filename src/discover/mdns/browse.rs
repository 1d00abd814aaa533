//! The search for the instances of one type, shared by all that want it.

use std::{
    ops::ControlFlow,
    sync::{Arc, Weak},
};

use mdns_sd::{Receiver, ResolvedService, ScopedIp, ServiceEvent};
use tokio::time::timeout_at;

use super::{
    bare::Bare,
    board::Listing,
    daemon::{Daemon, Heard, failed},
    entry::endpoint,
    kind::{ServiceType, is_askable},
    orders::{Order, Orders},
    places::Place,
    txt::Said,
};
use crate::{
    endpoint::Endpoint,
    error::{Error, Kind, Quoted},
    time,
};

/// One user of a search, which ends with the last one.
#[derive(Debug)]
pub(super) struct Browse {
    daemon: Arc<Daemon>,
    kind: ServiceType,
    number: u64,
}

impl Browse {
    /// Joins the search for a type that runs, or begins one.
    pub(super) fn begin(daemon: &Arc<Daemon>, kind: &ServiceType) -> Result<Self, Error> {
        // Under the lock, as is the end of a search: the daemon does one after the other.
        let begun = daemon.heard.note(|board| match board.join(kind) {
            Some(number) => Ok((number, None)),
            None => {
                let events = daemon.orders.ask(|mdns| mdns.browse(kind.full()))?;
                Ok((board.begin(kind, time::now()), Some(events)))
            }
        });
        let failed = |error| failed(&format!("`{}` cannot be searched for", kind.short()), error);
        let (number, events) = begun.map_err(failed)?;
        if let Some(events) = events {
            let follower = Follower {
                heard: Arc::downgrade(&daemon.heard),
                orders: daemon.orders.clone(),
                kind: kind.clone(),
                number,
                ipv6: daemon.config.ipv6,
                max: daemon.config.max_instances,
                has_ignored: false,
            };
            tokio::spawn(follower.listen(events));
        }
        Ok(Self { daemon: daemon.clone(), kind: kind.clone(), number })
    }

    /// Looks at what is found. `None`: it has ended, and another has begun.
    pub(super) fn look<T>(&self, at: impl FnOnce(&Listing) -> T) -> Option<T> {
        let heard = &self.daemon.heard;
        heard.look(|board| board.listing(&self.kind, self.number).map(at))
    }
}

impl Drop for Browse {
    fn drop(&mut self) {
        self.daemon.heard.note(|board| {
            if board.leave(&self.kind, self.number) {
                self.daemon.orders.give(Order::StopBrowse(self.kind.full().to_owned()));
            }
        });
    }
}

/// Follows what is told of a type.
struct Follower {
    heard: Weak<Heard>,
    orders: Arc<Orders>,
    kind: ServiceType,
    number: u64,
    ipv6: bool,
    max: usize,
    /// Whether there was an instance for which there was no room.
    has_ignored: bool,
}

impl Follower {
    async fn listen(mut self, events: Receiver<ServiceEvent>) {
        let mut bare = Bare::<Box<ResolvedService>>::new(self.max);
        loop {
            let event = match bare.due() {
                Some(due) => timeout_at(due, events.recv_async()).await.ok(),
                None => Some(events.recv_async().await),
            };
            let Some(heard) = self.heard.upgrade() else { return };
            let Ok(event) = event.transpose() else { return };
            if self.turn(event, &mut bare, &heard).is_break() {
                return;
            }
        }
    }

    /// Takes over an event, if there is one, and what was held back for long enough, also while events do not pause.
    /// Breaks if the search has to begin anew.
    fn turn(
        &mut self,
        event: Option<ServiceEvent>,
        bare: &mut Bare<Box<ResolvedService>>,
        heard: &Heard,
    ) -> ControlFlow<()> {
        let now = time::now();
        let mut has_left = match event {
            Some(ServiceEvent::ServiceResolved(found)) => {
                let full = found.fullname.clone();
                let is_bare = found.txt_properties.is_empty();
                let found = match is_bare {
                    true => bare.hold(&full, found, now),
                    false => Some(found),
                };
                if !is_bare {
                    bare.forget(&full);
                }
                found.is_some_and(|found| self.takes(&found, heard))
            }
            // It may be there still, and could not be asked for before its records expired: all are.
            Some(ServiceEvent::ServiceRemoved(_, full)) if !self.can_ask_for(&full) => {
                self.forget(heard);
                return ControlFlow::Break(());
            }
            Some(ServiceEvent::ServiceRemoved(_, full)) => {
                bare.forget(&full);
                heard.note(|board| board.gone((&self.kind, self.number), &full, now))
            }
            _ => false,
        };
        // After the event, which may be what was waited for.
        for found in bare.take_due(now) {
            has_left |= self.takes(&found, heard);
        }
        // There is room again for one that was ignored, which is told only to those that begin to search.
        match has_left && self.has_ignored {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Takes over what was found. Tells whether it takes an instance away, which cannot be used any more.
    fn takes(&mut self, found: &ResolvedService, heard: &Heard) -> bool {
        let (of, full, now) = ((&self.kind, self.number), &found.fullname, time::now());
        match self.read(found) {
            Ok(endpoint) => {
                let has_room = heard.note(|board| board.found(of, full, endpoint, self.max, now));
                if !has_room && !self.has_ignored {
                    let (kind, max) = (self.kind.short(), self.max);
                    tracing::warn!(kind, max, "more instances than may be; they are ignored");
                }
                self.has_ignored |= !has_room;
                false
            }
            Err(error) => {
                tracing::debug!(%error, "an instance cannot be used");
                heard.note(|board| board.gone(of, full, now))
            }
        }
    }

    fn can_ask_for(&self, full: &str) -> bool {
        self.kind.label_of(full).is_none_or(is_askable)
    }

    /// Ends the search so that the next one knows nothing: a host does not answer what is known.
    fn forget(&self, heard: &Heard) {
        // Under the lock, as the beginning of a search is.
        heard.note(|board| {
            if board.end(&self.kind, self.number) {
                self.orders.give(Order::StopBrowse(self.kind.full().to_owned()));
            }
        });
    }

    fn read(&self, found: &ResolvedService) -> Result<Endpoint, Error> {
        let said = Said::read(found.txt_properties.iter().map(|pair| (pair.key(), pair.val())));
        // Anything may stand in the list of the instances of a type.
        let label = self.kind.label_of(&found.fullname).ok_or_else(|| {
            let (shown, kind) = (Quoted(&found.fullname), self.kind.short());
            let text = format!("`{shown}` is no instance of `{kind}`");
            Error::not_sent(Kind::InvalidConfig).message(text)
        })?;
        // The system is asked for the own addresses only if they decide.
        let is_needed = found.addresses.len() > 1;
        let places: Vec<_> = found.addresses.iter().map(|ip| place(ip, is_needed)).collect();
        endpoint(label, found.port, &places, &said, self.ipv6)
    }
}

/// Also if the runtime ends.
impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(heard) = self.heard.upgrade() {
            heard.note(|board| board.end(&self.kind, self.number));
        }
    }
}

fn place(address: &ScopedIp, is_needed: bool) -> Place {
    let ip = address.to_ip_addr();
    let interfaces = match address {
        ScopedIp::V4(v4) => v4.interface_ids(),
        ScopedIp::V6(v6) => std::slice::from_ref(v6.scope_id()),
        _ => &[],
    };
    let scope = address.is_ipv6().then(|| interfaces.first().map(|of| of.name.clone())).flatten();
    let own = interfaces.iter().filter(|_| is_needed || ip.is_loopback());
    Place {
        ip,
        scope: scope.filter(|scope| !scope.is_empty()),
        heard_at: own.flat_map(mdns_sd::InterfaceId::get_addrs).collect(),
    }
}

#[cfg(test)]
mod tests {
    use mdns_sd::ServiceInfo;
    use tokio::time::advance;

    use super::{
        super::{bare::WAIT, daemon::tests::loopback},
        *,
    };

    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_is_found_in_time_although_events_do_not_pause() {
        let daemon = loopback().get().unwrap();
        let kind = ServiceType::of_service("tax").unwrap();
        let number = daemon.heard.note(|board| board.begin(&kind, time::now()));
        let mut follower = Follower {
            heard: Arc::downgrade(&daemon.heard),
            orders: daemon.orders.clone(),
            kind: kind.clone(),
            number,
            ipv6: true,
            max: 9,
            has_ignored: false,
        };
        let mut bare = Bare::new(9);
        let mut turn = |event: ServiceEvent| {
            assert!(follower.turn(Some(event), &mut bare, &daemon.heard).is_continue());
            let count = |listing: &Listing| listing.instances().count();
            daemon.heard.look(|board| board.listing(&kind, number).map(count))
        };
        let other = || ServiceEvent::SearchStarted(String::new());
        let told = ServiceInfo::new(kind.full(), "tax-1", "host.local.", "10.0.0.1", 80, None);
        let told = Box::new(told.unwrap().as_resolved_service());
        assert_eq!(turn(ServiceEvent::ServiceResolved(told)), Some(0));
        advance(WAIT / 2).await;
        assert_eq!(turn(other()), Some(0));
        advance(WAIT / 2).await;
        assert_eq!(turn(other()), Some(1));
    }
}
