//! `serve::stdio` over streams of the test, and over the stdin and stdout of a child.
#![cfg(all(feature = "process", target_os = "linux"))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod process;

use std::{
    future::pending,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use process::{connect, exists, kill, new_path, part, until, within};
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncReader, duplex},
    time::sleep,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Call, ConcurrencyLimitLayer, Error, Quota, RateLimitLayer, Reply,
    error::{Code, Kind},
    plugin::{Handshake, HealthStatus, PluginInfo, PluginStatus},
    serve::{self, StdioConfig},
    transport::ProcessService,
};

/// Not a test: what a child does.
#[test]
fn child() {
    let Ok(part) = std::env::var("TU_PART") else { return };
    let more = std::env::var("TU_MORE").unwrap_or_default();
    std::io::stdout().write_all(b"\n").unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let info = PluginInfo::new("double", "1.0.0");
    let config = StdioConfig::default().with_require_handshake(part == "strict");
    let plugin = serve::stdio(service_fn(double)).info(info).config(config);
    let ended = runtime.unwrap().block_on(plugin.run());
    if !more.is_empty() {
        std::fs::write(&more, format!("{ended:?}")).unwrap();
    }
    println!("it is over");
    std::process::exit(i32::from(ended.is_err()));
}

async fn double(call: Call<u64>) -> Result<Reply<u64>, std::io::Error> {
    let number = *call.body();
    match number {
        0 => return Err(std::io::Error::other("nothing to double")),
        1 => panic!("one too many"),
        2 => {
            println!("half a line, by mistake: {{\"id\":");
            // A child of the plugin reads nothing that is meant for the plugin.
            Command::new("/bin/cat").status()?;
        }
        1_000_000.. => sleep(Duration::from_millis(number - 1_000_000)).await,
        _ => {}
    }
    let reply = Reply::new(number * 2).with_metadata("id", call.id());
    let headers = call.headers().iter().map(|(name, value)| format!("{name}={value}"));
    let told =
        headers.chain(call.timeout().map(|timeout| format!("{timeout:?}"))).collect::<Vec<_>>();
    Ok(reply.with_metadata("told", told.join(" ")))
}

