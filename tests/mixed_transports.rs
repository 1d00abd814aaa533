//! One set of endpoints that are reached in different ways.
#![cfg(all(feature = "grpc", feature = "process", target_os = "linux"))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod process;
mod socket;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use rustix::process::Signal;
use socket::{PATIENCE, new_unix, until};
use tokio::{
    task::{JoinSet, yield_now},
    time::timeout,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint,
    Error, FailoverLayer, HealthGateLayer, LeastRequest, Reply,
    balance::{BalanceConfig, OutlierConfig},
    connect::Connect,
    connect_fn, discover,
    error::{Code, Kind},
    health::{HealthConfig, PluginCheck},
    member::Member,
    plugin::{HealthStatus, PluginHealth, PluginStatus},
    serve,
    transport::{
        ByScheme, GrpcTransport, HttpTransport, On, Or, ProcessTransport, SocketTransport,
    },
};

/// Not a test: what a child does.
#[test]
fn child() {
    if std::env::var("TU_PART").is_err() {
        return;
    }
    // The harness may have begun a line.
    println!();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(serve::stdio(service_fn(double)).run());
    std::process::exit(i32::from(ended.is_err()));
}

type Network =
    Or<Or<On<HttpTransport<u64, u64>>, On<SocketTransport<u64, u64>>>, On<GrpcTransport<u64, u64>>>;
type Mixed = ByScheme<Or<Network, On<ProcessTransport<u64, u64>>>>;

fn mixed() -> Mixed {
    ByScheme::new(["http", "https"], HttpTransport::new())
        .or(["unix", "tcp"], SocketTransport::new())
        .or(["grpc"], GrpcTransport::new())
        .or(["exec"], ProcessTransport::with_config(process::part("serve", "")))
}

fn member(address: &str) -> Arc<Member> {
    Member::new(address.parse::<Endpoint>().unwrap())
}

async fn double(call: Call<u64>) -> Result<Reply<u64>, BoxError> {
    // Some calls are on their way when the plugin is killed.
    yield_now().await;
    let reply = Reply::new(call.body() * 2);
    Ok(reply.with_metadata("pid", std::process::id().to_string()))
}

/// A plugin. It ends when it is dropped, with its connections; one that is a child is killed otherwise.
struct Plugin {
    address: String,
    _tasks: JoinSet<()>,
}

impl Plugin {
    async fn start(address: &str, health: HealthStatus) -> Self {
        let mut tasks = JoinSet::new();
        let health = move || std::future::ready(health.clone());
        let address = match address.split_once(':').unwrap() {
            ("exec", _) => address.to_owned(),
            (scheme @ ("http" | "grpc"), place) => {
                let place = place.trim_start_matches('/');
                let plugin = service_fn(double);
                let server = match scheme {
                    "http" => serve::http(plugin).health(health).bind(place).listen().await,
                    _ => serve::grpc(plugin).health(health).bind(place).listen().await,
                };
                let server = server.unwrap();
                let address = server.address().replace("http", scheme);
                tasks.spawn(server.run_until(std::future::pending()));
                address
            }
            (scheme, place) => {
                let plugin = match scheme {
                    "unix" => serve::unix(service_fn(double), place),
                    _ => serve::tcp(service_fn(double), place.trim_start_matches('/')),
                };
                let server = plugin.health(health).listen().await.unwrap();
                let address = server.address();
                tasks.spawn(server.run_until(std::future::pending()));
                address
            }
        };
        Self { address, _tasks: tasks }
    }
}

/// A plugin of each scheme in the network.
async fn networked(health: &HealthStatus) -> Vec<Plugin> {
    let mut plugins = Vec::new();
    for scheme in ["http", "tcp", "grpc"] {
        plugins.push(Plugin::start(&format!("{scheme}://127.0.0.1:0"), health.clone()).await);
    }
    plugins.push(Plugin::start(&new_unix(), health.clone()).await);
    plugins
}

/// A plugin of each scheme.
async fn plugins() -> Vec<Plugin> {
    let mut plugins = networked(&HealthStatus::healthy()).await;
    plugins.push(Plugin::start(&process::this(), HealthStatus::healthy()).await);
    plugins
}

