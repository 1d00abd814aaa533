//! `ProcessTransport` with real children, on the real clock.
#![cfg(all(feature = "process", target_os = "linux"))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod process;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use process::{
    Log, Polled, Script, Tax, call, connect, connect_to, exists, kill, new_path, part, pid, play,
    this, until, within, write_script,
};
use rustix::process::Signal;
use tower::{Layer, Service, ServiceExt};
use tower_upstream::{
    BalanceLayer, Call, Endpoint, Error, LeastRequest, Reply,
    connect::Connect,
    discover::Memory,
    error::{Code, Kind},
    member::Member,
    plugin::{Handshake, PluginStatus},
    transport::{
        Multiplex, OutputConfig, ProcessConfig, ProcessFuture, ProcessService, ProcessTransport,
    },
};

/// Not a test: what a child does.
#[test]
fn child() {
    process::play_part();
}

#[tokio::test]
async fn the_lines_are_byte_for_byte_those_of_go() {
    let echo = connect::<u64, String>(part("echo", ""));
    let ask = async |call: Call<u64>| within(echo.clone().oneshot(call)).await.unwrap();
    let whole = Call::new(10)
        .with_id("r-1")
        .with_header("X-Tenant", "blue")
        .with_metadata("trace", "t-9")
        .with_timeout(Duration::from_secs(3))
        .with_max_retries(3);
    let reply = ask(whole).await;
    assert_eq!((reply.request_id(), reply.endpoint()), ("r-1", Some("tax-1")));
    assert_eq!(
        reply.into_body(),
        r#"{"id":"r-1","method":"execute","payload":10,"context":{"request_id":"r-1","timeout":3000000000,"max_retries":3,"headers":{"X-Tenant":"blue"},"metadata":{"trace":"t-9"}}}"#
    );
    // Without a timeout the plugin is told how long the answer is waited for.
    assert_eq!(
        ask(Call::new(1).with_id("<é>")).await.into_body(),
        r#"{"id":"\u003cé\u003e","method":"execute","payload":1,"context":{"request_id":"\u003cé\u003e","timeout":30000000000,"max_retries":0}}"#
    );
}

/// What a call comes to that is answered with `text`, of which `ID` is its id, in parts of `part` bytes.
async fn answered(text: &str, size: usize) -> Result<Reply<u64>, Error> {
    let config = part("say", &format!("{size} {text}")).with_max_line_bytes(1_000);
    let config = config.with_multiplex(Multiplex::Never);
    within(connect::<u64, u64>(config).oneshot(Call::new(7).with_id("r-1"))).await
}

