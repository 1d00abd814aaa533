//! `ProcessTransport` with a list of the programs that may run, with real children.
#![cfg(all(feature = "process", target_os = "linux"))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod process;

use std::{error::Error as _, fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use process::{Log, Script, Tax, call, new_path, until, write_script};
use serde_json::Value;
use tower::{Layer, ServiceExt};
use tower_upstream::{
    BalanceLayer, Call, Endpoint, Error, LeastRequest,
    allow::{
        AllowConfig, AllowList, AllowedPlugin, AllowedPlugins, AuditConfig, HashMismatch, Policy,
        Sha256,
    },
    connect::Connect,
    discover,
    error::{Code, Kind},
    member::Member,
    plugin::PluginStatus,
    transport::{Multiplex, ProcessConfig, ProcessTransport},
};

/// A plugin that answers with `number`.
fn script(number: u32) -> String {
    format!(
        r#"#!/bin/sh
while read -r line; do
  id="${{line#*:\"}}"; id="${{id%%\"*}}"
  echo "{{\"id\":\"$id\",\"result\":{number}}}"
done
"#
    )
}

fn allowing(name: &str, entry: AllowedPlugin) -> AllowList {
    let mut plugins = AllowedPlugins::default();
    plugins.plugins.insert(name.to_owned(), entry);
    AllowList::new(plugins)
}

fn entry(number: u32) -> AllowedPlugin {
    AllowedPlugin::new(Sha256::of(script(number)))
}

fn config() -> ProcessConfig {
    ProcessConfig::default()
        .with_multiplex(Multiplex::Never)
        .with_restart_delay(Duration::from_millis(20))
        .with_max_restart_delay(Duration::from_millis(40))
        .with_stop_grace(Duration::from_millis(500))
}

fn plugin(path: &Path, list: &AllowList) -> Tax {
    let endpoint = Endpoint::new(format!("exec:{}", path.display())).unwrap().with_key("tax");
    let transport = ProcessTransport::with_config(config()).with_allow_list(list.clone());
    transport.connect(&Member::new(endpoint))
}

/// Calls until it is another error than that it was refused, which is answered while it waits.
async fn refused(service: &Tax) -> Error {
    let error = call(service, 1).await.unwrap_err();
    assert!(error.is_refused() && error.is_unsent() && error.kind() == Kind::InvalidConfig);
    assert!(error.retry_after().is_some() && error.endpoint() == Some("tax"), "{error}");
    error
}

async fn until_it_runs(service: &Tax) -> u64 {
    for _ in 0..500 {
        match call(service, 1).await {
            Ok(number) => return number,
            Err(error) => assert!(error.is_refused(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it is never started");
}

#[tokio::test]
async fn what_is_on_the_list_runs_and_another_program_does_not() {
    let file = Script::new(&script(1));
    let list = allowing("tax", entry(1));
    assert_eq!(call(&plugin(&file.0, &list), 1).await.unwrap(), 1);
    write_script(&file.0, &script(2));
    let service = plugin(&file.0, &list);
    let error = refused(&service).await;
    assert_eq!(error.code(), Code::RPC_2004);
    let text = error.to_string();
    let (ours, other) = (Sha256::of(script(1)), Sha256::of(script(2)));
    let mismatch = error.source().unwrap().downcast_ref::<HashMismatch>().unwrap();
    assert_eq!((mismatch.expected, mismatch.actual), (ours, other));
    let part = format!("hash_mismatch (expected: {ours}, actual: {other})");
    assert!(text.contains(&part), "{text}");
    let health = service.health().await;
    assert_eq!(health.status, PluginStatus::Offline);
    assert!(health.message.contains("hash_mismatch"), "{}", health.message);
    // The program is allowed after all, and is tried again.
    let mut plugins = AllowedPlugins::default();
    plugins.plugins.insert("tax".to_owned(), entry(2));
    list.replace(plugins);
    assert_eq!(until_it_runs(&service).await, 2);
    let stats = list.stats();
    assert_eq!((stats.authorized, stats.attempts), (2, 2 + stats.rejected));
    assert_eq!(stats.hash_mismatches, stats.rejected);
}

#[tokio::test]
async fn a_refused_plugin_is_not_started_in_a_hot_loop_and_others_take_its_calls() {
    let (good, bad) = (Script::new(&script(1)), Script::new(&script(2)));
    let list = allowing("good", entry(1));
    let endpoint = |file: &Script, key| Endpoint::new(file.address()).unwrap().with_key(key);
    let endpoints = discover::fixed([endpoint(&good, "good"), endpoint(&bad, "bad")]).unwrap();
    let config = config().with_max_restart_delay(Duration::from_secs(60));
    let config = config.with_restart_delay(Duration::from_secs(60));
    let transport = ProcessTransport::<u64, u64>::with_config(config).with_allow_list(list.clone());
    let balance = BalanceLayer::new(endpoints, LeastRequest::new()).layer(transport.clone());
    let stack =
        tower_upstream::FailoverLayer::new(tower_upstream::Attempts::up_to(2)).layer(balance);
    for _ in 0..50 {
        assert_eq!(*stack.clone().oneshot(Call::new(1)).await.unwrap().body(), 1);
    }
    assert!(list.stats().rejected <= 1, "{:?}", list.stats());
    assert_eq!(transport.handle().stats().failed, Some(0));
}

/// A change of the list, by whoever makes it, and of its file, while the plugin waits for longer than the test.
#[tokio::test]
async fn a_change_of_the_list_wakes_a_plugin_that_was_refused() {
    let (file, path) = (Script::new(&script(1)), new_path("list.json"));
    let listed = |number| {
        let mut plugins = AllowedPlugins::default();
        plugins.plugins.insert("tax".to_owned(), entry(number));
        plugins
    };
    let write = |number| fs::write(&path, listed(number).to_json()).unwrap();
    write(2);
    let config = config().with_max_restart_delay(Duration::from_secs(600));
    let config = config.with_restart_delay(Duration::from_secs(600));
    type Change<'a> = &'a dyn Fn(&AllowList);
    let changes: [Change<'_>; 3] = [
        &|list| list.replace(listed(1)),
        &|list| list.update(list.config().with_policy(Policy::Permissive)).unwrap(),
        &|_| write(1),
    ];
    for change in changes {
        let list = AllowList::from_file(AllowConfig::new(path.display().to_string())).unwrap();
        let endpoint = Endpoint::new(file.address()).unwrap().with_key("tax");
        let transport = ProcessTransport::with_config(config.clone()).with_allow_list(list.clone());
        let service: Tax = transport.connect(&Member::new(endpoint));
        let error = refused(&service).await;
        assert!(error.retry_after().unwrap() > Duration::from_secs(60), "{error}");
        let other = refused(&service).await;
        assert_eq!((other.code(), list.stats().rejected), (Code::RPC_2004, 1));
        change(&list);
        assert_eq!(until_it_runs(&service).await, 1);
    }
    fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn each_decision_is_logged_without_what_is_secret() {
    let log = Log(Default::default(), "tower_upstream::allow");
    let file = Script::new(&script(1));
    let events = async |number, is_told: &str| {
        let list = allowing("tax", entry(number));
        let endpoint = Endpoint::new(file.address()).unwrap().with_key("tax");
        let member = Member::new(endpoint.with_metadata("token", "s3cret-1"));
        let config = config().with_env("TOKEN", "s3cret-2").with_args(["s3cret-3"]);
        let transport = ProcessTransport::with_config(config).with_allow_list(list);
        let service: Tax = transport.connect(&member);
        let _ = call(&service, 1).await;
        // Others have tests of theirs.
        let path = file.0.display().to_string();
        let told = || -> String {
            let all = log.0.lock().unwrap();
            all.iter().filter(|line| line.contains(&path)).map(String::as_str).collect()
        };
        until("it is logged", || told().contains(is_told)).await;
        told()
    };
    // A thread of its own decides.
    let _ = tracing::subscriber::set_global_default(log.clone());
    let allowed = events(1, "lets a plugin start").await;
    let refused = events(2, "hash_mismatch").await;
    for text in [allowed, refused] {
        let (hash, path) = (Sha256::of(script(1)), file.0.display());
        for part in ["plugin=\"tax\"", "policy=\"strict\"", &format!("path=\"{path}\"")] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains(&hash.to_string()) && !text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn policies_say_what_is_done() {
    let file = Script::new(&script(2));
    let list = allowing("tax", entry(1));
    for (policy, rejected) in [(Policy::Permissive, 1), (Policy::AuditOnly, 1)] {
        list.update(list.config().with_policy(policy)).unwrap();
        assert_eq!(call(&plugin(&file.0, &list), 1).await.unwrap(), 2);
        assert_eq!(list.stats().rejected, rejected);
    }
    list.update(AllowConfig::default()).unwrap();
    refused(&plugin(&file.0, &list)).await;
    // What the file says counts where the settings do not.
    let mut plugins = AllowedPlugins::clone(&list.plugins());
    plugins.default_policy = Some(Policy::Permissive);
    list.replace(plugins);
    assert_eq!(call(&plugin(&file.0, &list), 1).await.unwrap(), 2);
    // Without a list, nothing is on it.
    let none = AllowList::from_file(AllowConfig::default()).unwrap();
    let text = refused(&plugin(&file.0, &none)).await.to_string();
    assert!(text.contains("whitelist_not_loaded"), "{text}");
}

#[tokio::test]
async fn a_program_that_takes_the_place_of_the_checked_one_does_not_run() {
    let file = Script::new(&script(1));
    let list = allowing("tax", entry(1));
    let service = plugin(&file.0, &list);
    assert_eq!(call(&service, 1).await.unwrap(), 1);
    let pid = process::pid(&service).await;
    write_script(&file.0, &script(2));
    process::kill(pid, rustix::process::Signal::KILL);
    until("it is gone", || !process::exists(pid)).await;
    // The file that was checked is executed again, by its descriptor.
    assert_eq!(until_it_runs(&service).await, 1);
    drop(service);
    // It is swapped all the time: what runs is what was hashed.
    for round in 0..40 {
        let (path, other) = (file.0.clone(), round % 2 + 1);
        write_script(&path, &script(3 - other));
        let swap = std::thread::spawn(move || write_script(&path, &script(other)));
        if let Ok(number) = call(&plugin(&file.0, &list), 1).await {
            assert_eq!(number, 1);
        }
        swap.join().unwrap();
    }
}

#[tokio::test]
async fn what_runs_is_the_open_file_and_not_its_path() {
    let text = script(1).replace("\\\"result\\\":1", "\\\"result\\\":${#0}");
    let file = Script::new(&text);
    let list = allowing("tax", AllowedPlugin::new(Sha256::of(&text)));
    let length = call(&plugin(&file.0, &list), 1).await.unwrap();
    // A path such as `/proc/self/fd/9`.
    assert!((15..19).contains(&length) && file.0.as_os_str().len() > 19, "{length}");
}

/// Whether so much of a file has been read by this process.
fn is_being_read(path: &Path, bytes: u64) -> bool {
    fs::read_dir("/proc/self/fd").unwrap().flatten().any(|entry| {
        let info = format!("/proc/self/fdinfo/{}", entry.file_name().to_string_lossy());
        let info = fs::read_to_string(info).unwrap_or_default();
        let position = info.lines().next().and_then(|line| line.split('\t').nth(1)?.parse().ok());
        fs::read_link(entry.path()).is_ok_and(|to| to == path)
            && position.is_some_and(|position: u64| position > bytes)
    })
}

#[tokio::test]
async fn a_program_that_is_written_to_while_it_is_hashed_does_not_run() {
    use std::os::unix::fs::FileExt;
    // So that it takes a while.
    let text = format!("{}exit\n{}", script(1), "#\n".repeat(5 << 20));
    let file = Script::new(&text);
    let list = allowing("tax", AllowedPlugin::new(Sha256::of(&text)));
    let service = plugin(&file.0, &list);
    let answer = tokio::spawn({
        let service = service.clone();
        async move { call(&service, 1).await }
    });
    until("it is being hashed", || is_being_read(&file.0, 1 << 20)).await;
    // What was hashed already is not what it was.
    let open = fs::OpenOptions::new().write(true).open(&file.0).unwrap();
    open.write_all_at(script(2).as_bytes(), 0).unwrap();
    drop(open);
    let error = answer.await.unwrap().unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("file_changed"), "{error}");
    assert!(list.stats().hash_mismatches == 0 && list.stats().rejected >= 1);
}

#[tokio::test]
async fn links_lead_to_the_file_that_counts() {
    let file = Script::new(&script(1));
    let list = allowing("tax", entry(1));
    let (soft, hard) = (new_path("soft"), new_path("hard"));
    std::os::unix::fs::symlink(&file.0, &soft).unwrap();
    fs::hard_link(&file.0, &hard).unwrap();
    for link in [&soft, &hard] {
        assert_eq!(call(&plugin(link, &list), 1).await.unwrap(), 1);
    }
    // Where it leads to is looked at too.
    let folder = new_path("folder");
    fs::create_dir(&folder).unwrap();
    fs::rename(&file.0, folder.join("tax")).unwrap();
    fs::remove_file(&soft).unwrap();
    std::os::unix::fs::symlink(folder.join("tax"), &soft).unwrap();
    let forbidden = list.config().with_forbidden_paths([folder.display().to_string()]);
    list.update(forbidden).unwrap();
    for path in [&soft, &folder.join("tax")] {
        let text = refused(&plugin(path, &list)).await.to_string();
        assert!(text.contains("path_forbidden"), "{text}");
    }
    assert_eq!(call(&plugin(&hard, &list), 1).await.unwrap(), 1);
    fs::remove_file(&soft).unwrap();
    fs::remove_file(&hard).unwrap();
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn what_is_no_file_or_cannot_be_read_or_is_too_large_is_not_run() {
    let list = allowing("tax", entry(1));
    let fifo = new_path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    for path in [&fifo, &std::env::temp_dir()] {
        let error = call(&plugin(path, &list), 1).await.unwrap_err();
        assert!(error.is_unsent() && error.to_string().contains("it is no file"), "{error}");
    }
    fs::remove_file(&fifo).unwrap();
    let file = Script::new(&script(1));
    let mut small = entry(1);
    small.max_file_size = 10;
    let error = refused(&plugin(&file.0, &allowing("tax", small))).await;
    assert!(error.to_string().contains("file_size_exceeded (expected: 10, actual: "), "{error}");
    // One that may be executed, but not read; root may do both.
    fs::set_permissions(&file.0, fs::Permissions::from_mode(0o111)).unwrap();
    if fs::read(&file.0).is_err() {
        let error = refused(&plugin(&file.0, &list)).await;
        assert_eq!(error.code(), Code::SECURITY_1805);
    }
}

#[tokio::test]
async fn the_list_is_read_again_when_its_file_has_changed() {
    let (file, path) = (Script::new(&script(1)), new_path("list.json"));
    let audit = new_path("audit.jsonl");
    let write = |number| {
        let mut plugins = AllowedPlugins::default();
        plugins.plugins.insert("tax".to_owned(), entry(number));
        fs::write(&path, plugins.to_json()).unwrap();
    };
    write(2);
    let mut lines = AuditConfig::new(audit.display().to_string());
    (lines.log_authorized, lines.include_metadata) = (true, true);
    let config = AllowConfig::new(path.display().to_string()).with_audit(lines);
    let list = AllowList::from_file(config).unwrap();
    let service = plugin(&file.0, &list);
    refused(&service).await;
    write(1);
    assert_eq!(until_it_runs(&service).await, 1);
    drop(service);
    fs::write(&path, "{").unwrap();
    assert_eq!(call(&plugin(&file.0, &list), 1).await.unwrap(), 1);
    list.update(list.config().with_watch(false)).unwrap_err();
    let stats = list.stats();
    assert_eq!((stats.reloads, stats.failed_reloads), (1, 1));
    let events = || -> Vec<Value> {
        let text = fs::read_to_string(&audit).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let name = |event: &Value| event["event"].as_str().unwrap().to_owned();
    until("all is written", || {
        events().iter().filter(|event| name(event) == "plugin_authorized").count() == 2
    })
    .await;
    let events = events();
    let first = |of: &str| events.iter().find(|event| name(event) == of).unwrap();
    assert_eq!(name(&events[0]), "whitelist_reloaded");
    first("whitelist_reload_failed");
    let rejected = &first("plugin_rejected")["context"];
    assert_eq!(rejected["hash"], Sha256::of(script(1)).to_string());
    assert_eq!(rejected["reasons"], serde_json::json!(["hash_mismatch"]));
    assert_eq!(
        (&rejected["authorized"], &rejected["policy"], &rejected["violations"]),
        (&false.into(), &"strict".into(), &1.into())
    );
    fs::remove_file(&path).unwrap();
    fs::remove_file(&audit).unwrap();
}