#[tokio::test]
async fn no_idempotent_call_fails_while_plugins_are_killed_one_after_another() {
    let mut plugins = plugins().await;
    let addresses: Vec<_> = plugins.iter().map(|plugin| plugin.address.clone()).collect();
    let breaker = CircuitBreakerConfig::consecutive(3).with_open_for(Duration::from_millis(20));
    // An ejection lasts for half a minute; the breakers are enough.
    let config = BalanceConfig::default().with_outlier(OutlierConfig::off());
    let endpoints = discover::fixed(&addresses).unwrap();
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::with_config(endpoints, LeastRequest::new(), config))
        .layer(CircuitBreakerLayer::new(breaker))
        .service(mixed());

    let answers: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let (failures, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let child = Arc::new(AtomicI32::new(0));
    let mut callers = JoinSet::new();
    for number in 0..16 {
        let (stack, answers) = (stack.clone(), answers.clone());
        let (failures, stop, child) = (failures.clone(), stop.clone(), child.clone());
        callers.spawn(async move {
            while !stop.load(SeqCst) {
                let call = Call::new(number).idempotent().with_timeout(PATIENCE);
                match stack.clone().oneshot(call).await {
                    Ok(reply) => {
                        assert_eq!(*reply.body(), number * 2);
                        let from = reply.endpoint().unwrap().to_owned();
                        if from.starts_with("exec:") {
                            child.store(reply.metadata()["pid"].parse().unwrap(), SeqCst);
                        }
                        *answers.lock().unwrap().entry(from).or_default() += 1;
                    }
                    Err(error) => {
                        eprintln!("{error}");
                        failures.fetch_add(1, SeqCst);
                    }
                }
            }
        });
    }
    let of = |address: &str| answers.lock().unwrap().get(address).copied().unwrap_or(0);
    for (index, address) in addresses.iter().enumerate() {
        until("all answer", || addresses.iter().all(|address| of(address) > 50)).await;
        drop(plugins.remove(index));
        if address.starts_with("exec:") {
            let killed = child.swap(0, SeqCst);
            process::kill(killed, Signal::KILL);
            until("it is reaped", || !process::exists(killed)).await;
        }
        let others: Vec<_> = addresses.iter().filter(|other| *other != address).collect();
        let before: Vec<_> = others.iter().map(|other| of(other)).collect();
        let go_on = || others.iter().zip(&before).all(|(other, before)| of(other) > before + 200);
        until("the others answer", go_on).await;
        plugins.insert(index, Plugin::start(address, HealthStatus::healthy()).await);
        let before = of(address);
        until("it answers again", || of(address) > before + 50).await;
    }
    stop.store(true, SeqCst);
    while let Some(caller) = timeout(PATIENCE, callers.join_next()).await.expect("it hangs") {
        caller.unwrap();
    }
    assert_eq!(failures.load(SeqCst), 0);
}

#[tokio::test]
async fn schemes_are_compared_without_case_and_an_address_without_one_is_http() {
    for plugin in plugins().await {
        let (scheme, rest) = plugin.address.split_once(':').unwrap();
        let mut addresses = vec![plugin.address.clone()];
        match scheme {
            "http" => addresses.push(rest.trim_start_matches('/').to_owned()),
            "tcp" => addresses.push(format!("TCP:{rest}")),
            _ => {}
        }
        for address in addresses {
            let reply = mixed().connect(&member(&address)).oneshot(Call::new(4)).await.unwrap();
            assert_eq!((*reply.body(), reply.endpoint()), (8, Some(&*address)));
        }
    }
}

#[tokio::test]
async fn a_scheme_without_a_connector_is_an_error_that_names_those_with_one() {
    let service = mixed().connect(&member("grpcs://a:1"));
    let error = service.clone().oneshot(Call::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::InvalidConfig, Code::PLUGIN_1008), "{error}");
    assert_eq!((error.is_unsent(), error.endpoint()), (true, Some("grpcs://a:1")));
    let known =
        "scheme `grpcs` of `grpcs://a:1`: there are `http`, `https`, `unix`, `tcp`, `grpc`, `exec`";
    assert!(error.to_string().contains(known), "{error}");
    let health = service.health().await;
    assert!(health.status == PluginStatus::Unhealthy && health.message.contains("`grpcs`"));
}

#[tokio::test]
async fn a_gate_asks_each_plugin_in_its_way() {
    let (good, bad) = (plugins().await, networked(&HealthStatus::unhealthy("no database")).await);
    let addresses: Vec<_> = good.iter().chain(&bad).map(|plugin| plugin.address.clone()).collect();
    let config = HealthConfig::default().with_interval(Duration::from_millis(20));
    let gate = HealthGateLayer::with_config(PluginCheck::new(mixed()), config);
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(&addresses).unwrap(), LeastRequest::new()))
        .layer(gate.clone())
        .service(mixed());
    stack.clone().oneshot(Call::new(1)).await.unwrap();
    let is_open =
        |plugin: &Plugin| gate.handle_for(&plugin.address).is_some_and(|gate| gate.is_healthy());
    until("the gates know", || good.iter().all(is_open) && !bad.iter().any(is_open)).await;
}

#[tokio::test]
async fn what_a_client_says_by_the_type_of_its_error_is_believed_of_clients_alone() {
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    type Body = http_body_util::Empty<bytes::Bytes>;

    fn client() -> Client<hyper_util::client::legacy::connect::HttpConnector, Body> {
        Client::builder(TokioExecutor::new()).build_http()
    }
    let request = || http::Request::get("http://127.0.0.1:1").body(Body::new()).unwrap();
    let known = ByScheme::new(["http"], connect_fn(|_: &Endpoint| client()));
    let error: Error = known.connect(&member("a:1")).oneshot(request()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");

    let twice = connect_fn(|_: &Endpoint| {
        service_fn(async |request: http::Request<Body>| client().request(request).await)
    });
    let unknown = ByScheme::new(["tcp"], twice).or(["http"], twice);
    let error = unknown.connect(&member("a:1")).oneshot(request()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false), "{error}");
}
