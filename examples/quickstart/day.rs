//! The day: what happens to which plugin, and when.

use std::{collections::BTreeMap, net::SocketAddr, process::ExitCode, time::Duration};

use tokio::{sync::mpsc, time::Instant};
use tower::ServiceExt;
use tower_upstream::{BoxError, Call, Endpoint, discover::Memory};

use crate::{load, options::Options, plugin::Plugin, report::Report, stack, tax::TaxRequest};

const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The turns of the day, each at its percentage of it.
const TURNS: [(u32, Turn); 9] = [
    (10, Turn::SlowDown("tax-1")),
    (25, Turn::SpeedUp("tax-1")),
    (30, Turn::Kill("tax-2")),
    (42, Turn::ComeBack("tax-2")),
    (50, Turn::Fail("tax-3")),
    (62, Turn::Work("tax-3")),
    (70, Turn::Drain("tax-1")),
    (78, Turn::Remove("tax-1")),
    (82, Turn::Join("tax-4")),
];

#[derive(Debug, Clone, Copy)]
enum Turn {
    SlowDown(&'static str),
    SpeedUp(&'static str),
    Kill(&'static str),
    ComeBack(&'static str),
    Fail(&'static str),
    Work(&'static str),
    Drain(&'static str),
    Remove(&'static str),
    Join(&'static str),
}

/// Who lives, and how the world finds them.
struct Town {
    endpoints: Memory,
    plugins: BTreeMap<&'static str, Plugin>,
    /// Where those stood that were killed.
    graves: BTreeMap<&'static str, SocketAddr>,
}

pub(crate) async fn live(options: Options) -> Result<ExitCode, BoxError> {
    let mut report = Report::new(options.json);
    let mut town = Town {
        endpoints: Memory::new(Vec::<Endpoint>::new())?,
        plugins: BTreeMap::new(),
        graves: BTreeMap::new(),
    };
    for name in ["tax-1", "tax-2", "tax-3"] {
        town.join(name, &mut report).await?;
    }

    let stack = stack::build(town.endpoints.clone());
    // The first call also makes the first connection; the day begins after it.
    let first = Call::new(TaxRequest { net: 100 }).with_timeout(Duration::from_secs(10));
    stack.plugins.clone().oneshot(first.idempotent()).await?;

    let start = Instant::now();
    let (sender, mut done) = mpsc::unbounded_channel();
    let load = load::send(stack.plugins, options.rate, options.length(), sender);
    let load = tokio::spawn(load);
    let mut second =
        tokio::time::interval_at(start + Duration::from_secs(1), Duration::from_secs(1));
    let mut turns = TURNS.into_iter().peekable();
    loop {
        let next_turn = turns.peek().map(|(percent, _)| start + options.length() * *percent / 100);
        tokio::select! {
            biased;
            () = sleep_until(next_turn), if next_turn.is_some() => {
                if let Some((_, turn)) = turns.next() {
                    let what = town.turn(turn, &mut report).await?;
                    report.event(start.elapsed(), &what);
                }
            }
            _ = second.tick() => report.table(start.elapsed(), &stack.members, &stack.breakers),
            ended = done.recv() => match ended {
                Some(ended) => report.add(ended),
                None => break,
            },
        }
    }
    load.await?;
    let all_well = report.finish(options.json);
    for plugin in town.plugins.into_values() {
        plugin.stop().await?;
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

impl Town {
    async fn join(&mut self, name: &'static str, report: &mut Report) -> Result<(), BoxError> {
        let plugin = Plugin::start(name, ANY_PORT).await?;
        report.name(plugin.url(), name);
        self.endpoints.insert(plugin.url())?;
        self.plugins.insert(name, plugin);
        Ok(())
    }

    fn plugin(&mut self, name: &str) -> Result<&mut Plugin, BoxError> {
        self.plugins.get_mut(name).ok_or_else(|| format!("there is no {name}").into())
    }

    /// Lets it happen, and says what did.
    async fn turn(&mut self, turn: Turn, report: &mut Report) -> Result<String, BoxError> {
        match turn {
            Turn::SlowDown(name) => {
                self.plugin(name)?.slow(100).await?;
                Ok(format!("{name} slows down: 100 ms for each call"))
            }
            Turn::SpeedUp(name) => {
                self.plugin(name)?.slow(1).await?;
                Ok(format!("{name} is as fast as before"))
            }
            Turn::Kill(name) => {
                let plugin = self.plugins.remove(name).ok_or("none to kill")?;
                self.graves.insert(name, plugin.kill().await?);
                Ok(format!("{name} is killed (SIGKILL)"))
            }
            Turn::ComeBack(name) => {
                let address = self.graves.remove(name).ok_or("none to come back")?;
                self.plugins.insert(name, Plugin::start(name, address).await?);
                Ok(format!("{name} is back at {address}"))
            }
            Turn::Fail(name) => {
                self.plugin(name)?.failing(true).await?;
                Ok(format!("{name} answers every call with an error, fast"))
            }
            Turn::Work(name) => {
                self.plugin(name)?.failing(false).await?;
                Ok(format!("{name} works again"))
            }
            Turn::Drain(name) => {
                let endpoint: Endpoint = self.plugin(name)?.url().parse()?;
                self.endpoints.insert(endpoint.with_draining(true))?;
                Ok(format!("{name} is drained: it finishes what it has"))
            }
            Turn::Remove(name) => {
                let plugin = self.plugins.remove(name).ok_or("none to remove")?;
                self.endpoints.remove(&plugin.url());
                plugin.stop().await?;
                Ok(format!("{name} is removed from discovery, and stops"))
            }
            Turn::Join(name) => {
                self.join(name, report).await?;
                Ok(format!("{name} joins"))
            }
        }
    }
}
