//! A plugin behind a socket that has a fault.
#![allow(dead_code, unreachable_pub)]

use std::{any::Any, future::Future, net::SocketAddr, pin::Pin, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use crate::{
    faults::Fault,
    socket::{Connection, Plugin},
};

/// Plays a fault over a connection, or answers all calls if there is none.
pub type Play = fn(Option<Fault>, Connection) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A plugin that has a fault over its first connection, or the address where there is none.
pub struct Faulty {
    pub address: String,
    pub fault: Fault,
    play: Play,
    plugin: Option<Plugin>,
    /// What keeps those out that would connect.
    barrier: Option<Box<dyn Any>>,
}

impl Faulty {
    /// A plugin at `address`.
    pub async fn new(address: String, fault: Fault, play: Play) -> Self {
        let mut faulty = Self { address, fault, play, plugin: None, barrier: None };
        faulty.listen().await;
        faulty
    }

    /// No plugin at `address`, until it heals.
    pub fn absent(
        address: String,
        fault: Fault,
        play: Play,
        barrier: Option<Box<dyn Any>>,
    ) -> Self {
        Self { address, fault, play, plugin: None, barrier }
    }

    /// At a free port.
    pub async fn tcp(fault: Fault, play: Play) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let address = format!("tcp://{free}");
        match fault {
            Fault::Refused => Self::absent(address, fault, play, None),
            Fault::ConnectHangs => {
                let barrier: Box<dyn Any> = Box::new(full(free).await);
                Self::absent(address, fault, play, Some(barrier))
            }
            _ => Self::new(address, fault, play).await,
        }
    }

    async fn listen(&mut self) {
        let (fault, play) = (self.fault, self.play);
        let is_played = !matches!(fault, Fault::Refused | Fault::ConnectHangs | Fault::Restarts);
        let plugin = Plugin::at(&self.address, move |connection| {
            play((is_played && connection.number == 0).then_some(fault), connection)
        });
        self.plugin = Some(plugin.await);
    }

    pub async fn heal(&mut self) {
        self.barrier = None;
        if self.fault == Fault::Restarts && self.plugin.take().is_some() {
            // The tasks of the old one end.
            sleep(Duration::from_millis(1)).await;
        }
        // Where there is a plugin, its fault was one of its first connection.
        if self.plugin.is_none() {
            self.listen().await;
        }
    }

    pub fn open(&self) -> usize {
        self.plugin.as_ref().map_or(0, Plugin::open)
    }
}

/// A listener that accepts nobody, and whose queue of those that wait is full.
async fn full(address: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    let patience = Duration::from_millis(100);
    while let Ok(stream) = timeout(patience, TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (listener, waiting)
}
