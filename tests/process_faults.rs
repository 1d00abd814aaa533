//! What may go wrong between a `ProcessTransport` and a plugin. With real children, on the real clock.
#![cfg(all(feature = "process", target_os = "linux"))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/faults.rs"]
mod faults;
mod process;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio, exit},
    time::Duration,
};

use faults::{Expected, Failed, Fault};
use process::{
    Script, Tax, call, children, connect_to, exists, is_zombie, kill, new_path, part, play, this,
    until, within,
};
use rustix::process::Signal;
use tokio::time::sleep;
use tower::ServiceExt;
use tower_upstream::{
    Call, Endpoint, Reply,
    connect::Connect,
    error::{Code, Kind},
    member::Member,
    transport::{Multiplex, ProcessConfig, ProcessTransport},
};

/// Not a test: what a child does.
#[test]
fn child() {
    if std::env::var("TU_PART").as_deref() == Ok("host") {
        host();
    }
    if let Some(fault) = std::env::var("TU_PART").ok().and_then(|part| fault(&part)) {
        faulty(fault, &std::env::var("TU_MORE").unwrap());
    }
    process::play_part();
}

/// The others are those of connections, of HTTP, and of TLS.
const PLAYED: [Fault; 12] = [
    Fault::Refused,
    Fault::KilledBeforeAnswer,
    Fault::KilledInHead,
    Fault::KilledMidAnswer,
    Fault::HalfFrame,
    Fault::Garbage,
    Fault::GarbageWithin,
    Fault::WrongId,
    Fault::Late,
    Fault::Oversized,
    Fault::AnswerThenClose,
    Fault::Restarts,
];

fn fault(name: &str) -> Option<Fault> {
    PLAYED.into_iter().find(|fault| format!("{fault:?}") == name)
}

/// A plugin with a fault at its first call; those that follow it have none.
fn faulty(fault: Fault, file: &str) {
    let mut output = std::io::stdout();
    let mut say = |text: &str| output.write_all(text.as_bytes()).and_then(|()| output.flush());
    say("\n").unwrap();
    let mut has_fault = !std::path::Path::new(file).exists();
    for line in BufReader::new(std::io::stdin()).lines().map_while(Result::ok) {
        let asked: serde_json::Value = serde_json::from_str(&line).unwrap();
        let answer = serde_json::json!({
            "id": asked["id"],
            "result": asked["payload"].as_u64().unwrap_or_default() * 2,
        });
        let right = format!("{answer}\n");
        if !has_fault {
            say(&right).unwrap();
            continue;
        }
        has_fault = false;
        std::fs::write(file, "").unwrap();
        let half = &right[..right.len() / 2];
        match fault {
            Fault::KilledBeforeAnswer => exit(1),
            Fault::KilledMidAnswer => {
                say(half).unwrap();
                exit(1);
            }
            Fault::KilledInHead => {
                say(&right[..5]).unwrap();
                exit(1);
            }
            Fault::HalfFrame => say(half).unwrap(),
            Fault::GarbageWithin => {
                say(&right.replace(":2}", ":\"two\"}")).unwrap();
            }
            Fault::Garbage => say("HTTP/1.1 400 Bad Request\r\n\r\n").unwrap(),
            Fault::WrongId => {
                say(&right.replace("req_", "req_0")).unwrap();
                // And the right one, too late.
                say(&right).unwrap();
            }
            Fault::Late => {
                std::thread::sleep(Duration::from_millis(400));
                say(&right).unwrap();
            }
            Fault::Oversized => {
                say(&format!("{{\"data\":\"{}\"}}\n", "x".repeat(100_000))).unwrap()
            }
            Fault::AnswerThenClose => {
                say(&right).unwrap();
                exit(0);
            }
            _ => say(&right).unwrap(),
        }
    }
    exit(0);
}

fn expected(fault: Fault) -> Expected {
    let broken = Failed::new(Kind::Connection, Code::PLUGIN_1205);
    match fault {
        Fault::Refused => Err(broken.unsent()),
        Fault::KilledBeforeAnswer | Fault::KilledInHead | Fault::KilledMidAnswer => Err(broken),
        // What is no answer is for the log, so the answer may yet come.
        Fault::HalfFrame | Fault::Garbage | Fault::Late => {
            Err(Failed::new(Kind::Timeout, Code::PLUGIN_1204).blameless())
        }
        Fault::WrongId => Err(Failed::new(Kind::Transport, Code::RPC_2003)),
        Fault::GarbageWithin => Err(Failed::new(Kind::Transport, Code::RPC_2005).blameless()),
        Fault::Oversized => Err(Failed::new(Kind::Transport, Code::TRANSPORT_1304)),
        _ => Ok(()),
    }
}

