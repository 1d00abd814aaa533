//! Programs that tell the credential of the user: `exec` of a kubeconfig. They run in real time, and so does the clock, but where a
//! test lets time pass.

use std::{fs, path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt;
use serde_json::{Value, json};
use tower_upstream::{
    discover::{Discover, Kubernetes, KubernetesConfig, WatchStream},
    error::{Code, Kind},
};

use crate::{
    access::{Secured, found, secured},
    double::Double,
    objects::Pod,
    sets::{expect, keys, next},
    support::{ms, secs},
    tls::{Authority, Files},
};

const V1: &str = "client.authentication.k8s.io/v1";

/// Lets that time pass at once.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// A cluster, and a program of the shell for its user.
struct World {
    double: Double,
    files: Files,
}

impl World {
    async fn start(tokens: &[&str]) -> Self {
        let (double, files) = (Double::start().await, Files::new());
        double.web("web-1", &[("a", Pod::Ready)]);
        double.asks_for_tokens(tokens);
        Self { double, files }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.files.0.join(name)
    }

    /// The kubeconfig, of which the program is a script, and `exec` says more.
    fn config(&self, server: &str, script: &str, more: Value) -> KubernetesConfig {
        // Run by the shell: a file that is executed must not be open for writing, also in no child of other tests.
        self.files.write("script", script);
        let folder = self.files.0.to_str().unwrap();
        let mut exec = json!({
            "apiVersion": V1, "command": "/bin/sh", "interactiveMode": "Never",
            "args": [self.at("script"), "b; c", "$(d)"],
            "env": [{"name": "HERE", "value": folder}, {"name": "KEY", "value": "s3cret"}],
        });
        exec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let cluster = json!({
            "server": server,
            "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}],
        });
        let file = json!({
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"exec": exec}}],
        });
        // JSON is YAML.
        let path = self.files.write("config", &file.to_string());
        KubernetesConfig::default().with_kubeconfig_path(path).with_allow_exec(["/bin/sh"])
    }

    /// One that notes each run, and tells what is in a file.
    fn telling(&self) -> KubernetesConfig {
        let script = "echo run >> \"$HERE/runs\"; cat \"$HERE/told\"";
        self.config(&self.double.url(), script, json!({}))
    }

    fn tells(&self, status: Value) {
        let told = json!({"kind": "ExecCredential", "apiVersion": V1, "status": status});
        self.files.write("told", &told.to_string());
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.at("runs")).map_or(0, |text| text.lines().count())
    }
}

/// Begins to watch.
async fn begin(sets: &mut WatchStream) {
    assert!(tokio::time::timeout(ms(1), sets.next()).await.is_err());
}

/// Waits, for as long as a test may take.
async fn until(is_so: impl Fn() -> bool) {
    let waited = tokio::time::timeout(secs(300), async {
        while !is_so() {
            tokio::time::sleep(ms(5)).await;
        }
    });
    waited.await.expect("it never is");
}

#[tokio::test]
async fn a_program_runs_only_if_it_is_allowed_and_what_cannot_work_is_told_at_once() {
    let world = World::start(&["one"]).await;
    let error = |config: KubernetesConfig| {
        let error = Kubernetes::new(config).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidConfig);
        let text = format!("{error:#}");
        assert!(!text.contains("s3cret"), "{text}");
        text
    };
    let allowed = world.telling();
    for others in [&[][..], &["sh"], &["aws", "/bin/s"]] {
        let text = error(allowed.clone().with_allow_exec(others.iter().copied()));
        assert!(text.contains("`/bin/sh`") && text.contains("`allow_exec`"), "{text}");
    }
    let url = world.double.url();
    for (more, part) in [
        (json!({"apiVersion": "client.authentication.k8s.io/v1alpha1"}), "v1alpha1`, but must be"),
        (json!({"apiVersion": null}), "`apiVersion`"),
        (json!({"interactiveMode": "Always"}), "`interactiveMode: Always`"),
        (json!({"command": ""}), "no `command`"),
    ] {
        let text = error(world.config(&url, "", more));
        assert!(text.contains(part), "{text}");
    }
    let readable = world.config("http://10.0.0.1:8080", "", json!({}));
    assert_eq!(Kubernetes::new(readable.clone()).unwrap_err().code(), Code::AUTH_1105);
    assert!(Kubernetes::new(readable.with_allow_plaintext(true)).is_ok());
    // Nothing was run so far, nor is it for a token that is told otherwise.
    let token = world.files.write("token", "one");
    let told = world.telling().with_allow_exec([""; 0]).with_token_file(token);
    assert_eq!(found(told).await, Ok(1));
    assert_eq!(world.runs(), 0);
    // One that is not there.
    let missing =
        json!({"command": "no-such-program", "installHint": " Install it:\n  curl it | sh\n"});
    let missing = world.config(&url, "", missing).with_allow_exec(["no-such-program"]);
    let text = found(missing).await.unwrap_err();
    assert!(text.contains("`no-such-program`") && text.contains("Install it:\\n  curl"), "{text}");
}

