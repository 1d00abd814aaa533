//! Two plugins in Python over Unix sockets, of which one is killed.
//!
//! `cargo run --features http --example python_plugin`, with `python3` installed.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde::{Deserialize, Serialize};
use tower::{ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Call, CircuitBreakerLayer, FailoverLayer, LeastRequest,
    discover, error::Kind, stack::check, transport::SocketTransport,
};

#[derive(Clone, Serialize)]
struct TaxRequest {
    net: u64,
}

#[derive(Default, Deserialize)]
struct TaxReply {
    gross: u64,
}

/// Starts a plugin, and waits until it listens.
fn start(path: &Path) -> Result<Child, BoxError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python_plugin.py");
    let mut plugin =
        Command::new("python3").arg(script).arg(path).stdout(Stdio::piped()).spawn()?;
    let output = plugin.stdout.take().ok_or("no output")?;
    BufReader::new(output).lines().next().ok_or("it did not start")??;
    Ok(plugin)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let folder = std::env::temp_dir().join(format!("python-plugin-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let paths = [folder.join("a.sock"), folder.join("b.sock")];
    let (mut first, mut second) = (start(&paths[0])?, start(&paths[1])?);

    let endpoints = paths.iter().map(|path| format!("unix:{}", path.display()));
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(discover::fixed(endpoints)?, LeastRequest::new()))
        .layer(CircuitBreakerLayer::default())
        .service(SocketTransport::<TaxRequest, TaxReply>::new());
    let plugins = check::<Call<TaxRequest>, _>(stack);

    for number in 1..=20 {
        if number == 10 {
            first.kill()?;
        }
        let call = Call::new(TaxRequest { net: number * 100 }).idempotent();
        println!("gross: {}", plugins.clone().oneshot(call).await?.body().gross);
    }
    // An error of the plugin is its answer, and is not asked of the other one. Where the one that was killed
    // was tried before, the error tells of both.
    let error = plugins.oneshot(Call::new(TaxRequest { net: 0 })).await.err().ok_or("no error")?;
    let is_plugins = error.kind() == Kind::Plugin || error.attempts() == 2;
    println!("{error}: {is_plugins}");
    second.kill()?;
    Ok(std::fs::remove_dir_all(folder)?)
}
