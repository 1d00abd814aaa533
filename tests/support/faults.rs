//! What may go wrong between a call and a plugin, and what has to hold afterwards, whatever carries the
//! call. A transport adds its rows by playing the faults.
#![allow(dead_code, unreachable_pub)]

use std::{future::Future, time::Duration};

use tower::{Service, ServiceExt};
use tower_upstream::{
    Call, Error, Reply,
    error::{Code, Kind},
    telemetry::Stats,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing listens.
    Refused,
    /// Something listens, but does not accept.
    ConnectHangs,
    /// The plugin ends once it has the call.
    KilledBeforeAnswer,
    /// The plugin ends within the head of its answer.
    KilledInHead,
    /// The plugin ends within its answer.
    KilledMidAnswer,
    /// The answer never goes on.
    HalfFrame,
    /// The answer is none of the protocol.
    Garbage,
    /// The answer is one of the protocol, but what it carries is none.
    GarbageWithin,
    /// The answer is to another call.
    WrongId,
    /// The answer comes after the deadline.
    Late,
    /// The head of the answer is longer than may be read.
    OversizedHead,
    /// The answer is longer than may be read.
    Oversized,
    /// The plugin closes the connection after a right answer.
    AnswerThenClose,
    /// The plugin is another process since the last call.
    Restarts,
    /// The certificate of the plugin is for another name.
    WrongName,
    /// The certificate of the plugin was valid once.
    Expired,
    /// The certificate of the plugin is by an authority that is not trusted.
    UnknownAuthority,
    /// The plugin wants a certificate of its callers.
    NoClientCertificate,
    /// The plugin says that it goes away, before it looks at the call.
    GoesAway,
    /// The plugin turns the call away, and only this one.
    TurnsAway,
    /// The plugin gives the call up.
    GivesUp,
}

impl Fault {
    pub const ALL: [Self; 21] = [
        Self::Refused,
        Self::ConnectHangs,
        Self::KilledBeforeAnswer,
        Self::KilledInHead,
        Self::KilledMidAnswer,
        Self::HalfFrame,
        Self::Garbage,
        Self::GarbageWithin,
        Self::WrongId,
        Self::Late,
        Self::OversizedHead,
        Self::Oversized,
        Self::AnswerThenClose,
        Self::Restarts,
        Self::WrongName,
        Self::Expired,
        Self::UnknownAuthority,
        Self::NoClientCertificate,
        Self::GoesAway,
        Self::TurnsAway,
        Self::GivesUp,
    ];
}

/// The error of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    pub kind: Kind,
    pub code: Code,
    pub unsent: bool,
    /// Whether it counts against the endpoint.
    pub blamed: bool,
}

impl Failed {
    /// After it may have been sent, and by the endpoint.
    pub const fn new(kind: Kind, code: Code) -> Self {
        Self { kind, code, unsent: false, blamed: true }
    }

    pub const fn unsent(self) -> Self {
        Self { unsent: true, ..self }
    }

    pub const fn blameless(self) -> Self {
        Self { blamed: false, ..self }
    }
}

/// What a call comes to: twice its number, or an error.
pub type Expected = Result<(), Failed>;

/// A plugin that has one fault, at the first call, and then none, at the same address.
pub trait Peer: Sized {
    type Service: Service<Call<u64>, Response = Reply<u64>, Error = Error> + Clone;
    type Handle: Watch;

    fn start(fault: Fault) -> impl Future<Output = Self>;

    /// A new service for it, with the shortest limits that the transport has, and room for one
    /// connection: a place that is lost stops all calls.
    fn connect(&self) -> (Self::Service, Self::Handle);

    /// Ends the fault; where nothing was there, a plugin is now.
    fn heal(&mut self) -> impl Future<Output = ()>;

    /// How many connections of the service are open, as the plugin sees them.
    fn open(&self) -> usize;
}

/// What a transport says of itself.
pub trait Watch {
    fn stats(&self) -> Stats;

    /// How many connections are open, or being made.
    fn connections(&self) -> usize;
}

/// Plays all faults that the transport may meet, which are those with an expectation. Run it on a paused clock.
pub async fn check<P: Peer>(expected: impl Fn(Fault) -> Option<Expected>) {
    for fault in Fault::ALL {
        if let Some(expected) = expected(fault) {
            play::<P>(fault, expected).await;
        }
    }
}

async fn play<P: Peer>(fault: Fault, expected: Expected) {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let mut peer = P::start(fault).await;
    let (service, handle) = peer.connect();
    let call = |number: u64| service.clone().oneshot(Call::new(number));
    if fault == Fault::Restarts {
        assert_eq!(call(7).await.map(Reply::into_body).ok(), Some(14), "{fault:?}: before");
        peer.heal().await;
    }
    let deadline = Duration::from_secs(10);
    let faulty = service.clone().oneshot(Call::new(1).with_timeout(deadline));
    let result = tokio::time::timeout(deadline * 2, faulty).await;
    let result = result.unwrap_or_else(|_| panic!("{fault:?}: the call hangs"));
    let stats = (handle.stats().failed, handle.stats().ignored);
    match (result, expected) {
        (Ok(reply), Ok(())) => {
            assert_eq!((reply.into_body(), stats), (2, (Some(0), Some(0))), "{fault:?}");
        }
        (Err(error), Err(expected)) => {
            let found = Failed {
                kind: error.kind(),
                code: error.code(),
                unsent: error.is_unsent(),
                blamed: stats == (Some(1), Some(0)),
            };
            assert_eq!(found, expected, "{fault:?}: {error}");
            assert!(found.blamed || stats == (Some(0), Some(1)), "{fault:?}: {stats:?}");
            assert!(error.endpoint().is_some() && !error.is_refused(), "{fault:?}: {error}");
        }
        (result, expected) => panic!("{fault:?}: {result:?} instead of {expected:?}"),
    }
    peer.heal().await;
    // Each gets its own answer, whatever comes too late.
    for number in 2..5 {
        let reply = tokio::time::timeout(deadline, call(number)).await;
        let reply = reply.unwrap_or_else(|_| panic!("{fault:?}: afterwards, a call hangs"));
        let reply = reply.map(Reply::into_body).map_err(|error| error.to_string());
        assert_eq!(reply, Ok(number * 2), "{fault:?}: afterwards");
        tokio::time::sleep(Duration::from_secs(20)).await;
        let (open, said) = (peer.open(), handle.connections());
        assert!(open <= 1, "{fault:?}: {open} connections for one call at once");
        assert!(said == open, "{fault:?}: {said} instead of {open}");
    }
    drop(service);
    for _ in 0..1_000 {
        if peer.open() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let left = (peer.open(), handle.connections());
    assert_eq!(left, (0, 0), "{fault:?}: connections were left");
    drop((peer, handle));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(alive(), before, "{fault:?}: tasks were left");
}
