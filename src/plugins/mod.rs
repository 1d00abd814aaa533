//! Upstreams by their names: made of a config, called, replaced while running.
//!
//! # When to use
//! If a program has upstreams that it knows by name, and their addresses and limits are written down rather
//! than part of its code. For one upstream, compose the layers; [`Layers`] are those that a plugin has.
//!
//! # What stands before a plugin
//! ```text
//!   a call
//!     │
//!   rate_limit ─────────── one quota for the plugin                    `rate_limit`
//!   concurrency ────────── how many calls at once                      `concurrency`
//!   terms ──────────────── a deadline for calls without one            `timeout`, `retry.idempotent`
//!   fallback ───────────── what answers after a failure                `fallback`
//!   breaker ────────────── one circuit for the plugin                  `circuit_breaker`, `scope: upstream`
//!   failover ───────────── how often a call is tried                   `retry`, `failover`, `budget`
//!   balance ────────────── which endpoint                              `balance`
//!   health ─────────────── one gate for each endpoint                  `health_check`
//!   endpoint_breaker ───── one circuit for each endpoint               `circuit_breaker`, `scope: endpoint`
//!   endpoint_concurrency ─ how many calls at once for each endpoint    `concurrency.per_endpoint`
//!   auth ───────────────── what a call shows to be let in              `auth`
//!     │
//!   transport ──────────── how an endpoint is reached                  `transport`, `connection`, `options`
//! ```
//! All of them are there for every plugin. One whose section is not enabled lets calls pass.
//!
//! # Replacing plugins
//! [`Plugins::apply`] makes all plugins of a config before the first is replaced, and keeps those whose config
//! has not changed. A handle goes to what stands in the place of its plugin with its next `poll_ready`; calls that
//! are in flight end where they began. What was replaced ends with its last call: its checks and its connections.
//!
//! A plugin that has to find its endpoints, or whose checks begin with `initial: unhealthy`, takes its place once a call
//! can go somewhere. Until then, for 15 s at most, what stood there goes on to answer, if it has endpoints. Fixed endpoints
//! take their place at once.
//!
//! A handler of axum calls a plugin by its name, and SIGHUP reads the file again. What is wrong with it is told, and
//! the plugins stay as they were:
//! ```no_run
//! use axum::{Json, Router, body::Body, extract::{Path, State}, response::Response, routing::post};
//! use serde_json::Value;
//! use tokio::signal::unix::{SignalKind, signal};
//! use tower_upstream::{BoxError, Call, plugins::Plugins};
//!
//! async fn call(
//!     State(plugins): State<Plugins<Value, Value>>,
//!     Path(name): Path<String>,
//!     Json(body): Json<Value>,
//! ) -> Result<Json<Value>, Response> {
//!     match plugins.call(&name, Call::new(body)).await {
//!         Ok(reply) => Ok(Json(reply.into_body())),
//!         // 429 or 503 with `Retry-After`, 404 for a name that no plugin has.
//!         Err(error) => Err(error.into_response::<Body>()),
//!     }
//! }
//!
//! # async fn example() -> Result<(), BoxError> {
//! let plugins = Plugins::from_file("plugins.yaml")?;
//! let app: Router = Router::new().route("/call/{name}", post(call)).with_state(plugins.clone());
//! let mut hangups = signal(SignalKind::hangup())?;
//! tokio::spawn(async move {
//!     while hangups.recv().await.is_some() {
//!         if let Err(error) = plugins.apply_file("plugins.yaml") {
//!             eprintln!("{error}");
//!         }
//!     }
//! });
//! # let _ = app;
//! # Ok(()) }
//! ```
//!
//! # Plugins of different types
//! `Value` of serde_json is any body. For types of yours, begin with
//! `Plugins::<Encoded, Encoded>`; [`typed`](Plugins::typed) is then one plugin as a service of its own types.
//!
//! # Cost
//! A held [`Upstream`] reads one word to see that its plugin is the current one, and counts the call in a
//! counter that the threads do not share. [`Plugins::call`] looks the name up, counts the call, and makes it by a copy of
//! the stack that an earlier call of a thread of its group has left, so it copies none. So does [`Plugins::by`], whose
//! service finds the name in the call.
//!
//! # Cancel safety
//! Dropping a response drops the call, and gives back what it reserved.
//!
//! # Bounds
//! Nothing is queued here. Names of plugins that were taken out are kept while there are handles to them, or calls in flight. At most 16
//! fallbacks hand a call on, each once; then it ends with its error.
//!
//! # Example
//! ```
//! use tower::service_fn;
//! use tower_upstream::{BoxError, Call, Reply, plugins::Plugins};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let plugins = Plugins::<u64, u64>::new();
//! plugins.register("double", service_fn(async |call: Call<u64>| {
//!     Ok::<_, BoxError>(Reply::new(2 * call.into_body()))
//! }))?;
//! assert_eq!(plugins.call("double", Call::new(21)).await?.into_body(), 42);
//! let error = plugins.call("duoble", Call::new(21)).await.unwrap_err();
//! assert!(error.to_string().contains("did you mean `double`?"));
//! # Ok(()) }
//! ```

mod answer;
mod answer_key;
mod body;
mod built_in;
mod by_call;
mod by_name;
mod call_key;
mod calls;
mod changes;
mod checks;
mod connector;
mod endpoints;
mod factory;
mod generation;
mod group;
mod idle;
mod layers;
mod leaving;
mod look;
mod names;
mod passage;
mod places;
mod plugins;
mod program;
mod settings;
mod slot;
mod sources;
mod strategy;
mod terms;
mod typed;
mod upstream;
mod warming;

pub use self::{
    answer::{Answer, AnswerFuture, KeptOf},
    body::{Request, Response},
    by_call::ByCall,
    by_name::CallFuture,
    call_key::CallKey,
    connector::{AnyConnector, AnyConnectorService, AnyService, TransportService},
    endpoints::{AnyDiscover, AnyDiscoverStream},
    factory::Factory,
    generation::PluginStack,
    group::{Group, GroupFuture},
    layers::{Layers, Stack},
    passage::{InFlight, UpstreamFuture},
    plugins::Plugins,
    strategy::{AnySessions, AnyStrategy, AnyTable},
    terms::{Terms, TermsLayer},
    typed::Typed,
    upstream::Upstream,
};
