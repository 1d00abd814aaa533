//! What a call of a transport costs beside the bare library that does the same.
//!
//! ```text
//! cargo bench --features http --bench transports               two minutes
//! cargo bench --features http --bench transports -- --json     one JSON object
//! cargo bench --features http --bench transports -- http       HTTP alone
//! cargo bench --features process --bench transports -- exec    a child process alone
//! ```
//! An echo of 100 bytes over loopback, by 1, 16 and 256 callers at once. The server is a process of its own, which
//! writes the same bytes for each request; all callers and the tasks of their connections are one thread, of which
//! `/proc` has the CPU time (Linux only). Rounds of the contenders follow each other in turn, so that what else
//! the machine does meets all of them; the median round counts, and for what ours costs over bare the median of
//! the rounds beside each other. Bare against bare tells how good that is.
//!
//! Bare is hyper-util's client with `serde_json`, and over sockets a loop over a stream with `serde_json`: the same
//! dialler, bytes, bounds and time limit. For a child process it is a task that writes a line for each call, flushed, and
//! hands each answer to the call with its id.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that is set up wrongly shall stop, and prints"
)]
#![allow(clippy::disallowed_types, reason = "what is measured is real time")]

#[path = "../../tests/support/allocations.rs"]
mod allocations;
mod client;
#[cfg(all(feature = "process", unix))]
mod exec;
mod http;
mod idle;
mod measure;
mod server;
mod socket;

use measure::{Costs, Row};
use server::Server;

const CALLERS: [usize; 3] = [1, 16, 256];

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
    if has("--serve") {
        return server::serve();
    }
    #[cfg(all(feature = "process", unix))]
    if has("--child") {
        return exec::child();
    }
    if let Some(at) = args.iter().position(|arg| arg == "--idle") {
        return idle::report(&args[at + 1], &args[at + 2]);
    }
    let named = ["http", "unix", "tcp", "exec"].into_iter().filter(|name| has(name));
    let named = named.collect::<Vec<_>>();
    let is_wanted = |name: &str| named.is_empty() || named.contains(&name);
    let server = Server::start();
    let mut rows = Vec::new();
    if is_wanted("http") {
        let url = format!("http://{}/echo", server.http);
        rows.extend(measure::rows("http", CALLERS, || http::contenders(&url)));
    }
    for (name, address) in [("unix", &server.unix), ("tcp", &server.tcp)] {
        if is_wanted(name) {
            rows.extend(measure::rows(name, CALLERS, || socket::contenders(address)));
        }
    }
    #[cfg(all(feature = "process", unix))]
    if is_wanted("exec") {
        rows.extend(measure::rows("exec", CALLERS, exec::contenders));
    }
    let idle = idle::all(&server, is_wanted);
    if has("--json") {
        print_json(&rows, &idle);
    } else {
        print_tables(&rows, &idle);
    }
}

fn print_tables(rows: &[Row], idle: &[idle::Idle]) {
    println!("an echo of 100 bytes on loopback; CPU of the callers' thread\n");
    println!(
        "transport  callers  client      calls/s   CPU/call  over bare       p50        p99  allocations"
    );
    for Row { transport, callers, costs } in rows {
        for Costs { client, calls_per_second, cpu, over, p50, p99, allocations } in costs {
            println!(
                "{transport:<9}  {callers:>7}  {client:<10} {calls_per_second:>8.0}  {cpu:>6.2} µs   {over:>+5.1} %  {p50:>6.1} µs  {p99:>6.1} µs  {allocations:>11.1}"
            );
        }
    }
    println!("\nmemory of an idle endpoint, of 1,000\n");
    println!("transport   ours       its connection   beyond");
    for idle::Idle { transport, ours, bare } in idle {
        println!("{transport:<9}  {ours:>6} B  {bare:>13} B  {:>6} B", ours - bare);
    }
}

fn print_json(rows: &[Row], idle: &[idle::Idle]) {
    let rows = rows.iter().flat_map(|Row { transport, callers, costs }| {
        costs.iter().map(move |Costs { client, calls_per_second, cpu, over, p50, p99, allocations }| {
            format!(
                r#"{{"transport":"{transport}","callers":{callers},"client":"{client}","calls_per_second":{calls_per_second:.0},"cpu_us":{cpu:.3},"over_bare_percent":{over:.2},"p50_us":{p50:.1},"p99_us":{p99:.1},"allocations":{allocations:.2}}}"#
            )
        })
    });
    let rows = rows.collect::<Vec<_>>().join(",");
    let idle = idle.iter().map(|idle::Idle { transport, ours, bare }| {
        format!(
            r#"{{"transport":"{transport}","endpoint_bytes":{ours},"connection_bytes":{bare}}}"#
        )
    });
    let idle = idle.collect::<Vec<_>>().join(",");
    println!(r#"{{"echo":[{rows}],"idle":[{idle}]}}"#);
}