#[tokio::test]
async fn answers_are_read_as_leniently_as_go_reads_them() {
    for (text, number) in [
        (r#"{"id":"ID","result":5}"#, 5),
        (" {\"Id\":\"ID\",\"Result\":5,\t\"unknown\":[{}]}\r", 5),
        (r#"{"id":"ID","result":null,"error":null}"#, 0),
        (r#"{"id":"ID"}"#, 0),
        ("no answer\n[1]\nnull\n{\"id\":\"ID\",\"result\":5}", 5),
    ] {
        for part in [7, 1_000] {
            assert_eq!(*answered(text, part).await.unwrap().body(), number, "{text}");
        }
    }
    let text = r#"{"id":"ID","result":5,"metadata":{"ms":"4"}}"#;
    assert_eq!(answered(text, 1_000).await.unwrap().metadata()["ms"], "4");
    let text = r#"{"id":"ID","result":5,"metadata":{"half":"\ud83d"}}"#;
    assert_eq!(answered(text, 1_000).await.unwrap().metadata()["half"], "\u{fffd}");
}

#[tokio::test]
async fn what_is_no_right_answer_is_an_error() {
    let long = format!(r#"{{"id":"ID","result":"{}"}}"#, "x".repeat(1_000));
    for (text, kind, code, part) in [
        (
            r#"{"id":"ID","error":"no rate table"}"#,
            Kind::Plugin,
            Code::REGISTRY_1903,
            "subprocess execution failed: no rate table",
        ),
        (
            r#"{"id":"other","result":5,"error":""}"#,
            Kind::Plugin,
            Code::REGISTRY_1903,
            "subprocess execution failed",
        ),
        (
            r#"{"id":"other","result":5}"#,
            Kind::Transport,
            Code::RPC_2003,
            "response request ID mismatch: `other` instead of `r-1`",
        ),
        (r#"{"error":"bad"}"#, Kind::Plugin, Code::REGISTRY_1903, "execution failed: bad"),
        (
            r#"{"id":"ID","error":"[AUTH_1101] who are you"}"#,
            Kind::Plugin,
            Code::AUTH_1101,
            "execution failed: who are you",
        ),
        (
            r#"{"id":"ID","error":"[RATELIMIT_1501] x","status":429,"retry_after_ms":1500}"#,
            Kind::RateLimited,
            Code::RATELIMIT_1501,
            "retry after 1.",
        ),
        (
            r#"{"id":"ID","error":"[CIRCUIT_1401] wait","status":503}"#,
            Kind::Transport,
            Code::CIRCUIT_1401,
            "execution failed: wait",
        ),
        (r#"{"result":5}"#, Kind::Transport, Code::RPC_2003, "ID mismatch: `` instead of"),
        (
            r#"{"id":"ID","result":"five"}"#,
            Kind::Transport,
            Code::RPC_2005,
            "failed to decode response",
        ),
        (&long, Kind::Transport, Code::TRANSPORT_1304, "1000 bytes (`max_line_bytes`)"),
    ] {
        let error = answered(text, 1_000).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, code), "{text}: {error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!error.is_unsent() && !error.is_refused(), "{error}");
        assert_eq!(error.endpoint(), Some("tax-1"));
    }
}

#[tokio::test]
async fn a_plugin_that_announces_it_is_sent_many_calls_at_once_and_each_gets_its_answer() {
    let service = play("reverse", "20");
    // It has said so.
    assert_eq!(service.info().await.unwrap().capabilities, ["multiplex"]);
    let calls = (0..20).map(|number| {
        // Also those that have the same id.
        let call = Call::new(number).with_id(if number % 2 == 0 { "same" } else { "~" });
        let called = service.clone().oneshot(call);
        async move { (within(called).await.unwrap().into_body(), number * 2) }
    });
    let answers = join_all(calls).await;
    assert!(answers.iter().all(|(found, right)| found == right), "{answers:?}");
}

#[tokio::test]
async fn another_is_sent_one_call_after_another() {
    for (multiplex, alone) in [(Multiplex::Announced, true), (Multiplex::Always, false)] {
        let service: Tax = connect(part("count", "").with_multiplex(multiplex));
        let calls = (0..10).map(|number| call(&service, number));
        let more = join_all(calls).await.into_iter().map(|more| more.unwrap());
        assert_eq!(more.clone().all(|more| more == 0), alone, "{:?}", more.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_disturbs_neither_the_child_nor_the_other_calls() {
    for name in ["serial", "multiplex"] {
        let service = play(name, "");
        let child = pid(&service).await;
        for _ in 0..3 {
            let late = Call::new(1_000_200).with_id("r").with_timeout(Duration::from_millis(50));
            let late = service.clone().oneshot(late);
            let (late, other) = tokio::join!(late, call(&service, 1));
            let error = late.unwrap_err();
            assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, false), "{error}");
            assert_eq!(other.unwrap(), 2);
            // With the same id, before the answer of before has come.
            let again = Call::new(4).with_id("r");
            assert_eq!(within(service.clone().oneshot(again)).await.unwrap().into_body(), 8);
        }
        assert_eq!(pid(&service).await, child);
        assert!(!service.info().await.unwrap().metadata.contains_key("restarts"));
    }
}

#[tokio::test]
async fn calls_that_wait_for_their_turn_keep_their_deadlines_and_are_not_sent_late() {
    let service = play("serial", "");
    pid(&service).await;
    let long = service.clone().oneshot(Call::new(1_000_300));
    let short = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let waits = Call::new(1).with_timeout(Duration::from_millis(50));
        service.clone().oneshot(waits).await.unwrap_err()
    };
    let (long, error) = tokio::join!(long, short);
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, true), "{error}");
    assert_eq!(long.unwrap().into_body(), 2_000_600);
}

async fn hangs<Req: serde::Serialize>(name: &str, body: Req) {
    let hang = Duration::from_millis(100);
    let config = part(name, "").with_hang_timeout(hang).with_request_timeout(hang);
    let service = connect::<Req, u64>(config.with_multiplex(Multiplex::Never));
    let pid = async || Some(service.info().await.ok()?.metadata["pid"].clone());
    let child = pid().await;
    let error = within(service.clone().oneshot(Call::new(body))).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, false), "{error}");
    within(async {
        while pid().await.is_none_or(|pid| Some(pid) == child) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_plugin_that_never_answers_or_never_reads_is_started_again() {
    hangs("serial", 1_060_000_u64).await;
    hangs("deaf", "x".repeat(200_000)).await;
}

#[tokio::test]
async fn an_exit_is_noticed_at_once_and_what_was_not_read_goes_to_the_next() {
    for (reads, count) in [(0, 5), (2, 5), (5, 5)] {
        let file = new_path("left");
        let more = format!("{reads} {}", file.display());
        let service: Tax = connect(part("leave", &more).with_multiplex(Multiplex::Always));
        let calls = (0..count).map(|number| call(&service, number));
        let answers = within(join_all(calls)).await;
        for (number, answer) in (0..).zip(answers) {
            match answer {
                Ok(answer) => assert!(number >= reads && answer == number * 2, "{number}"),
                Err(error) => {
                    assert!(number < reads, "{number} of {reads}: {error}");
                    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false));
                    assert!(error.to_string().contains("exit status: 3"), "{error}");
                }
            }
        }
        let _ = std::fs::remove_file(format!("{}.gone", file.display()));
        let _ = std::fs::remove_file(file);
    }
}

#[tokio::test]
async fn a_plugin_that_cannot_live_is_offline_until_it_can() {
    let file = new_path("alive");
    let config = part("fragile", file.to_str().unwrap()).with_multiplex(Multiplex::Never);
    let service: Tax = connect(config);
    let error = within(async {
        loop {
            match call(&service, 1).await {
                Err(error) if error.retry_after().is_some() => break error,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
    assert!(error.to_string().contains("exit status: 7"), "{error}");
    let health = service.health().await;
    assert_eq!(health.metadata["transport"], "exec");
    assert!(health.metadata["restarts"].parse::<u32>().unwrap() > 1);
    std::fs::write(&file, "").unwrap();
    within(async { while call(&service, 4).await.ok() != Some(8) {} }).await;
    let health = service.health().await;
    assert_eq!((health.status, &*health.metadata["status"]), (PluginStatus::Healthy, "running"));
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn what_cannot_be_started_is_unsent_and_offline() {
    let no_program = new_path("none");
    std::fs::write(&no_program, "x").unwrap();
    for (address, part) in [
        (format!("exec:{}", new_path("missing").display()), "No such file"),
        (format!("exec:{}", no_program.display()), "Permission denied"),
        ("exec:/tmp".to_owned(), "it is no file"),
    ] {
        let service: Tax = connect_to(&address, ProcessConfig::default());
        let error = call(&service, 1).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        let health = service.health().await;
        assert_eq!(health.status, PluginStatus::Offline);
        assert!(health.message.contains(part), "{}", health.message);
    }
    std::fs::remove_file(no_program).unwrap();
    // The system says of each of these that no such file is there, and not which.
    let script = new_path("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let nowhere = ProcessConfig::default().with_work_dir("/no/such/directory");
    for (path, config) in
        [(&script, ProcessConfig::default()), (&std::env::current_exe().unwrap(), nowhere)]
    {
        let service: Tax = connect_to(&format!("exec:{}", path.display()), config);
        let said = call(&service, 1).await.unwrap_err().to_string();
        assert!(said.contains("the program is there, but not what runs it"), "{said}");
    }
    std::fs::remove_file(script).unwrap();
    for address in ["http://a:1", "exec:/a/../b"] {
        let error = call(&connect_to(address, ProcessConfig::default()), 1).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidConfig, true), "{error}");
    }
}

#[tokio::test]
async fn it_gets_a_clean_environment_and_its_arguments_as_they_are() {
    let ask = async |config: ProcessConfig, what: &str| {
        let service = connect::<String, BTreeMap<String, String>>(config);
        within(service.oneshot(Call::new(what.to_owned()))).await.unwrap().into_body()
    };
    let mut env = ask(part("place", "a"), "env").await;
    // Of the harness, of the test.
    env.retain(|name, _| name != "RUST_BACKTRACE");
    let names: Vec<_> = env.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "AGILIRA_PLUGIN_MAGIC_COOKIE",
            "PLUGIN_NAME",
            "PLUGIN_PROTOCOL_VERSION",
            "PLUGIN_SERVER_ADDRESS",
            "PLUGIN_SERVER_PORT",
            "PLUGIN_TYPE",
            "PLUGIN_VERSION",
            "TU_MORE",
            "TU_PART",
        ]
    );
    let one = ask(part("place", "a").with_inherit_env(["PATH", "NO_SUCH"]), "env").await;
    assert!(one.contains_key("PATH") && one.len() == env.len() + 1, "{one:?}");
    let all = part("place", "a").with_inherit_env(["*"]).with_env("PATH", "mine");
    let all = ask(all.with_env("PLUGIN_TYPE", "x"), "env").await;
    assert!(all.len() > env.len() && all["PATH"] == "mine" && all["PLUGIN_TYPE"] == "grpc");

    // Of a listener of the host.
    let mut handshake = Handshake::default();
    (handshake.server_address, handshake.server_port) = ("127.0.0.1".to_owned(), 4_711);
    let told = ask(part("place", "a").with_handshake(handshake), "env").await;
    let told = ["PLUGIN_SERVER_ADDRESS", "PLUGIN_SERVER_PORT"].map(|name| &*told[name]);
    assert_eq!(told, ["127.0.0.1", "4711"]);

    let dir = std::env::temp_dir().canonicalize().unwrap();
    let mut config = part("place", "").with_work_dir(dir.to_str().unwrap());
    // The harness would take others for its own.
    config.args.extend(["--skip".to_owned(), "$HOME; `x` | 'y' & \"z\"".to_owned()]);
    let place = ask(config, "place").await;
    assert!(place["args"].ends_with("|--skip|$HOME; `x` | 'y' & \"z\""), "{place:?}");
    assert_eq!(place["dir"], dir.display().to_string());

    let config = part("place", "")
        .with_max_open_files(50)
        .with_max_memory_bytes(8 << 30)
        .with_max_cpu_seconds(77);
    let limits = ask(config, "limits").await;
    assert_eq!(limits["Max open files"], "50");
    assert_eq!(limits["Max address space"], (8_u64 << 30).to_string());
    assert_eq!(limits["Max cpu time"], "77");
}

#[tokio::test]
async fn what_it_says_beside_its_answers_is_logged_and_never_stops_it() {
    let log = Log(Default::default(), "tower_upstream::plugin");
    let guard = tracing::subscriber::set_default(log.clone());
    let output = OutputConfig::default().with_max_line_bytes(100);
    let service: Tax = connect(part("chatty", "").with_output(output));
    assert_eq!(call(&service, 3_000_000).await.unwrap(), 6_000_000);
    let child = pid(&service).await;
    drop(service);
    until("it has ended", || !exists(child)).await;
    let has_ended = |lines: &[String]| lines.iter().any(|line| line.contains("the end"));
    until("all was logged", || has_ended(&log.0.lock().unwrap())).await;
    drop(guard);
    let lines = std::mem::take(&mut *log.0.lock().unwrap());
    assert!(lines.iter().all(|line| line.contains("plugin=\"tax-1\"") && line.len() < 250));
    let said = |stream: &str, text: &str| {
        let wanted = format!("message={text} ");
        lines.iter().any(|line| line.contains(&wanted) && line.contains(stream))
    };
    for text in ["started", "\u{fffd}[31mred", "\u{fffd}", &"x".repeat(100), &"x".repeat(50)] {
        assert!(said("stderr", text), "{text}: {:?}", &lines[..10]);
    }
    assert!(said("stdout", "warming up") && said("stdout", "{\"level\":\"info\"}"));
    let long: usize = lines.iter().map(|line| line.matches('y').count()).sum();
    assert!(long >= 3_000_000, "{long}");
}

/// What is logged of a plugin that says some things, is asked something, and ends once `is_said` was.
async fn logged(output: OutputConfig, is_said: impl Fn(&str) -> bool) -> Vec<String> {
    let log = Log(Default::default(), "tower_upstream::plugin");
    let _guard = tracing::subscriber::set_default(log.clone());
    let service: Tax = connect(part("chatty", "").with_output(output));
    assert_eq!(call(&service, 3).await.unwrap(), 6);
    until("it is logged", || log.0.lock().unwrap().iter().any(|line| is_said(line))).await;
    drop(service);
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    until("it has ended", || alive() == 0).await;
    log.0.lock().unwrap().clone()
}

#[tokio::test]
async fn each_key_of_the_output_has_an_effect() {
    let is_of = |lines: &[String], stream| {
        lines.iter().any(|line| line.contains(&format!("stream=\"{stream}\"")))
    };
    let output = OutputConfig::default;
    // Without one of the streams, which is read all the same.
    let lines = logged(output().with_stdout(false), |line| line.contains("=started ")).await;
    assert!(!is_of(&lines, "stdout"), "{lines:?}");
    let narrow = output().with_stderr(false).with_max_line_bytes(5);
    let lines = logged(narrow, |line| line.contains("=ng up ")).await;
    assert!(!is_of(&lines, "stderr"), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("=warmi ")), "{lines:?}");
    // Whatever was read at once, up to so many bytes.
    let by_chunk = output().with_line_buffered(false).with_max_line_bytes(40);
    let lines = logged(by_chunk, |line| line.contains("xx")).await;
    assert!(lines.iter().any(|line| line.contains("=started\u{fffd}\\n\\n")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains(&"x".repeat(41))), "{lines:?}");
    // The start of a line, whose end does not come while the plugin lives.
    let flushed = output().with_flush_interval(Duration::from_millis(1));
    logged(flushed, |line| line.contains("=yyy ")).await;
    let lines = logged(output().with_prefix(""), |line| line.contains("red")).await;
    for text in ["=[tax-1]:stderr started ", "=[tax-1]:stdout warming up "] {
        assert!(lines.iter().any(|line| line.contains(text)), "{lines:?}");
    }
    let stamped = output().with_prefix("plugin").with_timestamps(true);
    let lines = logged(stamped, |line| line.contains("red")).await;
    let is_stamped = |line: &String| {
        let rest = line.split_once("=plugin:stderr [20").map(|(_, rest)| rest);
        rest.and_then(|rest| rest.split_once("] started ")).is_some_and(|(at, _)| at.len() == 21)
    };
    assert!(lines.iter().any(is_stamped), "{lines:?}");
}

#[tokio::test]
async fn it_ends_with_the_last_service_and_what_it_started_too() {
    // By the end of its stdin.
    let service = play("serial", "");
    let clone = service.clone();
    let child = pid(&service).await;
    let last = service.clone().oneshot(Call::new(1_000_100));
    let last = tokio::spawn(last);
    drop(service);
    assert_eq!(call(&clone, 2).await.unwrap(), 4);
    drop(clone);
    assert_eq!(within(last).await.unwrap().unwrap().into_body(), 2_000_200);
    until("it has ended", || !exists(child)).await;

    // By itself, with something left behind; or by signals, of which it catches none, one, or both.
    let runs = "while :; do sleep 0.05; done";
    for (trap, body, most) in [
        ("", "cat > /dev/null", 2_000),
        ("", runs, 2_000),
        ("trap 'exit 0' TERM", runs, 2_000),
        ("trap '' TERM", runs, 4_000),
    ] {
        let children = new_path("children");
        let script = Script::new(&format!(
            "#!/bin/sh\n{trap}\nsleep 1000 &\necho $$ $! > {0}.new\nmv {0}.new {0}\n{body}\n",
            children.display()
        ));
        let config = part("", "").with_multiplex(Multiplex::Never).with_inherit_env(["PATH"]);
        let service: Tax = connect_to(&script.address(), config.with_args([""; 0]));
        service.health().await;
        until("it has started", || children.exists()).await;
        let started = std::fs::read_to_string(&children).unwrap();
        let pids: Vec<i32> = started.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        assert!(pids.iter().all(|pid| exists(*pid)), "{pids:?}");
        drop(service);
        let stopping = until("all have ended", || {
            !exists(pids[0]) && (!exists(pids[1]) || process::is_zombie(pids[1]))
        });
        tokio::time::timeout(Duration::from_millis(most), stopping).await.expect(trap);
        std::fs::remove_file(children).unwrap();
    }
}

#[tokio::test]
async fn a_call_may_be_dropped_at_any_point_and_the_next_gets_its_own_answer() {
    for name in ["serial", "multiplex"] {
        let service = play(name, "");
        pid(&service).await;
        let mut points = 0;
        for polls in 0.. {
            let future = Some(Box::pin(service.clone().oneshot(Call::new(1_000_001))));
            let whole = Polled { future, left: polls }.await.is_some();
            points = if whole { polls } else { points };
            assert_eq!(call(&service, 2).await.unwrap(), 4, "dropped after {polls} polls");
            if points > 0 {
                break;
            }
        }
        // Before it starts.
        let service = play(name, "");
        let future = Some(Box::pin(service.clone().oneshot(Call::new(1))));
        assert!(Polled { future, left: 1 }.await.is_none());
        assert_eq!(call(&service, 2).await.unwrap(), 4);
        // Until one is dropped before its answer: on a busy machine that may come within the poll.
        let health = || Polled { future: Some(Box::pin(service.health())), left: 1 };
        while health().await.is_some() {}
        assert!(service.health().await.status.is_usable());
    }
}

#[tokio::test]
async fn at_the_cap_a_service_is_not_ready_until_a_call_has_ended() {
    let service: Tax = connect(part("multiplex", "").with_max_calls(2));
    let mut readied = [service.clone(), service.clone()];
    for service in &mut readied {
        service.ready().await.unwrap();
    }
    let mut third = tokio_test::task::spawn(service.clone());
    assert!(third.enter(|cx, mut service| service.poll_ready(cx)).is_pending());
    let [mut first, second] = readied;
    let dropped = first.call(Call::new(1));
    drop(dropped);
    drop(second);
    assert!(third.is_woken());
    assert!(third.enter(|cx, mut service| service.poll_ready(cx)).is_ready());
}

#[tokio::test]
async fn a_program_that_is_replaced_runs_on_and_its_successor_is_another_endpoint() {
    let plugin = |number: u32| {
        format!(
            "#!/bin/sh\nwhile read -r line; do id=${{line#*\\\"id\\\":\\\"}}; id=${{id%%\\\"*}}; \
             echo \"{{\\\"id\\\":\\\"$id\\\",\\\"result\\\":{number}}}\"; done\n"
        )
    };
    let script = Script::new(&plugin(1));
    let config = part("", "").with_args([""; 0]).with_multiplex(Multiplex::Never);
    let transport = ProcessTransport::<u64, u64>::with_config(config);
    let member = |key: &str| Member::new(Endpoint::new(script.address()).unwrap().with_key(key));
    let old = transport.connect(&member("old"));
    assert_eq!(call(&old, 0).await.unwrap(), 1);
    let first = pid(&old).await;
    assert!(!old.health().await.metadata.contains_key("replaced"));

    write_script(&script.0, &plugin(2));
    assert_eq!(call(&old, 0).await.unwrap(), 1);
    let health = old.health().await;
    assert_eq!((health.status, &*health.metadata["replaced"]), (PluginStatus::Healthy, "true"));
    // The same again, if it has to be started again.
    kill(first, Signal::KILL);
    until("it is reaped", || !exists(first)).await;
    assert_eq!(call(&old, 0).await.unwrap(), 1);
    let second = pid(&old).await;
    assert_ne!(second, first);

    let new = transport.connect(&member("new"));
    assert_eq!(call(&new, 0).await.unwrap(), 2);
    drop(old);
    until("the old one has ended", || !exists(second)).await;
    assert_eq!(call(&new, 0).await.unwrap(), 2);
    // One that is written to is nowhere any more.
    kill(pid(&new).await, Signal::KILL);
    std::fs::write(&script.0, plugin(3)).unwrap();
    within(async { while call(&new, 0).await.ok() != Some(3) {} }).await;
    assert!(!new.health().await.metadata.contains_key("replaced"));
}

/// A member with the same program, beside the old one, which is taken away: under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_when_an_endpoint_is_replaced() {
    let endpoint = |key: usize| Endpoint::new(this()).unwrap().with_key(format!("tax-{key}"));
    let endpoints = Memory::new([endpoint(0)]).unwrap();
    let balanced = BalanceLayer::new(endpoints.clone(), LeastRequest::new())
        .layer(ProcessTransport::<u64, u64>::with_config(part("multiplex", "")));
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let is_over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4_u64)
        .map(|caller| {
            let (balanced, seen, is_over) = (balanced.clone(), seen.clone(), is_over.clone());
            tokio::spawn(async move {
                for number in (0..).take_while(|_| !is_over.load(SeqCst)) {
                    // Some take a while.
                    let number = if number % 10 == 0 { 1_000_020 } else { caller * 1_000 + number };
                    let reply = within(balanced.clone().oneshot(Call::new(number))).await.unwrap();
                    seen.lock().unwrap().insert(reply.endpoint().unwrap().to_owned());
                    assert_eq!(reply.into_body(), number * 2);
                }
            })
        })
        .collect();
    for key in 0..4 {
        endpoints.insert(endpoint(key)).unwrap();
        until("it is called", || seen.lock().unwrap().contains(&format!("tax-{key}"))).await;
        if key > 0 {
            assert!(endpoints.remove(&format!("tax-{}", key - 1)));
        }
    }
    is_over.store(true, SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn new_settings_hold_for_the_next_call_and_for_the_next_process() {
    let transport = ProcessTransport::<u64, u64>::with_config(part("serial", ""));
    let service = transport.connect(&Member::new(Endpoint::new(this()).unwrap()));
    let child = pid(&service).await;
    let handle = transport.handle();
    assert!(handle.update(&part("serial", "").with_max_calls(0)).is_err());
    assert_eq!(handle.config(), part("serial", ""));
    let update = part("multiplex", "").with_request_timeout(Duration::from_millis(100));
    handle.update(&update).unwrap();
    let error = call(&service, 1_000_300).await.unwrap_err();
    assert!(error.to_string().contains("within 100ms (`request_timeout`)"), "{error}");
    assert_eq!((handle.stats().failed, handle.stats().ignored), (Some(1), Some(0)));
    assert_eq!(pid(&service).await, child);
    kill(child, Signal::KILL);
    until("it is reaped", || !exists(child)).await;
    within(async {
        while service.info().await.is_ok_and(|info| info.capabilities != ["multiplex"]) {}
    })
    .await;
}

#[tokio::test]
async fn health_is_what_the_plugin_says_where_it_describes_itself() {
    for (multiplex, message) in
        [(Multiplex::Announced, "fine"), (Multiplex::Never, "subprocess running and responsive")]
    {
        let service: Tax = connect(part("serial", "").with_multiplex(multiplex));
        service.info().await.unwrap();
        let health = service.health().await;
        assert_eq!((health.status, &*health.message), (PluginStatus::Healthy, message));
        assert!(health.last_check.is_some() && health.metadata.contains_key("started_at"));
        assert!(exists(health.metadata["pid"].parse().unwrap()));
    }
    // One that works on a call is not asked, and one that does not know the question is not told of it.
    let service = play("serial", "");
    pid(&service).await;
    let (answer, health) = tokio::join!(call(&service, 1_000_100), async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        service.health().await
    });
    assert_eq!(
        (answer.unwrap(), &*health.message),
        (2_000_200, "subprocess running and responsive")
    );
}

#[tokio::test]
async fn a_call_that_is_too_late_or_cannot_be_written_is_not_sent() {
    let service = play("serial", "");
    let late = Call::new(1).with_timeout(Duration::ZERO);
    let error = service.oneshot(late).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, true), "{error}");
    let bad = BTreeMap::from([((1, 2), 3)]);
    let service = connect::<_, u64>(part("serial", ""));
    let error = service.oneshot(Call::new(bad)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidConfig, true), "{error}");
}

