//! Makes the service for each endpoint of a balanced set.
//!
//! Guides: [other clients](../_guide/clients/index.html), [extending](../_guide/extending/index.html).
//!
//! Below a [`BalanceLayer`](crate::BalanceLayer) every layer is a connector: a [`Connect`], which makes a
//! service for one [`Member`](crate::member::Member).
//!
//! # When to use
//! | what stands below the balancer | how |
//! |---|---|
//! | a guard of this crate | as it is: it is a connector by itself |
//! | a client, of any kind | [`connect_fn`] |
//! | a service that makes services, such as a connecting client | [`connect_make`] |
//! | a layer of another crate | [`EachLayer`] |
//! | a transport of this crate | as it is |
//! | a connector that you write | [`Connect`] |
//!
//! [`NameEndpointLayer`] notes in each answer which endpoint it comes from.
//!
//! # Differences from tower's
//! A `MakeService` of tower is asynchronous and may fail. A connector does neither: it is called by the
//! background task of the set, and the service that it makes connects on first use. So a balancer knows
//! all of its endpoints at once, and an endpoint that cannot be reached is one whose calls fail, unsent.
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn, timeout::TimeoutLayer};
//! use tower_upstream::{
//!     BalanceLayer, BoxError, CircuitBreakerLayer, Endpoint, LeastRequest, connect::EachLayer,
//!     connect_fn, discover,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let service = ServiceBuilder::new()
//!     .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, LeastRequest::new()))
//!     .layer(CircuitBreakerLayer::default())
//!     .layer(EachLayer::new(TimeoutLayer::new(Duration::from_secs(1))))
//!     .service(connect_fn(|endpoint: &Endpoint| {
//!         let host = endpoint.address().host().to_owned();
//!         service_fn(move |_: ()| std::future::ready(Ok::<_, BoxError>(host.clone())))
//!     }));
//! let host = service.oneshot(()).await?;
//! assert!(host == "a" || host == "b");
//! # Ok(()) }
//! ```

mod connect;
mod connect_fn;
mod each;
mod make;
mod name_endpoint;
mod unsent;

pub(crate) use self::connect_fn::is_client;
pub use self::{
    connect::Connect,
    connect_fn::{ConnectFn, connect_fn},
    each::{Each, EachLayer},
    make::{ConnectMake, Made, connect_make},
    name_endpoint::{AtEndpoint, NameEndpoint, NameEndpointFuture, NameEndpointLayer},
    unsent::{UnsentIf, UnsentIfFuture},
};
