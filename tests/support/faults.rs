//! What may go wrong between a call and a plugin, and what has to hold afterwards, whatever carries the
//! call. A transport adds its rows by playing the faults.
#![allow(dead_code, unreachable_pub)]

use std::{future::Future, time::Duration};

use tower::{Service, ServiceExt};
use tower_upstream::{
    Call, Error, Reply,
    error::{Code, Kind},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing listens.
    Refused,
    /// Something listens, but does not accept.
    ConnectHangs,
    /// The plugin ends once it has the call.
    KilledBeforeAnswer,
    /// The plugin ends within its answer.
    KilledMidAnswer,
    /// The answer never goes on.
    HalfFrame,
    /// The answer is none of the protocol.
    Garbage,
    /// The answer is to another call.
    WrongId,
    /// The answer comes after the deadline.
    Late,
    /// The answer is longer than may be read.
    Oversized,
    /// The plugin closes the connection after a right answer.
    AnswerThenClose,
    /// The plugin is another process since the last call.
    Restarts,
}

impl Fault {
    pub const ALL: [Self; 11] = [
        Self::Refused,
        Self::ConnectHangs,
        Self::KilledBeforeAnswer,
        Self::KilledMidAnswer,
        Self::HalfFrame,
        Self::Garbage,
        Self::WrongId,
        Self::Late,
        Self::Oversized,
        Self::AnswerThenClose,
        Self::Restarts,
    ];
}

/// What a call comes to: twice its number, or an error and whether it was unsent.
pub type Expected = Result<(), (Kind, Code, bool)>;

/// A plugin that has one fault, at the first call, and then none, at the same address.
pub trait Peer: Sized {
    type Service: Service<Call<u64>, Response = Reply<u64>, Error = Error> + Clone;

    fn start(fault: Fault) -> impl Future<Output = Self>;

    /// A new service for it, with the shortest limits that the transport has.
    fn service(&self) -> Self::Service;

    /// Ends the fault; where nothing was there, a plugin is now.
    fn heal(&mut self) -> impl Future<Output = ()>;

    /// How many connections of the service are open, as the plugin sees them.
    fn open(&self) -> usize;
}

/// Plays `fault`. Run it on a paused clock.
pub async fn check<P: Peer>(fault: Fault, expected: Expected) {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let mut peer = P::start(fault).await;
    let service = peer.service();
    let call = |number: u64| service.clone().oneshot(Call::new(number));
    if fault == Fault::Restarts {
        assert_eq!(call(7).await.map(Reply::into_body).ok(), Some(14), "{fault:?}: before");
        peer.heal().await;
    }
    let deadline = Duration::from_secs(10);
    let faulty = service.clone().oneshot(Call::new(1).with_timeout(deadline));
    let result = tokio::time::timeout(deadline * 2, faulty).await;
    let result = result.unwrap_or_else(|_| panic!("{fault:?}: the call hangs"));
    match (result, expected) {
        (Ok(reply), Ok(())) => assert_eq!(reply.into_body(), 2, "{fault:?}"),
        (Err(error), Err((kind, code, unsent))) => {
            let found = (error.kind(), error.code(), error.is_unsent());
            assert_eq!(found, (kind, code, unsent), "{fault:?}: {error}");
            assert!(error.endpoint().is_some() && !error.is_refused(), "{fault:?}: {error}");
        }
        (result, expected) => panic!("{fault:?}: {result:?} instead of {expected:?}"),
    }
    peer.heal().await;
    // Each gets its own answer, whatever comes too late.
    for number in 2..5 {
        let reply = call(number).await.map(Reply::into_body);
        assert_eq!(reply.ok(), Some(number * 2), "{fault:?}: afterwards");
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    assert!(peer.open() <= 1, "{fault:?}: {} connections for one call at once", peer.open());
    drop(service);
    for _ in 0..1_000 {
        if peer.open() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(peer.open(), 0, "{fault:?}: connections were left");
    drop(peer);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(alive(), before, "{fault:?}: tasks were left");
}