/// For those that count the children of this process.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn each_fault_is_told_and_none_is_left_behind() {
    let _alone = ALONE.lock().await;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for fault in PLAYED {
        let before = alive();
        let file = new_path("fault");
        let config = part(&format!("{fault:?}"), file.to_str().unwrap())
            .with_multiplex(Multiplex::Never)
            .with_hang_timeout(Duration::from_millis(300))
            .with_max_line_bytes(10_000);
        let missing = new_path("missing");
        let address = match fault {
            Fault::Refused => format!("exec:{}", missing.display()),
            _ => this(),
        };
        let transport = ProcessTransport::with_config(config);
        let handle = transport.handle();
        let service: Tax = transport.connect(&Member::new(Endpoint::new(&address).unwrap()));
        if fault == Fault::Restarts {
            assert_eq!(call(&service, 7).await.ok(), Some(14), "before");
            kill(process::pid(&service).await, Signal::KILL);
        }
        let faulty = service.clone().oneshot(Call::new(1).with_timeout(Duration::from_millis(200)));
        match (within(faulty).await, expected(fault)) {
            (Ok(reply), Ok(())) => assert_eq!(reply.into_body(), 2, "{fault:?}"),
            // One that was killed may have read the call before.
            (Err(error), Ok(())) if fault == Fault::Restarts => {
                assert_eq!(error.kind(), Kind::Connection, "{error}");
            }
            (Err(error), Err(expected)) => {
                let found = Failed {
                    kind: error.kind(),
                    code: error.code(),
                    unsent: error.is_unsent(),
                    blamed: handle.stats().failed == Some(1),
                };
                assert_eq!(found, expected, "{fault:?}: {error}");
                assert!(error.endpoint().is_some() && !error.is_refused(), "{fault:?}: {error}");
            }
            (result, expected) => panic!("{fault:?}: {result:?} instead of {expected:?}"),
        }
        if fault == Fault::Refused {
            std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &missing).unwrap();
            within(async { while call(&service, 1).await.is_err() {} }).await;
            std::fs::remove_file(missing).unwrap();
        }
        // Each gets its own answer, whatever comes too late.
        for number in 2..8 {
            assert_eq!(
                call(&service, number).await.ok(),
                Some(number * 2),
                "{fault:?}: afterwards"
            );
            sleep(Duration::from_millis(50)).await;
        }
        assert!(children().len() <= 1, "{fault:?}: {:?}", children());
        drop(service);
        until("its process ends", || children().is_empty()).await;
        until("its tasks end", || alive() == before).await;
        std::fs::remove_file(file).unwrap();
    }
}

/// Calls that are lost to a plugin that is killed while it is called, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_is_killed_under_load_loses_no_call_that_it_has_not_read() {
    let _alone = ALONE.lock().await;
    let service = play("multiplex", "");
    let stop = tokio::time::Instant::now() + Duration::from_millis(1_500);
    let callers: Vec<_> = (0..8_u64)
        .map(|caller| {
            let service = service.clone();
            tokio::spawn(async move {
                let (mut right, mut lost, mut later) = (0, 0, 0);
                for number in 0.. {
                    if tokio::time::Instant::now() > stop {
                        break;
                    }
                    let number = caller * 100_000 + number;
                    match within(service.clone().oneshot(Call::new(number))).await {
                        Ok(reply) => {
                            assert_eq!(Reply::into_body(reply), number * 2);
                            right += 1;
                        }
                        Err(error) if error.is_unsent() => {
                            later += 1;
                            sleep(error.retry_after().unwrap()).await;
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), Kind::Connection, "{error}");
                            lost += 1;
                        }
                    }
                }
                (right, lost, later)
            })
        })
        .collect();
    for _ in 0..10 {
        sleep(Duration::from_millis(100)).await;
        // Whichever runs now.
        for child in children().into_iter().filter(|child| !is_zombie(*child)) {
            kill(child, Signal::KILL);
        }
    }
    let mut sum = (0, 0, 0);
    for caller in callers {
        let (right, lost, later) = caller.await.unwrap();
        sum = (sum.0 + right, sum.1 + lost, sum.2 + later);
    }
    // At most those that each caller had under way at each kill.
    assert!(sum.0 > 100 && sum.1 <= 80, "{sum:?}");
}

/// A host, which calls a plugin that does not answer until it is killed.
fn host() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let service: Tax = connect_to(&this(), part("multiplex", ""));
        let child = process::pid(&service).await;
        let waits = tokio::spawn(service.clone().oneshot(Call::new(1_060_000)));
        call(&service, 1).await.unwrap();
        println!("\nchild {child}");
        waits.await.unwrap().unwrap();
    });
    exit(0);
}

#[tokio::test]
async fn no_child_outlives_a_host_that_is_killed_in_the_middle_of_a_call() {
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env("TU_PART", "host")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let mut told = lines.map_while(Result::ok);
    let child = told.find_map(|line| line.strip_prefix("child ")?.parse().ok()).unwrap();
    assert!(exists(child));
    kill(host.id() as i32, Signal::KILL);
    host.wait().unwrap();
    // Its new parent reaps it, if that does so.
    until("the child ends", || !exists(child) || is_zombie(child)).await;
}

#[tokio::test]
async fn what_closes_its_streams_is_ended_and_started_again() {
    let _alone = ALONE.lock().await;
    for (close, read) in [("1>&-", "read -r line; "), ("0<&-", "")] {
        let closed = new_path("closed");
        let script = Script::new(&format!(
            "#!/bin/sh\nif [ ! -e {0} ]; then trap '' TERM; {read}exec {close}; : > {0}; while :; do \
             sleep 0.05; done; fi\nwhile read -r line; do id=${{line#*\\\"id\\\":\\\"}}; \
             id=${{id%%\\\"*}}; echo \"{{\\\"id\\\":\\\"$id\\\",\\\"result\\\":7}}\"; done\n",
            closed.display()
        ));
        let config = ProcessConfig::default()
            .with_multiplex(Multiplex::Never)
            .with_inherit_env(["PATH"])
            .with_stop_grace(Duration::from_millis(50));
        let service: Tax = connect_to(&script.address(), config);
        if read.is_empty() {
            service.health().await;
            until("it has closed it", || closed.exists()).await;
            // Nothing of it can have been read.
            assert_eq!(call(&service, 1).await.unwrap(), 7);
        } else {
            let error = call(&service, 1).await.unwrap_err();
            assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false), "{error}");
            assert_eq!(call(&service, 1).await.unwrap(), 7);
        }
        drop(service);
        until("it has ended", || children().is_empty()).await;
        std::fs::remove_file(closed).unwrap();
    }
}
