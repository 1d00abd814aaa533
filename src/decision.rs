//! Why a call went to the endpoint that it went to.

use std::{fmt, sync::Arc};

/// Why a balancer sent a call to the endpoint that it sent it to.
///
/// Recorded while the call is made, of as many calls as
/// [`BalanceConfig::explain`](crate::balance::BalanceConfig::explain) says. An answer carries it below a
/// [`BalanceLayer::explained`](crate::BalanceLayer::explained), as [`Reply::decision`](crate::Reply::decision) or
/// as an extension of an `http::Response`, which is an `Arc<Decision>`. An error carries it as
/// [`Error::decision`](crate::Error::decision).
///
/// `Display` writes it in one line, for logs. With the feature `serde` it is `Serialize`, with the names of its
/// methods.
///
/// # Bounds
/// At most 64 [candidates](Self::candidates) are listed: the chosen one, those that the strategy compared, and
/// then the others in the order of their keys.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     BalanceLayer, BoxError, Call, Endpoint, LeastRequest, Reply, balance::Regime, connect_fn, discover,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let endpoints = discover::fixed(["a:1", "b:1"])?;
/// let stack = ServiceBuilder::new()
///     .layer(BalanceLayer::new(endpoints, LeastRequest::new()).explained(1.0))
///     .service(connect_fn(|_: &Endpoint| {
///         service_fn(async |call: Call<u32>| Ok::<_, BoxError>(Reply::new(call.into_body())))
///     }));
/// let reply = stack.oneshot(Call::new(7)).await?;
/// let decision = reply.decision().expect("each call is explained");
/// assert_eq!((decision.strategy(), decision.regime()), ("LeastRequest", Regime::Normal));
/// assert_eq!((decision.candidates()[0].key(), decision.candidates().len()), (decision.endpoint().unwrap(), 2));
/// println!("{decision}"); // a:1 by LeastRequest (normal), cost 0; not b:1: costlier, cost 0
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Decision {
    pub(crate) endpoint: Option<Arc<str>>,
    pub(crate) strategy: &'static str,
    pub(crate) regime: Regime,
    pub(crate) candidates: Vec<Considered>,
    pub(crate) members: usize,
}

impl Decision {
    /// As many candidates are listed.
    pub(crate) const MOST: usize = 64;

    /// Returns the key of the endpoint that the call went to; `None` if it went to none.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Returns the name of the strategy: see [`Strategy::name`](crate::balance::Strategy::name).
    pub fn strategy(&self) -> &'static str {
        self.strategy
    }

    /// Returns under what circumstances the endpoint was chosen.
    pub fn regime(&self) -> Regime {
        self.regime
    }

    /// Returns the endpoints that could be chosen from, the chosen one first.
    pub fn candidates(&self) -> &[Considered] {
        &self.candidates
    }

    /// Returns the number of endpoints in the set, which may be more than are listed.
    pub fn members(&self) -> usize {
        self.members
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint().unwrap_or("none");
        write!(f, "{endpoint} by {} ({})", self.strategy, self.regime)?;
        let cost = |f: &mut fmt::Formatter<'_>, of: &Considered| match (of.cost, of.bound) {
            (Some(cost), Some(bound)) => write!(f, ", cost {cost} of {bound}"),
            (Some(cost), None) => write!(f, ", cost {cost}"),
            (None, _) => Ok(()),
        };
        let (chosen, others): (Vec<_>, Vec<_>) =
            self.candidates.iter().partition(|of| of.passed_over.is_none());
        for of in chosen {
            cost(f, of)?;
        }
        for of in others {
            write!(f, "; not {}", of.key)?;
            if let Some(why) = of.passed_over {
                write!(f, ": {why}")?;
            }
            cost(f, of)?;
        }
        match self.members.saturating_sub(self.candidates.len()) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// An endpoint that a call could have gone to. Listed by a [`Decision`], which has an example.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Considered {
    pub(crate) key: Arc<str>,
    pub(crate) cost: Option<f64>,
    pub(crate) bound: Option<f64>,
    pub(crate) passed_over: Option<PassedOver>,
}

