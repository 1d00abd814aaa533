//! The thread that speaks to the network, for all watches and registries of an [`Mdns`](super::Mdns).

use std::{
    fmt,
    sync::{Arc, Mutex, Weak},
};

use mdns_sd::{DaemonEvent, IfKind, IfPredicate, Receiver, ServiceDaemon};
use tokio::sync::watch;

use super::{
    board::Board,
    config::MdnsConfig,
    orders::{Order, Orders},
};
use crate::{
    error::{Error, Kind},
    sync::lock,
};

/// What all users of a daemon share, and the tasks that listen to it.
#[derive(Debug, Default)]
pub(super) struct Heard {
    board: Mutex<Board>,
    news: watch::Sender<()>,
}

impl Heard {
    pub(super) fn note<T>(&self, change: impl FnOnce(&mut Board) -> T) -> T {
        let result = change(&mut lock(&self.board));
        self.news.send_replace(());
        result
    }

    pub(super) fn look<T>(&self, at: impl FnOnce(&Board) -> T) -> T {
        at(&lock(&self.board))
    }
}

/// It ends with the last user.
pub(super) struct Daemon {
    pub(super) orders: Arc<Orders>,
    pub(super) config: Arc<MdnsConfig>,
    pub(super) heard: Arc<Heard>,
}

pub(super) fn failed(what: &str, error: mdns_sd::Error) -> Error {
    let text = format!("mDNS: {what}");
    Error::not_sent(Kind::Connection).message(text).caused_by(error)
}

impl Daemon {
    /// Begins to listen, inside a runtime.
    fn start(config: &Arc<MdnsConfig>) -> Result<Self, Error> {
        let failed = |error| failed("the thread for multicast cannot be started", error);
        let mdns = ServiceDaemon::new_with_port(config.port).map_err(failed)?;
        let orders = Arc::new(Orders::new(mdns));
        let daemon = Self { orders, config: config.clone(), heard: Arc::default() };
        // Before the interfaces, so that each that is used is told.
        let events = daemon.orders.ask(ServiceDaemon::monitor).map_err(failed)?;
        let config = config.clone();
        let uses = IfPredicate::new(move |interface| config.uses(&interface.name, interface.ip()));
        // It begins with all of them.
        let all = daemon.orders.ask(|mdns| mdns.disable_interface(IfKind::All));
        let used = all.and_then(|()| {
            daemon.orders.ask(|mdns| mdns.enable_interface(IfKind::Predicate(uses)))
        });
        used.map_err(failed)?;
        tokio::spawn(listen(events, Over(Arc::downgrade(&daemon.heard))));
        Ok(daemon)
    }

    /// Sees what comes from now on.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.heard.news.subscribe()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.orders.give(Order::Shutdown);
    }
}

/// Notes that nothing is heard any more, also if the runtime ends.
struct Over(Weak<Heard>);

impl Drop for Over {
    fn drop(&mut self) {
        if let Some(heard) = self.0.upgrade() {
            heard.note(|board| board.is_over = true);
        }
    }
}

/// Follows the own interfaces.
async fn listen(events: Receiver<DaemonEvent>, heard: Over) {
    while let Ok(event) = events.recv_async().await {
        let Some(heard) = heard.0.upgrade() else { return };
        match event {
            DaemonEvent::IpAdd(ip) => heard.note(|board| {
                board.own.insert(ip);
            }),
            DaemonEvent::IpDel(ip) => heard.note(|board| {
                board.lost += u64::from(board.own.remove(&ip));
            }),
            DaemonEvent::Error(error) => tracing::warn!(%error, "multicast DNS"),
            _ => {}
        }
    }
}

/// The daemon of an [`Mdns`](super::Mdns), while it has users.
#[derive(Debug)]
pub(super) struct Daemons {
    pub(super) config: Arc<MdnsConfig>,
    current: Mutex<Weak<Daemon>>,
}

impl Daemons {
    pub(super) fn new(config: MdnsConfig) -> Self {
        Self { config: Arc::new(config), current: Mutex::default() }
    }

    /// The one that runs.
    pub(super) fn running(&self) -> Option<Arc<Daemon>> {
        let running = lock(&self.current).upgrade();
        running.filter(|daemon| !daemon.heard.look(|board| board.is_over))
    }

    /// The one that runs, or a new one.
    pub(super) fn get(&self) -> Result<Arc<Daemon>, Error> {
        let mut current = lock(&self.current);
        let running = current.upgrade();
        if let Some(daemon) = running.filter(|of| !of.heard.look(|board| board.is_over)) {
            return Ok(daemon);
        }
        let daemon = Arc::new(Daemon::start(&self.config)?);
        *current = Arc::downgrade(&daemon);
        Ok(daemon)
    }
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("heard", &self.heard).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{net::UdpSocket, time::Duration};

    use super::*;

    /// On loopback alone, with a port of its own.
    pub(in super::super) fn loopback() -> Arc<Daemons> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let config = MdnsConfig::default().with_interface("127.0.0.1").with_port(port);
        Arc::new(Daemons::new(config))
    }

    #[tokio::test]
    async fn an_own_address_that_is_lost_counts_and_one_that_was_not_used_does_not() {
        let daemon = loopback().get().unwrap();
        let mut news = daemon.news();
        let mut until = async |expected: (usize, u64)| {
            let seen = || daemon.heard.look(|board| (board.own.len(), board.lost));
            let so = async {
                while seen() != expected {
                    news.changed().await.unwrap();
                }
            };
            let in_time = tokio::time::timeout(Duration::from_secs(20), so).await;
            assert!(in_time.is_ok(), "{:?}", seen());
        };
        // It begins with all interfaces of the host, and leaves all but one.
        until((1, 0)).await;
        daemon.orders.ask(|mdns| mdns.disable_interface(IfKind::LoopbackV4)).unwrap();
        until((0, 1)).await;
        daemon.orders.ask(|mdns| mdns.enable_interface(IfKind::LoopbackV4)).unwrap();
        until((1, 1)).await;
    }
}
