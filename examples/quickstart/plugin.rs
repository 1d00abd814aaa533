//! A plugin server in a child process, and the parent's hold on it.

use std::{
    net::SocketAddr,
    process::{ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    process::{Child, ChildStdin, Command},
};
use tower::{ServiceExt, service_fn};
use tower_upstream::{BoxError, Call, Reply, plugin::PluginInfo, serve};

use crate::tax::{TaxReply, TaxRequest};

/// A running plugin, as its parent sees it. Dropping it kills the process.
pub(crate) struct Plugin {
    address: SocketAddr,
    child: Child,
    orders: ChildStdin,
}

impl Plugin {
    /// Starts a plugin at `address`; port 0 takes any that is free.
    pub(crate) async fn start(name: &'static str, address: SocketAddr) -> Result<Self, BoxError> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["plugin", name, &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = child.stdin.take().ok_or("the plugin has no stdin")?;
        let answers = child.stdout.take().ok_or("the plugin has no stdout")?;
        let mut lines = BufReader::new(answers).lines();
        let line = tokio::time::timeout(Duration::from_secs(10), lines.next_line()).await??;
        let address = line.ok_or_else(|| format!("{name} ended before it listened"))?.parse()?;
        Ok(Self { address, child, orders })
    }

    /// The address as an endpoint.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes `delay_ms` for each call from now on.
    pub(crate) async fn slow(&mut self, delay_ms: u32) -> Result<(), BoxError> {
        self.order(&format!("slow {delay_ms}\n")).await
    }

    /// Answers each call with a 500 at once, or works again.
    pub(crate) async fn failing(&mut self, failing: bool) -> Result<(), BoxError> {
        self.order(if failing { "fail\n" } else { "work\n" }).await
    }

    async fn order(&mut self, order: &str) -> Result<(), BoxError> {
        self.orders.write_all(order.as_bytes()).await?;
        Ok(self.orders.flush().await?)
    }

    /// SIGKILL: no goodbye to anybody.
    pub(crate) async fn kill(mut self) -> Result<SocketAddr, BoxError> {
        self.child.kill().await?;
        Ok(self.address)
    }

    /// Closes its orders, upon which it ends.
    pub(crate) async fn stop(self) -> Result<(), BoxError> {
        let Self { mut child, orders, .. } = self;
        drop(orders);
        tokio::time::timeout(Duration::from_secs(10), child.wait()).await??;
        Ok(())
    }
}

/// What the parent has ordered.
#[derive(Debug, Default)]
struct Mood {
    delay_ms: AtomicU32,
    failing: AtomicU8,
}

/// The main function of the child: serves until its standard input ends.
pub(crate) async fn serve(mut args: impl Iterator<Item = String>) -> Result<ExitCode, BoxError> {
    let name = args.next().ok_or("plugin: no name")?;
    let address: SocketAddr = args.next().ok_or("plugin: no address")?.parse()?;
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);

    let mood = Arc::new(Mood { delay_ms: AtomicU32::new(1), ..Mood::default() });
    tokio::spawn(accept(listener, name, mood.clone()));
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await? {
        match order.split_once(' ') {
            Some(("slow", delay_ms)) => mood.delay_ms.store(delay_ms.parse()?, Ordering::Relaxed),
            _ => mood.failing.store(u8::from(order == "fail"), Ordering::Relaxed),
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn accept(listener: TcpListener, name: String, mood: Arc<Mood>) {
    let failing = mood.clone();
    let plugin = serve::http(service_fn(move |call: Call<TaxRequest>| tax(mood.clone(), call)))
        .info(PluginInfo::new(name, "1.0.0"));
    // Failing means failing at the door, with a status, as a server whose handler panics.
    let server = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (plugin, failing) = (plugin.clone(), failing.failing.load(Ordering::Relaxed) != 0);
        async move {
            if failing && request.method() == http::Method::POST {
                let mut response = http::Response::default();
                *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                return Ok(response);
            }
            plugin.oneshot(request).await
        }
    });
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(server.clone()));
        tokio::spawn(connection);
    }
}

async fn tax(mood: Arc<Mood>, call: Call<TaxRequest>) -> Result<Reply<TaxReply>, BoxError> {
    let delay = Duration::from_millis(mood.delay_ms.load(Ordering::Relaxed).into());
    tokio::time::sleep(delay).await;
    Ok(Reply::new(TaxReply { gross: call.body().net * 122 / 100 }))
}
