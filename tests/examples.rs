//! Each example runs, and says what its text promises.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{path::PathBuf, process::Command};

/// Where an example is.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples").join(name)
}

/// Runs an example, which `cargo test` has built beside this test.
fn run(name: &str, args: &[&str]) -> String {
    let built = built(name);
    let output = Command::new(&built).args(args).output().unwrap_or_else(|error| {
        panic!(
            "{}: {error}; build it with `cargo build --examples --all-features`",
            built.display()
        )
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed:\n{text}\n{errors}");
    text
}

#[test]
fn axum_gateway_refuses_beyond_its_quota() {
    let text = run("axum_gateway", &[]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert!(
        lines[..5].iter().all(|line| line.contains("200 OK") && line.contains(r#"{"gross":122}"#))
    );
    assert!(lines[5].contains("429") && lines[5].contains(r#"Some("1")"#), "{text}");
}

#[test]
fn announce_axum_loses_no_call_while_servers_come_and_go() {
    let text = run("announce_axum", &[]);
    for line in ["3 servers are announced", "1 server is announced", "nothing is left: true"] {
        assert!(text.lines().any(|of| of == line), "{text}");
    }
    assert!(text.trim_end().ends_with(", failed: 0"), "{text}");
}

#[cfg(feature = "grpc")]
#[test]
fn announce_tonic_is_announced_while_it_serves() {
    let expected = "announced: [\"tax\"]\nserving: true\ndraining\nleft: []\n";
    assert_eq!(run("announce_tonic", &[]), expected);
}

#[test]
fn custom_pipeline_gets_every_answer() {
    let text = run("custom_pipeline", &[]);
    assert_eq!(
        text.lines().filter(|line| line.starts_with("hello you, says")).count(),
        20,
        "{text}"
    );
    assert!(!text.contains("says stuck"), "{text}");
}

#[test]
fn mixed_transports_lose_no_call() {
    let text = run("mixed_transports", &[]);
    let schemes = [
        ("http", true),
        ("tcp", true),
        ("unix", cfg!(unix)),
        ("grpc", cfg!(feature = "grpc")),
        ("exec", cfg!(all(feature = "process", unix))),
    ];
    for (scheme, _) in schemes.into_iter().filter(|(_, is_there)| *is_there) {
        assert!(text.contains(&format!("{scheme} is killed\n{scheme} answers again")), "{text}");
    }
    assert!(text.trim_end().ends_with("; 0 failed"), "{text}");
}

#[test]
fn tenants_have_quotas_and_circuits_of_their_own() {
    let text = run("tenants", &[]);
    let of = |tenant: &str| {
        let lines = text.lines().filter(|line| line.starts_with(tenant));
        lines.map(|line| line[tenant.len() + 2..][..3].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("blue"), ["200", "200", "200", "429"], "{text}");
    assert_eq!(of("green"), ["200"], "{text}");
    assert_eq!(of("broken"), ["500", "500", "503"], "{text}");
}

#[test]
fn reqwest_client_gets_every_answer_although_a_server_is_down() {
    let text = run("reqwest_client", &[]);
    assert_eq!(text.lines().filter(|line| line.starts_with("200 OK: hello")).count(), 20, "{text}");
}

#[test]
fn typed_client_knows_nothing_of_endpoints() {
    assert_eq!(run("typed_client", &[]), "Pod { name: \"web-0\", ready: true }\n");
}

#[cfg(unix)]
#[test]
fn python_plugin_loses_no_call_when_one_is_killed() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: there is no python3");
        return;
    }
    let text = run("python_plugin", &[]);
    assert_eq!(text.lines().filter(|line| line.starts_with("gross: ")).count(), 20, "{text}");
    assert!(text.contains("nothing to tax: true"), "{text}");
}

#[test]
fn plugin_answers_over_whatever_it_is_called() {
    let text = run("plugin", &[]);
    let schemes = ["http", "tcp", "unix"].into_iter();
    for scheme in schemes.chain(cfg!(feature = "process").then_some("exec")) {
        assert!(text.contains(&format!("over {scheme}: TaxReply {{ gross: 1464 }}")), "{text}");
    }
    let over_grpc = text.contains("over grpc: TaxReply { gross: 1464 }");
    assert_eq!(over_grpc, cfg!(feature = "grpc"), "{text}");
    assert!(text.contains("the socket is gone: true"), "{text}");
}

#[cfg(all(feature = "grpc", feature = "process", unix))]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn plugin_serves_all_ways_at_once_until_its_stdin_ends() {
    use std::{
        io::{BufRead, BufReader},
        process::Stdio,
    };
    use tower::ServiceExt;
    use tower_upstream::{
        Call, Endpoint, Error, Reply,
        connect::Connect,
        member::Member,
        transport::{ByScheme, GrpcTransport, HttpTransport, SocketTransport},
    };
    let path = std::env::temp_dir().join(format!("tu-all-{}.sock", std::process::id()));
    let port = "127.0.0.1:0";
    let ways = ["--stdio", "--http", port, "--tcp", port, "--unix", path.to_str().unwrap()];
    let mut plugin = Command::new(built("plugin"))
        .args(ways.into_iter().chain(["--grpc", port]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(plugin.stderr.take().unwrap()).lines().map_while(Result::ok);
    let addresses: Vec<_> = told
        .filter_map(|line| line.strip_prefix("listens at ").map(str::to_owned))
        .take(4)
        .collect();
    let transports = ByScheme::new(["http"], HttpTransport::new())
        .or(["unix", "tcp"], SocketTransport::new())
        .or(["grpc"], GrpcTransport::new());
    let gross = serde_json::json!({"gross": 1464});
    let mut schemes = Vec::new();
    for address in addresses {
        let endpoint: Endpoint = address.parse().unwrap();
        schemes.push(endpoint.address().scheme().unwrap().to_owned());
        let call = Call::new(serde_json::json!({"net": 1200}));
        let reply: Result<Reply<serde_json::Value>, Error> =
            transports.connect(&Member::new(endpoint)).oneshot(call).await;
        assert_eq!(*reply.unwrap().body(), gross);
    }
    assert_eq!(schemes, ["http", "tcp", "unix", "grpc"]);
    let mut stdin = plugin.stdin.take().unwrap();
    let line = b"{\"id\":\"r\",\"method\":\"execute\",\"payload\":{\"net\":1200}}\n";
    std::io::Write::write_all(&mut stdin, line).unwrap();
    drop(stdin);
    let output = plugin.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "{\"id\":\"r\",\"result\":{\"gross\":1464}}\n");
    assert!(output.status.success() && !path.exists());
}

#[cfg(all(feature = "process", unix))]
#[test]
fn plugin_is_a_child_of_hosts_in_other_languages() {
    for (interpreter, host) in [("python3", "host.py"), ("node", "host.mjs")] {
        let version = Command::new(interpreter).arg("--version").output();
        if !version.is_ok_and(|output| output.status.success()) {
            println!("SKIP: `{host}` needs `{interpreter}`, which is not here");
            continue;
        }
        let file = format!("{}/tests/peers/{host}", env!("CARGO_MANIFEST_DIR"));
        let address = format!("exec:{}", built("plugin").display());
        let output = Command::new(interpreter).args([file, address]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let right = text.trim().strip_prefix("right: ").and_then(|count| count.parse().ok());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && right.is_some_and(|right: u32| right > 20), "{errors}");
    }
}

#[cfg(unix)]
#[test]
fn plugin_answers_what_it_has_when_it_is_asked_to_stop() {
    use std::{
        io::{BufRead, BufReader, Write},
        os::unix::net::UnixStream,
        process::Stdio,
    };
    let path = std::env::temp_dir().join(format!("tu-example-{}.sock", std::process::id()));
    let mut plugin = Command::new(built("plugin"))
        .args(["--unix", path.to_str().unwrap()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let stream = (0..2_000).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        UnixStream::connect(&path).ok()
    });
    let mut stream = stream.expect("it does not listen");
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let call = br#"{"type":"execute","request_id":"r","data":{"net":1200}}"#;
    stream.write_all(call).unwrap();
    assert!(lines.next().unwrap().unwrap().contains(r#""data":{"gross":1464}"#));
    // What has come by then is answered.
    stream.write_all(call).unwrap();
    let killed = Command::new("kill").args(["-TERM", &plugin.id().to_string()]).status();
    assert!(killed.unwrap().success());
    assert!(lines.next().unwrap().unwrap().contains(r#""data":{"gross":1464}"#));
    assert!(plugin.wait().unwrap().success() && !path.exists());
}

#[cfg(feature = "tower")]
#[test]
fn retry_sends_the_whole_body_again_when_it_is_asked_to() {
    let text = run("retry", &[]);
    assert!(text.starts_with("200 OK after 1 s"), "{text}");
    assert!(text.contains("got `one body that streams`"), "{text}");
}

#[test]
fn key_flood_keeps_memory_flat() {
    let text = run("key_flood", &[]);
    assert!(text.contains("the key that had spent its quota is refused still"), "{text}");
    assert!(text.contains("another 1000000 keys"), "{text}");
    // A megabyte is what a runtime may do on its own.
    let grown = text.lines().find_map(|line| line.strip_prefix("grown by KiB: "));
    assert!(grown.is_some_and(|grown| grown.parse::<i64>().unwrap() <= 1_024), "{text}");
}

#[test]
fn quickstart_loses_no_call() {
    let text = run("quickstart", &["--rate", "200", "--seconds", "10", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["calls"], 2_000, "{text}");
    assert_eq!((&report["failed"], &report["refused"]), (&0.into(), &0.into()), "{text}");
    assert!(report["p99_ms"].is_number() && report["p999_ms"].is_number(), "{text}");
    let endpoints = report["endpoints"].as_object().unwrap();
    assert_eq!(endpoints.len(), 4, "{text}");
    assert!(endpoints.values().all(|answered| answered.as_u64() > Some(0)), "{text}");
}

#[cfg(feature = "grpc")]
#[test]
fn tonic_client_loses_no_call_when_a_server_is_killed() {
    let text = run("tonic_client", &[]);
    assert!(text.contains("a server is killed") && text.contains("failed: 0"), "{text}");
    let refused = "ResourceExhausted: [RATELIMIT_1501] rate limit exceeded; come back: true";
    assert!(text.contains(refused), "{text}");
}

#[test]
fn ten_thousand_checks_are_done_on_time() {
    let text = run("ten_thousand_checks", &["10000", "1000", "2"]);
    let line = text.lines().find_map(|line| line.strip_prefix("checks: ")).expect(&text);
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let (done, due) = (numbers[0], numbers[1]);
    assert!(text.contains("first round: true"), "{text}");
    // How late is left to whoever runs it on a quiet machine.
    assert!((19_000..=21_000).contains(&due) && done.abs_diff(due) <= due / 50, "{text}");
}

/// The same day, with a stack that a file describes.
#[cfg(feature = "yaml")]
#[test]
fn plugins_of_a_file_lose_no_call() {
    let text = run("plugins", &["--rate", "200", "--seconds", "10", "--json"]);
    let day: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&day["calls"], &day["failed"]), (&2_000.into(), &0.into()), "{text}");
}

#[cfg(feature = "yaml")]
#[test]
fn thousand_plugins_are_read_and_made() {
    let text = run("thousand_plugins", &["100"]);
    assert_eq!(text.matches("100 plugins in").count(), 2, "{text}");
}

#[test]
fn quickstart_says_how_to_call_it() {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("examples/quickstart");
    let output = Command::new(built).args(["--rate", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage: quickstart"));
}

#[cfg(all(feature = "tower", feature = "test-util"))]
mod simulate {
    use serde_json::Value;

    use super::run;

    /// At a small scale, twice, with the chart of each: byte for byte the same.
    fn simulated(sim: &str, scale: &str) -> Value {
        let folder = tempdir(sim);
        let simulate = |folder: &str| {
            let args = ["--sim", sim, "--seed", "1", "--scale", scale, "--json", "--svg", folder];
            let text = run("simulate", &args);
            (text, std::fs::read_to_string(format!("{folder}/sim-{sim}.svg")).unwrap())
        };
        let (text, chart) = simulate(&folder);
        assert_eq!(simulate(&folder), (text.clone(), chart.clone()));
        std::fs::remove_dir_all(&folder).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        assert!(report["pass"].is_boolean() && report["seed"] == 1, "{text}");
        assert!(
            chart.starts_with("<svg") && chart.contains(report["default"].as_str().unwrap()),
            "{chart}"
        );
        report
    }

    fn tempdir(name: &str) -> String {
        let folder = format!("tower-upstream-simulate-{}-{name}", std::process::id());
        std::env::temp_dir().join(folder).to_str().unwrap().to_owned()
    }

    /// A figure of a policy where all requests come from one client, or from as few as there are.
    fn figure(report: &Value, policy: &str, name: &str) -> f64 {
        let policies = report["policies"].as_array().unwrap();
        let found = policies.iter().find(|of| of["name"] == policy).expect(policy);
        found["figures"][name].as_f64().expect(name)
    }

    /// `pass` says what the limits say.
    fn passes(report: &Value) -> bool {
        let limits = report["limits"].as_array().unwrap();
        let is_met = |limit: &Value| {
            let (value, of) = (limit["value"].as_f64().unwrap(), |word| limit[word].as_f64());
            of("at_least").is_none_or(|bound| value >= bound)
                && of("at_most").is_none_or(|bound| value <= bound)
                && of("below").is_none_or(|bound| value < bound)
        };
        assert!(!limits.is_empty());
        assert!(limits.iter().all(|limit| limit["pass"] == is_met(limit)), "{report:#}");
        assert_eq!(report["pass"], limits.iter().all(is_met), "{report:#}");
        report["pass"] == true
    }

    #[test]
    fn a_slow_server_keeps_its_share_in_turns_and_loses_it_by_load_and_more_by_latency() {
        let report = simulated("1", "0.2");
        let in_time = |policy| figure(&report, policy, "done_within_1s");
        assert!(in_time("RoundRobin") < 0.96, "{report:#}");
        assert!(in_time("RoundRobin") < in_time("LeastRequest"), "{report:#}");
        assert!(in_time("LeastRequest") < in_time("PeakEwma"), "{report:#}");
        // It gets its share again, sooner than by tower's estimate.
        let again = |policy| figure(&report, policy, "share_50_55s");
        assert!(again("p2c PeakEwma") < 0.5 && again("PeakEwma") > 0.8, "{report:#}");
        assert!(passes(&report), "{report:#}");
    }

    #[test]
    fn a_hot_key_buries_its_server_unless_load_is_bounded() {
        let report = simulated("6", "0.5");
        let affinity = |policy| figure(&report, policy, "affinity");
        let p99 = |policy| figure(&report, policy, "p99_ms");
        let (unbounded, bounded) = ("ConsistentHash, no bound", "ConsistentHash, 1.5");
        assert!(affinity(unbounded) == 1.0 && affinity("LeastRequest") < 0.1, "{report:#}");
        assert!(p99(unbounded) > 10.0 * p99(bounded), "{report:#}");
        assert!(affinity("ConsistentHash, 1.25") < affinity(bounded), "{report:#}");
        assert!(affinity(bounded) < affinity("ConsistentHash, 2.0"), "{report:#}");
        assert!(figure(&report, bounded, "affinity_after") > 0.7, "{report:#}");
    }

    /// At so small a scale caches never fill: what is shown is that it is judged, also by another's figure.
    #[test]
    fn a_fleet_that_is_scaled_up_is_judged_by_its_slowest_batches() {
        let report = simulated("7", "0.05");
        passes(&report);
        let limits = report["limits"].as_array().unwrap();
        let of_another = limits.iter().find(|limit| limit["policy"].is_string()).unwrap();
        let its = figure(&report, of_another["policy"].as_str().unwrap(), "worst_to_steady");
        assert_eq!(of_another["value"].as_f64(), Some(its), "{report:#}");
    }

    #[test]
    fn failing_fast_attracts_requests_unless_failures_count_as_slow() {
        let report = simulated("3", "0.3");
        let failed = |policy| figure(&report, policy, "failed");
        assert!(failed("PeakEwma") < failed("RoundRobin") / 20.0, "{report:#}");
        assert!(failed("RoundRobin") < failed("LeastRequest"), "{report:#}");
        assert!(failed("RoundRobin") < failed("p2c PeakEwma"), "{report:#}");
        // Among them that it gets its share again.
        assert!(passes(&report), "{report:#}");
    }

    #[test]
    fn a_cold_server_that_joins_is_flooded_in_turns_and_warms_up_by_weight() {
        // Of fewer requests, the slowest in a thousand are one, and the same by either rule.
        let report = simulated("4", "0.5");
        let slowest = |policy| figure(&report, policy, "p999_10_25s_ms");
        assert!(slowest("PeakEwma") < slowest("LeastRequest"), "{report:#}");
        assert!(slowest("LeastRequest") < slowest("RoundRobin"), "{report:#}");
        // Nothing is slow before it joins.
        assert!(figure(&report, "RoundRobin", "p999_5_10s_ms") < 60.0, "{report:#}");
        // It gets a small share at first, not none.
        let first = figure(&report, "PeakEwma", "share_first_second");
        assert!((0.02..0.3).contains(&first), "{report:#}");
        let most = figure(&report, "PeakEwma", "most_in_flight_while_cold");
        assert!(most <= 8.0, "{report:#}");
        assert!(figure(&report, "PeakEwma", "share_25_30s") > 0.9, "{report:#}");
        passes(&report);
    }
}

#[cfg(all(feature = "tower", feature = "test-util"))]
#[test]
fn simulate_says_how_to_call_it() {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("examples/simulate");
    for args in [&["--sim", "2"][..], &["--sim", "1", "--scale", "0"], &["--seed", "x"], &[]] {
        let output = Command::new(&built).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: simulate"));
    }
}
