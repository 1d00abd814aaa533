//! One set of plugins that are reached over HTTP, a Unix socket, TCP, gRPC and the stdin of a child process,
//! killed one after another under load.
//!
//! ```text
//! cargo run --features grpc,process --example mixed_transports
//! cargo run --features http --example mixed_transports             without the last two
//! ```
//! No call fails: a call that a dying plugin leaves behind goes to another one, whatever that speaks.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot, task::JoinSet, time::sleep};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
#[cfg(feature = "grpc")]
use tower_upstream::transport::GrpcTransport;
#[cfg(all(feature = "process", unix))]
use tower_upstream::transport::{ProcessConfig, ProcessTransport};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint,
    Error, FailoverLayer, LeastRequest, Reply,
    balance::{BalanceConfig, OutlierConfig},
    codec::CodecLayer,
    discover::Memory,
    plugin::Encoded,
    serve,
    transport::{ByScheme, HttpTransport, SocketTransport},
};

#[derive(Debug, Serialize, Deserialize)]
struct TaxRequest {
    net: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct TaxReply {
    gross: u64,
}

async fn tax(call: Call<TaxRequest>) -> Result<Reply<TaxReply>, io::Error> {
    sleep(Duration::from_millis(1)).await;
    let reply = Reply::new(TaxReply { gross: call.body().net * 122 / 100 });
    Ok(reply.with_metadata("pid", std::process::id().to_string()))
}

/// A plugin that runs on a thread of its own, so that it can be killed. Dropping it kills it.
///
/// One that is a child process has no thread here: its transport starts it, and again when it was killed.
struct Plugin {
    runtime: Option<Runtime>,
    address: String,
}

impl Plugin {
    /// Starts a plugin at `http://host:port`, `tcp://host:port`, `grpc://host:port` or `unix:/path`. Port 0
    /// takes any that is free.
    async fn start(address: &str) -> Result<Self, BoxError> {
        if address.starts_with("exec:") {
            return Ok(Self { runtime: None, address: address.to_owned() });
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (is_up, up) = oneshot::channel();
        runtime.spawn(run(address.to_owned(), is_up));
        let address = up.await?;
        Ok(Self { runtime: Some(runtime), address })
    }

    fn scheme(&self) -> &str {
        self.address.split(':').next().unwrap_or_default()
    }

    fn kill(self, child: Option<&str>) -> io::Result<()> {
        if let Some(child) = child.filter(|_| self.runtime.is_none()) {
            std::process::Command::new("kill").args(["-KILL", child]).status()?;
        }
        Ok(())
    }
}

impl Drop for Plugin {
    /// Ends it at once, with all of its connections.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn run(address: String, is_up: oneshot::Sender<String>) -> Result<(), BoxError> {
    let plugin = service_fn(tax);
    if let Some(address) = address.strip_prefix("http://") {
        let listener = TcpListener::bind(address).await?;
        let _ = is_up.send(format!("http://{}", listener.local_addr()?));
        let app = axum::Router::new().fallback_service(serve::http(plugin));
        return Ok(axum::serve(listener, app).await?);
    }
    #[cfg(feature = "grpc")]
    if let Some(address) = address.strip_prefix("grpc://") {
        let server = serve::grpc(plugin).bind(address).listen().await?;
        let _ = is_up.send(server.address().replace("http:", "grpc:"));
        server.run().await;
        return Ok(());
    }
    #[cfg(unix)]
    if let Some(path) = address.strip_prefix("unix:") {
        let server = serve::unix(plugin, path).listen().await?;
        let _ = is_up.send(server.address());
        server.run().await;
        return Ok(());
    }
    let server = serve::tcp(plugin, address.trim_start_matches("tcp://")).listen().await?;
    let _ = is_up.send(server.address());
    server.run().await;
    Ok(())
}

/// How many calls went well, by the scheme of the endpoint that answered; and how many failed.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, u64>>>, Arc<Mutex<Option<String>>>);

impl Counts {
    fn add(&self, result: Result<Reply<TaxReply>, Error>) {
        let of = match &result {
            Ok(reply) => {
                let scheme = reply.endpoint().and_then(|key| key.split(':').next()).unwrap_or("?");
                if scheme == "exec" {
                    *locked(&self.1) = reply.metadata().get("pid").cloned();
                }
                scheme
            }
            Err(error) => {
                eprintln!("{error}");
                "failed"
            }
        };
        *self.all().entry(of.to_owned()).or_default() += 1;
    }

