//! A plugin, served in each way that there is.
//!
//! ```text
//! cargo run --features http --example plugin -- --unix /run/tax.sock
//! cargo run --features http --example plugin -- --http 127.0.0.1:8080
//! cargo run --features http --example plugin -- --tcp 127.0.0.1:9000
//! cargo run --features grpc --example plugin -- --grpc 127.0.0.1:50051
//! cargo run --features process --example plugin -- --stdio
//! ```
//! It stops on SIGTERM and Ctrl-C, once the calls that it has are answered. Without arguments it calls
//! itself over each of them, shows the answers, and ends.

use std::io;

use serde::{Deserialize, Serialize};
use tower::{ServiceBuilder, ServiceExt, service_fn};
#[cfg(all(feature = "process", unix))]
use tower_upstream::transport::{ProcessConfig, ProcessTransport};
use tower_upstream::{
    BoxError, Call, ConcurrencyLimitLayer, Endpoint, Reply,
    connect::Connect,
    member::Member,
    plugin::PluginInfo,
    serve,
    transport::{HttpTransport, SocketTransport},
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
    let info = PluginInfo::new("tax", "1.0.0").with_capability("vat");
    let plugin =
        ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(64)).service(service_fn(tax));
    let http = serve::http(plugin.clone()).info(info.clone());

    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        #[cfg(unix)]
        ["--unix", path] => serve::unix(plugin, path).info(info).run().await?,
        #[cfg(all(feature = "process", unix))]
        ["--stdio"] => serve::stdio(plugin).info(info).run().await?,
        ["--tcp", address] => serve::tcp(plugin, address).info(info).run().await?,
        // Also `unix:/run/tax.sock`, for HTTP over a Unix socket.
        ["--http", address] => http.bind(address).run().await?,
        #[cfg(feature = "grpc")]
        ["--grpc", address] => serve::grpc(plugin).info(info).bind(address).run().await?,
        [] => {
            let server = http.bind("127.0.0.1:0").listen().await?;
            let address = server.address();
            tokio::spawn(server.run());
            call(HttpTransport::new(), &address).await?;

            #[cfg(feature = "grpc")]
            {
                let served = serve::grpc(plugin.clone()).bind("127.0.0.1:0").listen().await?;
                let address = served.address().replace("http:", "grpc:");
                tokio::spawn(served.run());
                call(tower_upstream::transport::GrpcTransport::new(), &address).await?;
            }

            let server = serve::tcp(plugin.clone(), "127.0.0.1:0").listen().await?;
            let address = server.address();
            tokio::spawn(server.run());
            call(SocketTransport::new(), &address).await?;

            #[cfg(unix)]
            {
                let path = std::env::temp_dir().join(format!("tax-{}.sock", std::process::id()));
                let server = serve::unix(plugin, path.display().to_string()).info(info).listen();
                let server = server.await?;
                let address = server.address();
                let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
                let server = tokio::spawn(server.run_until(async { drop(stopped.await) }));
                call(SocketTransport::new(), &address).await?;
                drop(stop);
                server.await?;
                println!("the socket is gone: {}", !path.exists());
            }

            #[cfg(all(feature = "process", unix))]
            {
                let config = ProcessConfig::default().with_args(["--stdio"]);
                let program = format!("exec:{}", std::env::current_exe()?.display());
                call(ProcessTransport::with_config(config), &program).await?;
            }
        }
        _ => {
            let known = "`--unix PATH`, `--http ADDR`, `--tcp ADDR`, `--grpc ADDR` or `--stdio`";
            return Err(format!("say {known}").into());
        }
    }
    Ok(())
}

async fn call<C>(transport: C, address: &str) -> Result<(), BoxError>
where
    C: Connect<
        Service: tower::Service<
            Call<TaxRequest>,
            Response = Reply<TaxReply>,
            Error = tower_upstream::Error,
        >,
    >,
{
    let endpoint: Endpoint = address.parse()?;
    let scheme = endpoint.address().scheme().unwrap_or_default().to_owned();
    let plugin = transport.connect(&Member::new(endpoint));
    let reply = plugin.oneshot(Call::new(TaxRequest { net: 1_200 })).await?;
    println!("over {scheme}: {:?}", reply.body());
    Ok(())
}
