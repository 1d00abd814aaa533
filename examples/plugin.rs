//! A plugin, served in each way that there is, or in several at once.
//!
//! ```text
//! cargo run --features grpc,process --example plugin -- [--stdio] [--unix /run/tax.sock]
//!     [--http 127.0.0.1:8080] [--tcp 127.0.0.1:9000] [--grpc 127.0.0.1:50051]
//! ```
//! It tells on stderr where it listens. It stops on SIGTERM and Ctrl-C, and with `--stdio` at the end of its
//! stdin, once the calls that it has are answered. Without arguments it calls itself over each of them, shows
//! the answers, and ends.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinSet};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
#[cfg(feature = "grpc")]
use tower_upstream::transport::GrpcTransport;
#[cfg(all(feature = "process", unix))]
use tower_upstream::transport::{ProcessConfig, ProcessTransport};
use tower_upstream::{
    BoxError, Call, ConcurrencyLimitLayer, Endpoint, Error, Reply,
    connect::Connect,
    member::Member,
    plugin::PluginInfo,
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
    match call.body().net {
        0 => Err(io::Error::other("nothing to tax")),
        net => Ok(Reply::new(TaxReply { gross: net * 122 / 100 })),
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // One limit for all ways.
    let plugin =
        ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(64)).service(service_fn(tax));
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let has_stdio = cfg!(all(feature = "process", unix));
    let (is_child, ways): (Vec<_>, Vec<_>) =
        arguments.iter().map(String::as_str).partition(|way| has_stdio && *way == "--stdio");

    // All end with the first that does.
    let (stop, stopped) = watch::channel(());
    let mut servers = Servers { stopped, tasks: JoinSet::new() };
    if arguments.is_empty() {
        return call_itself(plugin, servers, stop).await;
    }
    for way in ways.chunks(2) {
        let (way, place) = (way[0], way.get(1).copied().unwrap_or_default());
        // Stdout may be for answers alone.
        eprintln!("listens at {}", servers.listen(plugin.clone(), way, place).await?);
    }
    if is_child.is_empty() {
        serve::terminated().await;
    } else {
        #[cfg(all(feature = "process", unix))]
        serve::stdio(plugin).info(info()).run().await?;
    }
    drop(stop);
    servers.tasks.join_all().await;
    Ok(())
}

fn info() -> PluginInfo {
    PluginInfo::new("tax", "1.0.0").with_capability("vat")
}

struct Servers {
    stopped: watch::Receiver<()>,
    tasks: JoinSet<()>,
}

impl Servers {
    /// Serves the plugin in one way. Returns its address.
    async fn listen<S>(&mut self, plugin: S, way: &str, place: &str) -> Result<String, BoxError>
    where
        S: Service<Call<TaxRequest>, Response = Reply<TaxReply>, Error = Error, Future: Send>,
        S: Clone + Send + Sync + 'static,
    {
        let mut stopped = self.stopped.clone();
        let stopped = async move { drop(stopped.changed().await) };
        match way {
            // Also at `unix:/run/tax.sock`, for HTTP over a Unix socket.
            "--http" => {
                let server = serve::http(plugin).info(info()).bind(place).listen().await?;
                let address = server.address();
                self.tasks.spawn(server.run_until(stopped));
                Ok(address)
            }
            #[cfg(feature = "grpc")]
            "--grpc" => {
                let server = serve::grpc(plugin).info(info()).bind(place).listen().await?;
                let address = server.address().replace("http:", "grpc:");
                self.tasks.spawn(server.run_until(stopped));
                Ok(address)
            }
            "--tcp" => {
                let server = serve::tcp(plugin, place).info(info()).listen().await?;
                let address = server.address();
                self.tasks.spawn(server.run_until(stopped));
                Ok(address)
            }
            #[cfg(unix)]
            "--unix" => {
                let server = serve::unix(plugin, place).info(info()).listen().await?;
                let address = server.address();
                self.tasks.spawn(server.run_until(stopped));
                Ok(address)
            }
            _ => {
                let known =
                    "`--stdio`, `--unix PATH`, `--http ADDR`, `--tcp ADDR` or `--grpc ADDR`";
                Err(format!("say {known}").into())
            }
        }
    }
}

/// Serves the plugin in each way at once, and calls it over each.
async fn call_itself<S>(
    plugin: S,
    mut servers: Servers,
    stop: watch::Sender<()>,
) -> Result<(), BoxError>
where
    S: Service<Call<TaxRequest>, Response = Reply<TaxReply>, Error = Error, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    let transports =
        ByScheme::new(["http"], HttpTransport::new()).or(["unix", "tcp"], SocketTransport::new());
    #[cfg(feature = "grpc")]
    let transports = transports.or(["grpc"], GrpcTransport::new());
    #[cfg(all(feature = "process", unix))]
    let transports = transports.or(["exec"], {
        let config = ProcessConfig::default().with_args(["--stdio"]);
        ProcessTransport::with_config(config)
    });

    let path = std::env::temp_dir().join(format!("tax-{}.sock", std::process::id()));
    let (port, path_text) = ("127.0.0.1:0", path.display().to_string());
    let ways = [("--http", port), ("--tcp", port)].into_iter();
    let ways = ways.chain(cfg!(feature = "grpc").then_some(("--grpc", port)));
    let ways = ways.chain(cfg!(unix).then_some(("--unix", path_text.as_str())));
    let mut addresses = Vec::new();
    for (way, place) in ways {
        addresses.push(servers.listen(plugin.clone(), way, place).await?);
    }
    if cfg!(all(feature = "process", unix)) {
        addresses.push(format!("exec:{}", std::env::current_exe()?.display()));
    }
    for address in addresses {
        let endpoint: Endpoint = address.parse()?;
        let scheme = endpoint.address().scheme().unwrap_or_default().to_owned();
        let call = Call::new(TaxRequest { net: 1_200 });
        let reply: Reply<TaxReply> =
            transports.connect(&Member::new(endpoint)).oneshot(call).await?;
        println!("over {scheme}: {:?}", reply.body());
    }
    drop(stop);
    servers.tasks.join_all().await;
    println!("the socket is gone: {}", !path.exists());
    Ok(())
}