#[test]
fn without_a_runtime_there_is_an_error_not_a_panic() {
    let mut service = play("serial", "");
    let future = pin!(service.call(Call::new(1)));
    let error = futures::executor::block_on(future).unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Unavailable, true));
}

#[test]
fn the_child_of_a_runtime_that_has_ended_is_killed_and_another_takes_its_place() {
    let service = play("serial", "");
    let mut before = None;
    for number in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(call(&service, number)).unwrap(), number * 2);
        let child = runtime.block_on(pid(&service));
        assert_ne!(before.replace(child), Some(child));
        // Halfway.
        let mut waits = Box::pin(service.clone().oneshot(Call::new(1_060_000)));
        let polled = runtime.block_on(async {
            let polled = futures::poll!(&mut waits);
            tokio::time::sleep(Duration::from_millis(20)).await;
            polled
        });
        assert!(polled.is_pending());
        drop(runtime);
        let error = futures::executor::block_on(waits).unwrap_err();
        assert_eq!(error.kind(), Kind::Connection, "{error}");
        assert!(error.to_string().contains("runtime"), "{error}");
        let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        waiting.block_on(until("it is reaped", || !exists(child)));
    }
}

#[test]
fn services_and_futures_go_anywhere() {
    struct NotEvenDebug(#[allow(dead_code)] std::cell::Cell<u8>);
    fn is_fit<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    is_fit::<ProcessTransport<NotEvenDebug, NotEvenDebug>>();
    is_fit::<ProcessService<NotEvenDebug, NotEvenDebug>>();
    fn is_sendable<T: Send + 'static>() {}
    is_sendable::<ProcessFuture<NotEvenDebug>>();
}

#[tokio::test]
async fn a_handshake_that_is_refused_is_told_from_one_that_takes_too_long() {
    let refuses = Script::new(
        "#!/bin/sh\n[ \"$AGILIRA_PLUGIN_MAGIC_COOKIE\" = other ] || exit 3\nexec sleep 60\n",
    );
    let config = ProcessConfig::default()
        .with_inherit_env(["PATH"])
        .with_stop_grace(Duration::from_millis(100))
        .with_request_timeout(Duration::from_millis(300));
    let ends: Tax = connect_to(&refuses.address(), config.clone());
    let error = call(&ends, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.is_timeout()), (Kind::Connection, false), "{error}");
    assert!(error.is_unsent() && error.to_string().contains("exit status: 3"), "{error}");
    assert_eq!(error.code(), Code::RPC_2002, "{error}");
    assert!(error.to_string().contains("handshake refused"), "{error}");
    let mut handshake = Handshake::default();
    handshake.magic_cookie_value = "other".to_owned();
    let hangs: Tax = connect_to(&refuses.address(), config.with_handshake(handshake));
    let error = call(&hangs, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.is_timeout()), (Kind::Timeout, true), "{error}");
    assert_eq!(error.code(), Code::RPC_2002, "{error}");
    assert!(error.to_string().contains("handshake timeout"), "{error}");
    // It did answer: a call that takes too long is no handshake, nor is the end of one that had read it.
    let answers =
        connect::<u64, u64>(part("serial", "").with_request_timeout(Duration::from_millis(300)));
    answers.info().await.unwrap();
    let error = call(&answers, 1_000_600).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Timeout, Code::PLUGIN_1204), "{error}");
}