/// What lines come back for `lines`.
async fn answers(config: StdioConfig, lines: &str) -> Vec<String> {
    let mut output = std::io::Cursor::new(Vec::new());
    let plugin = serve::stdio(service_fn(double)).info(PluginInfo::new("double", "1.0.0"));
    let plugin = plugin
        .config(config)
        .health(async || HealthStatus::new(PluginStatus::Degraded).with_message("cold"));
    within(plugin.run_over(lines.as_bytes(), &mut output, pending())).await.unwrap();
    String::from_utf8(output.into_inner()).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn each_line_is_answered_by_one_line() {
    let config = || StdioConfig::default().with_max_line_bytes(300).with_max_calls(1);
    for (line, answer) in [
        (
            r#"{"id":"r-1~2","method":"execute","payload":10,"context":{"request_id":"r-1","timeout":30000000000,"max_retries":3,"headers":{"X-Tenant":"<blue>"}}}"#,
            r#"{"id":"r-1~2","result":20,"metadata":{"id":"r-1","told":"X-Tenant=\u003cblue\u003e 30s"}}"#,
        ),
        (
            r#"{"METHOD":"execute","Payload":null,"id":"r","x":[]}"#,
            r#"{"id":"r","error":"nothing to double"}"#,
        ),
        (
            r#"{"id":"r","method":"info"}"#,
            r#"{"id":"r","result":{"name":"double","version":"1.0.0","capabilities":["multiplex"]}}"#,
        ),
        (
            r#"{"id":"r","method":"execute","payload":1}"#,
            r#"{"id":"r","error":"the plugin panicked"}"#,
        ),
        (r#"{"id":"r","method":"dance"}"#, r#"{"id":"r","error":"unknown method `dance`"}"#),
    ] {
        assert_eq!(answers(config(), line).await, [answer]);
        assert_eq!(answers(config(), &format!("\n \r\n{line}\r\n\n{line}\n")).await, [answer; 2]);
    }
    let health = answers(config(), r#"{"id":"r","method":"health"}"#).await;
    assert!(
        health[0].starts_with(r#"{"id":"r","result":{"status":2,"message":"cold","last_check":"2"#)
    );
    for (line, id, part) in [
        ("rubbish", "", "this is no call: "),
        ("{\"id\":\"r\",", "", "this is no call: "),
        (r#"{"id":"r","method":"execute","payload":"x"}"#, "r", "this is no call: "),
        (&format!(r#"{{"id":"r","payload":"{}"}}"#, "x".repeat(300)), "r", "more than 300 bytes"),
    ] {
        let lines = format!("{line}\n{{\"id\":\"s\",\"method\":\"execute\",\"payload\":4}}\n");
        let all = answers(config(), &lines).await;
        assert!(
            all[0].starts_with(&format!(r#"{{"id":"{id}","error":"this is no call"#)),
            "{all:?}"
        );
        assert!(all[0].contains(part) && all[1].starts_with(r#"{"id":"s","result":8"#), "{all:?}");
    }
}

#[tokio::test]
async fn a_refusal_tells_when_to_come_back() {
    let quota = RateLimitLayer::new(Quota::per_second(1).burst(1));
    let plugin = ServiceBuilder::new().layer(quota).service(service_fn(double));
    let line = "{\"id\":\"r\",\"method\":\"execute\",\"payload\":4}\n".repeat(2);
    let mut output = std::io::Cursor::new(Vec::new());
    within(serve::stdio(plugin).run_over(line.as_bytes(), &mut output, pending())).await.unwrap();
    let text = String::from_utf8(output.into_inner()).unwrap();
    let refused = text.lines().find(|line| line.contains("error")).unwrap();
    assert!(refused.contains("[RATELIMIT_1501]") && refused.contains(r#""status":429"#), "{text}");
    assert!(refused.contains(r#""retry_after_ms":"#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn calls_are_made_at_once_up_to_the_limit_and_answered_as_they_end() {
    let (host, plugin) = duplex(1 << 16);
    let (input, output) = tokio::io::split(plugin);
    let config = StdioConfig::default().with_max_calls(2);
    let limited =
        ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(2)).service(service_fn(double));
    let running =
        tokio::spawn(serve::stdio(limited).config(config).run_over(input, output, pending()));
    let (read, mut write) = tokio::io::split(host);
    for (id, number) in [("slow", 1_005_000), ("a", 1_001_000), ("b", 1_001_000), ("c", 3)] {
        let line = format!("{{\"id\":\"{id}\",\"method\":\"execute\",\"payload\":{number}}}\n");
        write.write_all(line.as_bytes()).await.unwrap();
    }
    let mut lines = AsyncReader::new(read).lines();
    for id in ["a", "b", "c", "slow"] {
        let line = lines.next_line().await.unwrap().unwrap();
        assert!(line.starts_with(&format!(r#"{{"id":"{id}","result":"#)), "{line}");
    }
    write.shutdown().await.unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_stops_once_what_it_has_read_is_answered_or_takes_too_long() {
    for (drain, answered) in [(10, true), (1, false)] {
        let (host, plugin) = duplex(1 << 16);
        let (input, output) = tokio::io::split(plugin);
        let config = StdioConfig::default().with_drain_timeout(Duration::from_secs(drain));
        let stop = sleep(Duration::from_secs(1));
        let plugin = serve::stdio(service_fn(double)).config(config);
        let running = tokio::spawn(plugin.run_over(input, output, stop));
        let (mut read, mut write) = tokio::io::split(host);
        let line = b"{\"id\":\"r\",\"method\":\"execute\",\"payload\":1005000}\n";
        write.write_all(line).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        // Too late to be read.
        let _ = write.write_all(line).await;
        running.await.unwrap().unwrap();
        drop(write);
        let mut text = String::new();
        let _ = read.read_to_string(&mut text).await;
        assert_eq!(text.lines().count(), usize::from(answered), "{text}");
    }
}

type Double = ProcessService<u64, u64>;

async fn reply(service: &Double, number: u64) -> Result<u64, Error> {
    within(service.clone().oneshot(Call::new(number))).await.map(Reply::into_body)
}

#[tokio::test]
async fn a_child_of_ours_serves_a_host_of_ours() {
    let ended = new_path("ended");
    let service: Double = connect(part("strict", ended.to_str().unwrap()));
    let info = service.info().await.unwrap();
    assert_eq!((&*info.name, &*info.capabilities), ("double", &["multiplex".to_owned()][..]));
    let answers = futures::future::join_all((10..60).map(|number| reply(&service, number))).await;
    for (number, answer) in (10..).zip(answers) {
        assert_eq!(answer.unwrap(), number * 2);
    }
    // It prints, and starts a child that reads.
    assert_eq!(reply(&service, 2).await.unwrap(), 4);
    let error = reply(&service, 0).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Plugin, Code::REGISTRY_1903), "{error}");
    assert!(reply(&service, 1).await.unwrap_err().to_string().contains("panicked"));
    let health = service.health().await;
    assert_eq!((health.status, &*health.message), (PluginStatus::Healthy, "OK"));
    // The end of its stdin, while it works.
    let last = tokio::spawn(service.clone().oneshot(Call::new(1_000_100)));
    sleep(Duration::from_millis(30)).await;
    drop(service);
    assert_eq!(within(last).await.unwrap().unwrap().into_body(), 2_000_200);
    until("it has ended", || ended.exists()).await;
    until("it has told", || std::fs::read_to_string(&ended).unwrap() == "Ok(())").await;
    std::fs::remove_file(ended).unwrap();
}

/// A host that asks it to stop, again and again, while it is called.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_when_the_plugin_is_asked_to_stop() {
    let service: Double = connect(part("", ""));
    let (mut number, mut last) = (10, 0);
    for _ in 0..5 {
        // The system tells of an end before the host does.
        let child = loop {
            let child = service.info().await.unwrap().metadata["pid"].parse().unwrap();
            if child != last {
                break child;
            }
            tokio::task::yield_now().await;
        };
        last = child;
        let calls = (0..200).map(|_| {
            number += 1;
            let (service, number) = (service.clone(), number);
            tokio::spawn(async move {
                loop {
                    match reply(&service, number).await {
                        // Of one that ended before its first call, the next waits a little. What is refused
                        // meanwhile was never sent, and says so.
                        Err(error) if error.is_unsent() && error.retry_after().is_some() => {
                            sleep(Duration::from_millis(5)).await;
                        }
                        found => return (number * 2, found),
                    }
                }
            })
        });
        let calls: Vec<_> = calls.collect();
        kill(child, Signal::TERM);
        for answer in futures::future::join_all(calls).await {
            let (right, found) = answer.unwrap();
            assert_eq!(found.unwrap(), right);
        }
        until("it is reaped", || !exists(child)).await;
    }
}

fn run(configure: impl FnOnce(&mut Command)) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--nocapture", "--test-threads=1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    configure(&mut command);
    command.spawn().unwrap()
}

#[test]
fn a_handshake_is_asked_for_where_it_must_be() {
    for (variables, is_right) in [
        (Handshake::default().variables(), true),
        (Vec::new(), false),
        (vec![("PLUGIN_PROTOCOL_VERSION".to_owned(), "1".to_owned())], false),
    ] {
        let mut child = run(|command| {
            command.env("TU_PART", "strict").envs(variables);
        });
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().success(), is_right);
    }
    // A person at a shell, who pipes files.
    let (input, output) = (new_path("input"), new_path("output"));
    std::fs::write(&input, "{\"id\":\"r\",\"method\":\"execute\",\"payload\":7}").unwrap();
    let mut child = run(|command| {
        command.env("TU_PART", "any").stdin(std::fs::File::open(&input).unwrap());
        command.stdout(std::fs::File::create(&output).unwrap());
    });
    assert!(child.wait().unwrap().success());
    let text = std::fs::read_to_string(&output).unwrap();
    assert!(text.contains("\n{\"id\":\"r\",\"result\":14"), "{text}");
    assert!(text.trim_end().ends_with("it is over"), "{text}");
    let _ = (std::fs::remove_file(input), std::fs::remove_file(output));
}

#[test]
fn it_answers_what_it_has_read_when_it_is_asked_to_stop() {
    let mut child = run(|command| {
        command.env("TU_PART", "any");
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"id\":\"i\",\"method\":\"info\"}\n").unwrap();
    let mut next =
        || lines.find_map(|line| line.ok().filter(|line| line.starts_with('{'))).unwrap();
    assert!(next().contains("double"));
    stdin.write_all(b"{\"id\":\"a\",\"method\":\"execute\",\"payload\":1000200}\n").unwrap();
    while rustix::io::ioctl_fionread(&stdin).unwrap() > 0 {
        std::thread::yield_now();
    }
    kill(child.id() as i32, Signal::TERM);
    assert!(next().contains(r#""id":"a","result":2000400"#));
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let plugin = serve::stdio(service_fn(double)).config(StdioConfig::default().with_max_calls(0));
    let error = plugin.run().await.unwrap_err();
    assert!(error.to_string().contains("`max_calls`"), "{error}");
}
