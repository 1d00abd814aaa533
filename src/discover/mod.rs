//! Finds the endpoints of an upstream, and announces those of this program.
//!
//! Guides: [extending](../_guide/extending/index.html), [coming from elsewhere](../_guide/from/index.html).
//!
//! A [`Discover`] yields complete, ordered sets: never a delta, never an error. A source that is
//! in trouble yields nothing, and its last set stays in use. It reports membership, not health:
//! failures never remove an endpoint, only discovery does.
//!
//! # When to use
//! | source | for |
//! |---|---|
//! | [`fixed`] | a list that never changes |
//! | [`Memory`] | a list that this program changes while running |
//! | [`MemoryRegistry`] | many services in this process, and tests |
//! | `file` | a JSON file that may change, with the feature `json` |
//! | `dns` | a name in DNS: addresses or SRV records, with the feature `dns` |
//! | `farp` | services that tell over HTTP what they are, with the feature `http` |
//! | `Etcd` | services in etcd, with the feature `etcd` |
//! | `consul` | a service in Consul, with the feature `consul` |
//! | `Kubernetes` | services in Kubernetes, by their EndpointSlices, with the feature `kubernetes` |
//! | `Mdns` | services in the local network, by multicast DNS, with the feature `mdns` |
//! | `Eureka` | services in Eureka, with the feature `eureka` |
//! | `FromChanges` | a `tower::discover::Discover`, with the feature `tower` |
//! | [`Watched`] | a backend of yours that has to be asked over the network: a [`Source`] |
//! | [`Discover`] | a source that you write |
//! | [`Filtered`] | some endpoints of another source: those with a tag, or of one service |
//!
//! A server announces itself with a [`Registry`] over a backend that can be written to, a [`Registrar`] such
//! as [`MemoryRegistry`]: the [`Registration`] keeps it announced. A [`Provider`] is both in one, of one service, for
//! programs that manage endpoints at run time.
//!
//! # Without a balancer
//! The stream of [`Discover::discover`] has each set, and keeps a source running that watches something; a
//! [`WatchHandle`] does not, and shows an old set once there is no stream and no balancer any more.
//!
//! ```
//! use futures::StreamExt;
//! use tower_upstream::discover::{Discover, Memory};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::Error> {
//! let endpoints = Memory::new(["http://10.0.0.1:8080"])?;
//! let mut sets = endpoints.discover();
//! endpoints.insert("http://10.0.0.2:8080")?;
//! while let Some(set) = sets.next().await {
//!     println!("{} endpoints", set.len());
//!     # break;
//! }
//! # Ok(()) }
//! ```
//!
//! # Differences from tower's
//! A `tower::discover::Discover` is a stream of changes, and of services that are made already. A
//! [`Discover`] is a factory of streams of sets, and of endpoints: several balancers may share it, a
//! change cannot get lost, an error cannot end a balancer, and a [connector](crate::connect::Connect)
//! makes the services. [`diff`] compares two sets. With the feature `tower`, `ToChanges` turns any source
//! into the change stream of tower, for tower's own balancers.
//!
//! # Example
//! ```
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_upstream::{
//!     BalanceLayer, BoxError, Endpoint, LeastRequest, connect_fn, discover::Memory,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let endpoints = Memory::new(["http://10.0.0.1:8080"])?;
//! let service = ServiceBuilder::new()
//!     .layer(BalanceLayer::new(endpoints.clone(), LeastRequest::new()))
//!     .service(connect_fn(|endpoint: &Endpoint| {
//!         let host = endpoint.address().host().to_owned();
//!         service_fn(move |_: ()| std::future::ready(Ok::<_, BoxError>(host.clone())))
//!     }));
//! assert_eq!(service.clone().oneshot(()).await?, "10.0.0.1");
//!
//! endpoints.insert("http://10.0.0.2:8080")?;
//! endpoints.remove("http://10.0.0.1:8080");
//! # tokio::task::yield_now().await;
//! assert_eq!(service.oneshot(()).await?, "10.0.0.2");
//! # Ok(()) }
//! ```

#[cfg(any(feature = "consul", feature = "eureka", feature = "kubernetes"))]
mod answers;
mod catalog;
#[cfg(feature = "consul")]
mod consul;
mod diff;
mod discover;
#[cfg(feature = "dns")]
mod dns;
#[cfg(any(feature = "consul", feature = "eureka", feature = "kubernetes"))]
mod encode;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "eureka")]
mod eureka;
#[cfg(feature = "json")]
mod file;
mod filtered;
mod fixed;
#[cfg(any(feature = "consul", feature = "eureka", feature = "kubernetes", feature = "mdns"))]
mod host;
#[cfg(feature = "http")]
mod http;
#[cfg(any(
    feature = "consul",
    feature = "dns",
    feature = "eureka",
    feature = "kubernetes",
    feature = "mdns"
))]
mod ip;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(feature = "mdns")]
mod mdns;
mod memory;
mod memory_registry;
mod providers;
mod register;
mod retries;
mod set;
#[cfg(any(feature = "consul", feature = "etcd", feature = "eureka", feature = "kubernetes"))]
mod tls_files;
#[cfg(feature = "tower")]
mod tower;
mod watch;

pub use self::{
    catalog::Catalog,
    diff::{Difference, diff},
    discover::Discover,
    filtered::{Filtered, FilteredStream},
    fixed::{Fixed, FixedStream, fixed},
    memory::{Memory, MemoryStream},
    memory_registry::{MemoryRegistry, MemoryService},
    providers::{
        ConnectionInfo, Provider, ProviderEvent, ProviderEventKind, ProviderFeature, ProviderStats,
        ProviderStream, Providers,
    },
    register::{Instance, Kept, Registrar, Registration, Registry},
    set::EndpointSet,
    watch::{Observation, Source, WatchConfig, WatchHandle, WatchStream, Watched, Watches},
};

#[cfg(feature = "consul")]
pub use self::consul::{
    Consul, ConsulCheck, ConsulCheckKind, ConsulConfig, ConsulConsistency, ConsulQuery,
    ConsulRegistrar, ConsulService, consul,
};
#[cfg(feature = "dns")]
pub use self::dns::{Dns, DnsConfig, DnsService, IpFamily, dns};
#[cfg(feature = "etcd")]
pub use self::etcd::{Etcd, EtcdConfig, EtcdRegistrar, EtcdService};
#[cfg(feature = "eureka")]
pub use self::eureka::{
    Eureka, EurekaConfig, EurekaFetch, EurekaRegistrar, EurekaService, EurekaStatus,
};
#[cfg(feature = "json")]
pub use self::file::{File, file};
#[cfg(feature = "http")]
pub use self::http::{Farp, FarpConfig, farp};
#[cfg(feature = "kubernetes")]
pub use self::kubernetes::{
    Kubernetes, KubernetesConfig, KubernetesFamily, KubernetesQuery, KubernetesService,
};
#[cfg(feature = "mdns")]
pub use self::mdns::{Mdns, MdnsConfig, MdnsRegistrar, MdnsService};

pub(crate) use self::diff::{Change, changes};

#[cfg(feature = "tower")]
pub use self::tower::{FromChanges, FromChangesStream, Measured, MeasuredFuture, ToChanges};