    fn of(&self, key: &str) -> u64 {
        self.all().get(key).copied().unwrap_or(0)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        locked(&self.0)
    }

    /// The process that answered last as the child of this one.
    fn child(&self) -> Option<String> {
        locked(&self.1).clone()
    }

    /// Waits for `more` calls that count under the keys that are wanted.
    async fn wait_for(&self, more: u64, is_wanted: impl Fn(&str) -> bool) {
        let count = || -> u64 {
            self.all().iter().filter(|(key, _)| is_wanted(key)).map(|(_, count)| count).sum()
        };
        let enough = count() + more;
        while count() < enough {
            sleep(Duration::from_millis(2)).await;
        }
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Calls until it is told to stop.
async fn call<S>(plugins: S, counts: Counts, stop: Arc<AtomicBool>)
where
    S: Service<Call<TaxRequest>, Response = Reply<TaxReply>, Error = Error> + Clone,
{
    while !stop.load(Ordering::Relaxed) {
        let call = Call::new(TaxRequest { net: 1_200 }).idempotent();
        let call = call.with_timeout(Duration::from_secs(10));
        counts.add(plugins.clone().oneshot(call).await);
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    #[cfg(all(feature = "process", unix))]
    if std::env::args().nth(1).as_deref() == Some("--stdio") {
        return Ok(serve::stdio(service_fn(tax)).run().await?);
    }
    let mut places = vec!["http://127.0.0.1:0".to_owned(), "tcp://127.0.0.1:0".to_owned()];
    if cfg!(unix) {
        let path = std::env::temp_dir().join(format!("mixed-{}.sock", std::process::id()));
        places.push(format!("unix:{}", path.display()));
    }
    if cfg!(feature = "grpc") {
        places.push("grpc://127.0.0.1:0".to_owned());
    }
    if cfg!(all(feature = "process", unix)) {
        places.push(format!("exec:{}", std::env::current_exe()?.display()));
    }
    let mut plugins = VecDeque::new();
    let endpoints = Memory::new(Vec::<Endpoint>::new())?;
    for place in &places {
        let plugin = Plugin::start(place).await?;
        endpoints.insert(plugin.address.as_str())?;
        plugins.push_back(plugin);
    }

    let quick = CircuitBreakerConfig::consecutive(3).with_open_for(Duration::from_millis(200));
    // A killed plugin is left alone for as long as its breaker says, and no longer.
    let config = BalanceConfig::default().with_outlier(OutlierConfig::off());
    let transports = ByScheme::new(["http"], HttpTransport::<Encoded, Encoded>::new())
        .or(["unix", "tcp"], SocketTransport::<Encoded, Encoded>::new());
    #[cfg(feature = "grpc")]
    let transports = transports.or(["grpc"], GrpcTransport::<Encoded, Encoded>::new());
    #[cfg(all(feature = "process", unix))]
    let transports = transports.or(["exec"], {
        let config = ProcessConfig::default().with_args(["--stdio"]);
        ProcessTransport::<Encoded, Encoded>::with_config(config)
    });
    let stack = ServiceBuilder::new()
        .layer(CodecLayer::<TaxRequest, TaxReply>::new()) // the types of the calls
        .layer(FailoverLayer::new(Attempts::up_to(3))) // another plugin, while there is one
        .layer(BalanceLayer::with_config(endpoints, LeastRequest::new(), config)) // chooses one
        .layer(CircuitBreakerLayer::new(quick)) // a breaker for each
        .service(transports);

    let (counts, stop) = (Counts::default(), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        callers.spawn(call(stack.clone(), counts.clone(), stop.clone()));
    }
    counts.wait_for(200, |_| true).await;
    for _ in places {
        let Some(plugin) = plugins.pop_front() else { break };
        let (scheme, address) = (plugin.scheme().to_owned(), plugin.address.clone());
        plugin.kill(counts.child().as_deref())?;
        println!("{scheme} is killed");
        counts.wait_for(500, |key| key != scheme).await;
        plugins.push_back(Plugin::start(&address).await?);
        counts.wait_for(50, |key| key == scheme).await;
        println!("{scheme} answers again");
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(caller) = callers.join_next().await {
        caller?;
    }
    let all = counts.all().values().sum::<u64>();
    let by_scheme: Vec<_> =
        counts.all().iter().map(|(key, count)| format!("{count} by {key}")).collect();
    println!("{all} calls: {}; {} failed", by_scheme.join(", "), counts.of("failed"));
    Ok(())
}