impl Considered {
    /// Returns the key of the endpoint.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns what the strategy compared: the lower one wins, unless the endpoint was [drawn](Regime::Random) or its
    /// cost has a [bound](Self::bound). `None` if the strategy did not look at this endpoint, or compares nothing.
    ///
    /// | strategy | cost |
    /// |---|---|
    /// | [`LeastRequest`](crate::LeastRequest) | calls in flight, for each unit of weight where weights differ |
    /// | [`PeakEwma`](crate::PeakEwma) | nanoseconds of latency, for all calls that are in flight there and one more; twice that of one that its weight did not draw |
    /// | `LeastLatency` | nanoseconds of latency |
    /// | `HealthBased` | nanoseconds of latency for each call that succeeds; a lower one has the better chance |
    /// | `Geographic` | calls in flight |
    /// | `ConsistentHash` | calls in flight, or seconds of work per second |
    pub fn cost(&self) -> Option<f64> {
        self.cost
    }

    /// Returns the highest [`cost`](Self::cost) at which it gets the call, where the strategy bounds that. If all have
    /// more, one of them gets the call all the same.
    pub fn bound(&self) -> Option<f64> {
        self.bound
    }

    /// Returns why the call did not go there; `None` of the chosen one.
    pub fn passed_over(&self) -> Option<PassedOver> {
        self.passed_over
    }
}

impl Considered {
    /// One that no strategy looked at.
    pub(crate) fn unseen(key: &Arc<str>, passed_over: Option<PassedOver>) -> Self {
        Self { key: key.clone(), cost: None, bound: None, passed_over }
    }
}

impl PartialEq for Considered {
    fn eq(&self, other: &Self) -> bool {
        let bits = |cost: Option<f64>| cost.map(f64::to_bits);
        (&self.key, bits(self.cost), bits(self.bound), self.passed_over)
            == (&other.key, bits(other.cost), bits(other.bound), other.passed_over)
    }
}

impl Eq for Considered {}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$of])* $variant,)+
        }

        impl $name {
            /// Returns the name, as a metric or a log would write it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

named! {
    /// Under what circumstances an endpoint was chosen. The first that applies, from the last one up.
    ///
    /// ```
    /// use tower_upstream::balance::Regime;
    /// assert_eq!(Regime::Spill.as_str(), "spill");
    /// ```
    Regime {
        /// The strategy chose it of the endpoints that are to have the load.
        Normal = "normal",
        /// It was drawn: the strategy draws, as `Random` and `HealthBased` do, and `ConsistentHash` for a request
        /// without a key; or it was the next one to wait for, or of no priority that has the load.
        Random = "random",
        /// The first priority or the nearest endpoints cannot carry all of the load, or the endpoint of a key has too
        /// much.
        Spill = "spill",
        /// Health is ignored, because too few endpoints are healthy.
        Panic = "panic",
        /// The session of the call belongs to it.
        Session = "session",
        /// It is a further attempt: the call has failed before, as a rule elsewhere.
        Failover = "failover",
        /// It is on probation, and this call is its test.
        Probation = "probation",
        /// Another endpoint has the call as well, and takes long.
        Hedge = "hedge",
    }
}

named! {
    /// Why a call did not go to an endpoint.
    ///
    /// ```
    /// use tower_upstream::balance::PassedOver;
    /// assert_eq!(PassedOver::CircuitOpen.to_string(), "circuit open");
    /// ```
    PassedOver {
        /// The strategy compared it, and another one was better.
        Costlier = "costlier",
        /// It has more than its [bound](Considered::bound).
        OverBound = "over its bound",
        /// The key of the call will belong to it, once endpoints that have joined have all of their keys.
        FadingIn = "fading in",
        /// The strategy did not look at it, or another one was drawn; or its priority or zone did not get this call, or
        /// it has no weight.
        NotDrawn = "not drawn",
        /// It was chosen, but another one was ready first, or none in time.
        NotReady = "not ready",
        /// The call has tried it before.
        Tried = "tried",
        /// It is unhealthy.
        Unhealthy = "unhealthy",
        /// Its circuit is open.
        CircuitOpen = "circuit open",
        /// A guard of it has no free place.
        Busy = "busy",
        /// It is ejected.
        Ejected = "ejected",
        /// It is draining.
        Draining = "draining",
        /// It was switched off.
        Disabled = "disabled",
    }
}

/// An answer that can carry a [`Decision`].
///
/// Implemented for [`Reply`](crate::Reply), and with the feature `http` for `http::Response`.
///
/// ```
/// use std::sync::Arc;
/// use tower_upstream::balance::{Decision, Explain};
///
/// struct Answer { why: Option<Arc<Decision>> }
/// impl Explain for Answer {
///     fn explain(&mut self, decision: Arc<Decision>) {
///         self.why = Some(decision);
///     }
/// }
/// # let _ = Answer { why: None }.why;
/// ```
pub trait Explain {
    /// Adds why the answer comes from the endpoint that it comes from.
    fn explain(&mut self, decision: Arc<Decision>);
}