#[tokio::test]
async fn a_program_runs_once_for_all_that_wait_and_again_when_its_token_is_refused() {
    let world = World::start(&["one"]).await;
    world.tells(json!({"token": "one"}));
    let kubernetes = Kubernetes::new(world.telling()).unwrap();
    let all: Vec<_> = (0..9).map(|of| kubernetes.service(&format!("web{of}")).unwrap()).collect();
    for watched in all {
        next(&mut watched.discover()).await;
    }
    let watched = kubernetes.service("web").unwrap();
    let (mut sets, handle) = (watched.discover(), watched.handle());
    expect(&mut sets, &["a"]).await;
    assert_eq!(world.runs(), 1);
    // An hour later it is another one.
    world.double.asks_for_tokens(&["two"]);
    world.tells(json!({"token": "two"}));
    pass(secs(60)).await;
    world.double.cuts_watches();
    world.double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready)]);
    expect(&mut sets, &["a", "b"]).await;
    assert_eq!(world.runs(), 2);
    until(|| handle.last_error().is_none()).await;
    assert!(world.double.asked().iter().any(|asked| asked.token.as_deref() == Some("two")));
    // The same again, which is refused: it is told, and the endpoints stay.
    world.double.asks_for_tokens(&["three"]);
    pass(secs(60)).await;
    world.double.cuts_watches();
    until(|| handle.last_error().is_some_and(|error| error.to_string().contains("401"))).await;
    assert_eq!(world.runs(), 3);
    assert_eq!(keys(&handle.set().unwrap()), ["a", "b"]);
    assert!(!format!("{:#}{kubernetes:?}", handle.last_error().unwrap()).contains("two"));
}

#[tokio::test]
async fn what_ends_is_asked_for_anew() {
    let world = World::start(&["one", "two"]).await;
    let at = unix() + 900;
    world.tells(json!({"token": "one", "expirationTimestamp": rfc3339(at)}));
    let kubernetes = Kubernetes::new(world.telling()).unwrap();
    let watched = kubernetes.service("web").unwrap();
    let (mut sets, handle) = (watched.discover(), watched.handle());
    expect(&mut sets, &["a"]).await;
    world.tells(json!({"token": "two"}));
    for (wait, runs) in [(600, 1), (1_200, 2), (3_600, 2)] {
        pass(secs(wait)).await;
        let before = world.double.watches();
        world.double.cuts_watches();
        until(|| world.double.watches() > before).await;
        assert_eq!(world.runs(), runs, "after {wait} s");
    }
    assert_eq!(world.double.asked().last().unwrap().token.as_deref(), Some("two"));
    until(|| handle.last_error().is_none()).await;
}

/// The present, in seconds since 1970, as far as tests that run at once let the crate know it.
fn unix() -> i64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64
}

