//! One member of a set: its service, and how it stands.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::super::{group::Connected, select::Candidacy, standing::Follow};
use crate::{
    backoff::{Backoff, Jitter},
    member::{Member, Reason, Veto},
    sync::random_fraction,
    telemetry::{EventKind, Reporter},
    time::{self, Instant},
};

/// Waits between connecting a service again that dies, from the second time on.
pub(super) const RECONNECT: Backoff = Backoff {
    first: Duration::from_millis(100),
    multiplier: 2.0,
    max: Duration::from_secs(10),
    jitter: Jitter::Equal,
};

pub(super) struct Entry<S> {
    pub(super) member: Arc<Member>,
    pub(super) follow: Follow,
    /// `None` if its connector panicked.
    connected: Option<Arc<Connected<S>>>,
    connected_at: Instant,
    /// Bars the member while its service is dead.
    dead: Veto,
    deaths: u32,
    pub(super) connect_at: Option<Instant>,
    /// Whether the last event of it is that it is ejected.
    pub(super) ejection_told: bool,
}

impl<S> Entry<S> {
    pub(super) fn new(
        follow: Follow,
        connected: Option<Arc<Connected<S>>>,
        now: Instant,
        reporter: &Reporter,
    ) -> Box<Self> {
        let member = follow.member().clone();
        let dead = member.veto(Reason::Ejected);
        let ejection_told = follow.is_ejected();
        let mut this = Self {
            member,
            follow,
            connected,
            connected_at: now,
            dead,
            deaths: 0,
            connect_at: None,
            ejection_told,
        };
        if this.connected.is_none() {
            this.bury(now, reporter);
        }
        Box::new(this)
    }

    pub(super) fn candidacy(&self, was_good: bool) -> Candidacy {
        let word = match self.connected {
            Some(_) => self.member.word(),
            // Not even in a panic: there is nothing to call.
            None => self.member.word() | Reason::Disabled.bits(),
        };
        let (tier, weight) = (self.member.tier(), self.member.weight());
        Candidacy { word, tier, weight, was_good }
    }

    pub(super) fn is_connected(&self, to: &Arc<Connected<S>>) -> bool {
        self.connected.as_ref().is_some_and(|connected| Arc::ptr_eq(connected, to))
    }

    pub(super) fn service(&self) -> Weak<Connected<S>> {
        self.connected.as_ref().map(Arc::downgrade).unwrap_or_default()
    }

    /// The service that any call may use.
    pub(super) fn open_service(&self) -> Weak<Connected<S>> {
        if self.follow.probation().is_some() { Weak::new() } else { self.service() }
    }

    pub(super) fn leave(self) -> (Arc<Member>, Follow, Option<Arc<Connected<S>>>) {
        let Self { member, follow, connected, .. } = self;
        (member, follow, connected)
    }

    /// Takes a service that was connected again, and gives the one before. `None` is that this failed.
    pub(super) fn connected_again(
        &mut self,
        connected: Option<Arc<Connected<S>>>,
        now: Instant,
        reporter: &Reporter,
    ) -> Option<Arc<Connected<S>>> {
        (self.connected_at, self.connect_at) = (now, None);
        if connected.is_none() {
            self.bury(now, reporter);
            return None;
        }
        self.dead.clear();
        std::mem::replace(&mut self.connected, connected)
    }

    /// Bars the member until it is connected again.
    pub(super) fn bury(&mut self, now: Instant, reporter: &Reporter) {
        if now.saturating_duration_since(self.connected_at) >= RECONNECT.max {
            self.deaths = 0;
        }
        let wait = match self.deaths {
            0 => Duration::ZERO,
            deaths => RECONNECT.wait(deaths, None, random_fraction()),
        };
        self.deaths = self.deaths.saturating_add(1);
        let at = time::later(now, wait);
        self.connect_at = Some(at);
        self.dead.raise_until(at);
        self.member.note(false);
        tracing::debug!(endpoint = self.member.key(), ?wait, "service is dead; connecting again");
        let key = Some(self.member.shared_key());
        reporter.emit(key, || EventKind::Reconnect { delay: wait });
    }
}