fn rfc3339(unix: i64) -> String {
    let (days, seconds) = (unix / 86_400, unix % 86_400);
    // Of the civil calendar, from days since 1970.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[tokio::test]
async fn a_program_is_told_of_the_cluster_and_gets_what_the_kubeconfig_says_without_a_shell() {
    let world = World::start(&["one"]).await;
    let script = "printf %s \"$KUBERNETES_EXEC_INFO\" > \"$HERE/info\"; printf '%s|' \"$@\" > \"$HERE/args\"
        printf '%s' \"$HOME_OF_IT$KEY\" > \"$HERE/env\"; if read line; then exit 9; fi
        echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"one\"}}'";
    let more = json!({"provideClusterInfo": true, "interactiveMode": "IfAvailable"});
    // Where this program finds programs counts, and not where that one does.
    let folder = world.files.0.to_str().unwrap();
    let env = json!([{"name": "PATH", "value": folder}, {"name": "HERE", "value": folder}, {"name": "KEY", "value": "s3cret"}]);
    let mut by_name = more.clone();
    by_name["command"] = json!("sh");
    by_name["env"] = env;
    world.files.write("sh", "this is no program");
    let config = world.config(&world.double.url(), script, by_name).with_allow_exec(["sh"]);
    assert_eq!(found(config).await, Ok(1));
    let read = |name: &str| fs::read_to_string(world.at(name)).unwrap();
    assert_eq!((&*read("args"), &*read("env")), ("b; c|$(d)|", "s3cret"));
    let info: Value = serde_json::from_str(&read("info")).unwrap();
    let cluster = json!({"server": world.double.url(), "config": {"audience": "x"}});
    let spec = json!({"interactive": false, "cluster": cluster});
    assert_eq!(info, json!({"kind": "ExecCredential", "apiVersion": V1, "spec": spec}));
    // The authority is that which counts.
    let ca = world.files.write("ca.pem", "the authority");
    let config = world.config(&world.double.url(), script, more).with_tls_ca_file(ca);
    assert_eq!(found(config).await, Ok(1));
    let info: Value = serde_json::from_str(&read("info")).unwrap();
    let told = &info["spec"]["cluster"]["certificate-authority-data"];
    assert_eq!(told, &json!(BASE64_STANDARD.encode("the authority")));
    // Without being asked, nothing of the cluster.
    let config = world.config(&world.double.url(), script, json!({}));
    assert_eq!(found(config).await, Ok(1));
    let info: Value = serde_json::from_str(&read("info")).unwrap();
    assert_eq!(info["spec"], json!({"interactive": false}));
}

#[tokio::test]
async fn a_program_beside_the_kubeconfig_is_found_there() {
    let world = World::start(&["one"]).await;
    fs::create_dir_all(world.at("bin")).unwrap();
    std::os::unix::fs::symlink("/bin/sh", world.at("bin/tell")).unwrap();
    world.tells(json!({"token": "one"}));
    let config =
        world.config(&world.double.url(), "cat \"$HERE/told\"", json!({"command": "bin/tell"}));
    let whole = world.at("bin/tell").to_str().unwrap().to_owned();
    let error = Kubernetes::new(config.clone()).unwrap_err().to_string();
    assert!(error.contains(&format!("add `{whole}` to `allow_exec`")), "{error}");
    assert_eq!(found(config.with_allow_exec([whole])).await, Ok(1));
}

#[tokio::test]
async fn what_a_program_that_fails_says_last_is_told_and_no_secret() {
    let world = World::start(&["one"]).await;
    let url = world.double.url();
    let good = "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"s3cret\"}}'";
    for (script, parts) in [
        (
            "echo first >&2; printf 'no\\033[31m session\\n\\n' >&2; echo s3cret; exit 3"
                .to_owned(),
            &["exit status: 3", ": no\\u{1b}[31m session"][..],
        ),
        ("kill -9 $$".to_owned(), &["signal: 9"]),
        (format!("{good}; exit 1"), &["exit status: 1"]),
        ("echo s3cret".to_owned(), &["no JSON of one, line 1"]),
        (String::new(), &["no JSON of one"]),
        (good.replace("/v1", "/v1beta1"), &["not that of `exec`"]),
        (good.replace("s3cret", ""), &["neither"]),
        // More than it may write, and without an end.
        ("yes s3cret".to_owned(), &["more than 262144 bytes"]),
        ("yes s3cret >&2 & sleep 0.2; exit 4".to_owned(), &["exit status: 4"]),
        ("head -c 300000 /dev/zero | tr '\\0' x >&2; exit 5".to_owned(), &["exit status: 5: xxx"]),
    ] {
        let text = found(world.config(&url, &script, json!({}))).await.unwrap_err();
        assert!(text.contains("`/bin/sh`") && text.len() < 1_000, "{script}: {text}");
        for part in parts {
            assert!(text.contains(part), "{script}: {part}: {text}");
        }
        assert!(!text.contains("s3cret") || script.starts_with("yes s3cret >&2"), "{text}");
    }
    assert!(world.double.asked().is_empty(), "nothing was asked without a token");
}

#[cfg(target_os = "linux")]
/// Whether a process is there that has not ended.
fn is_alive(pid: &str) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_program_that_does_not_end_is_killed_with_all_that_it_has_started() {
    let world = World::start(&["one"]).await;
    let script = "sleep 1000 & echo $! > \"$HERE/pids\"; echo $$ >> \"$HERE/pids\"; echo > \"$HERE/up\"; wait";
    for is_dropped in [true, false] {
        let config = world.config(&world.double.url(), script, json!({}));
        let watched = Kubernetes::new(config).unwrap().service("web").unwrap();
        let (mut sets, handle) = (watched.discover(), watched.handle());
        begin(&mut sets).await;
        until(|| world.at("up").exists()).await;
        let pids = fs::read_to_string(world.at("pids")).unwrap();
        assert!(pids.lines().count() == 2 && pids.lines().all(is_alive), "{pids}");
        if is_dropped {
            drop((sets, watched));
        } else {
            pass(secs(61)).await;
            until(|| handle.last_error().is_some()).await;
            let error = handle.last_error().unwrap().to_string();
            assert!(error.contains("does not end within 60s"), "{error}");
        }
        until(|| !pids.lines().any(is_alive)).await;
        fs::remove_file(world.at("up")).unwrap();
    }
}

#[tokio::test]
async fn what_a_program_leaves_behind_does_not_hold_its_answer_up() {
    let world = World::start(&["one"]).await;
    world.tells(json!({"token": "one"}));
    // One that has left its group, and holds the output open.
    let script = "cat \"$HERE/told\"; setsid sleep 5 & exit 0";
    assert_eq!(found(world.config(&world.double.url(), script, json!({}))).await, Ok(1));
}

#[tokio::test]
async fn a_certificate_of_a_program_is_that_of_the_connection_and_another_makes_a_new_one() {
    let world = World::start(&["one"]).await;
    let Secured { port, ca, client } = secured(&world.double, "localhost").await;
    let ca = world.files.write("ca.pem", &ca);
    let script = "cat \"$HERE/told\"";
    let server = format!("https://localhost:{port}");
    let config = world.config(&server, script, json!({})).with_tls_ca_file(ca);
    let stranger = Authority::new().identity("client", |_| ());
    let tells = |pem: &str, key: &str| {
        world.tells(json!({
            "token": "one", "clientCertificateData": pem, "clientKeyData": key,
            // As of a host whose clock is behind.
            "expirationTimestamp": "2020-01-01T00:00:00Z",
        }));
    };
    tells(&stranger.pem, &stranger.key_pem);
    let watched = Kubernetes::new(config.clone()).unwrap().service("web").unwrap();
    let (mut sets, handle) = (watched.discover(), watched.handle());
    begin(&mut sets).await;
    until(|| handle.last_error().is_some()).await;
    assert!(world.double.asked().is_empty());
    tells(&client.pem, &client.key_pem);
    pass(secs(11)).await;
    expect(&mut sets, &["a"]).await;
    // What is none is told, and not shown.
    tells("-----BEGIN CERTIFICATE-----\ns3cret", "s3cret");
    let text = found(config).await.unwrap_err();
    assert!(text.contains("certificate") && !text.contains("s3cret"), "{text}");
}
