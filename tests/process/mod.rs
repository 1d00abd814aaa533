//! Plugins that are children of a test: this test itself, started again to play a part.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::exit,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tower::ServiceExt;
use tower_upstream::{
    Call, Endpoint, Error, Reply,
    connect::Connect,
    member::Member,
    transport::{ProcessConfig, ProcessService, ProcessTransport},
};

/// No test waits longer, whatever goes wrong.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub type Tax = ProcessService<u64, u64>;

/// Settings by which a child plays `part`, with what it needs for that.
pub fn part(part: &str, more: &str) -> ProcessConfig {
    ProcessConfig::default()
        .with_args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .with_env("TU_PART", part)
        .with_env("TU_MORE", more)
        .with_restart_delay(Duration::from_millis(20))
        .with_stop_grace(Duration::from_millis(500))
}

pub fn this() -> String {
    format!("exec:{}", std::env::current_exe().unwrap().display())
}

pub fn connect_to<Req, Res>(address: &str, config: ProcessConfig) -> ProcessService<Req, Res> {
    let endpoint = Endpoint::new(address).unwrap().with_key("tax-1");
    ProcessTransport::with_config(config).connect(&Member::new(endpoint))
}

pub fn connect<Req, Res>(config: ProcessConfig) -> ProcessService<Req, Res> {
    connect_to(&this(), config)
}

pub fn play(name: &str, more: &str) -> Tax {
    connect(part(name, more))
}

pub async fn call(service: &Tax, number: u64) -> Result<u64, Error> {
    within(service.clone().oneshot(Call::new(number))).await.map(Reply::into_body)
}

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

/// Waits until `done`, which another process or task brings about.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A path of a file or directory that is not there yet.
pub fn new_path(name: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, SeqCst);
    let path = std::env::temp_dir().join(format!("tu-{}-{number}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// A file that is removed with this.
pub struct Script(pub PathBuf);

impl Script {
    pub fn new(text: &str) -> Self {
        let path = new_path("plugin.sh");
        write_script(&path, text);
        Self(path)
    }

    pub fn address(&self) -> String {
        format!("exec:{}", self.0.display())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Puts a script at `path`, in place of what may be there.
pub fn write_script(path: &Path, text: &str) {
    let other = new_path("new.sh");
    std::fs::write(&other, text).unwrap();
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&other, path).unwrap();
}

/// Whether a process runs, or waits to be reaped.
pub fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Whether it is one that has ended, but was not reaped.
pub fn is_zombie(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

/// Children of this process that play a part.
pub fn children() -> Vec<i32> {
    let own = std::process::id();
    let tasks = std::fs::read_dir(format!("/proc/{own}/task")).unwrap();
    let lists =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

pub fn kill(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

pub async fn pid(service: &Tax) -> i32 {
    service.info().await.unwrap().metadata["pid"].parse().unwrap()
}

/// Polls a future so many times, then drops it.
pub struct Polled<F> {
    pub future: Option<std::pin::Pin<Box<F>>>,
    pub left: usize,
}

impl<F: Future> Future for Polled<F> {
    type Output = Option<F::Output>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        if self.left == 0 {
            self.future = None;
        }
        let Some(future) = &mut self.future else { return std::task::Poll::Ready(None) };
        let polled = future.as_mut().poll(cx).map(Some);
        self.left -= 1;
        polled
    }
}

// What a child does.

fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).unwrap_or_else(|_| exit(9));
}

fn answer(line: &str, multiplexes: bool) -> String {
    let asked: Value = serde_json::from_str(line).unwrap();
    let result = match asked["method"].as_str().unwrap() {
        "info" => {
            let capabilities = if multiplexes { &["multiplex"][..] } else { &["vat"] };
            json!({"name": "double", "version": "1.0.0", "capabilities": capabilities})
        }
        "health" => json!({"status": 1, "message": "fine"}),
        _ => json!(asked["payload"].as_u64().unwrap_or_default() * 2),
    };
    format!("{}\n", json!({"id": asked["id"], "result": result}))
}

fn is_call(line: &str) -> bool {
    line.contains(r#""method":"execute""#)
}

/// Lines of stdin.
fn lines() -> impl Iterator<Item = String> {
    let mut input = BufReader::new(std::io::stdin());
    std::iter::from_fn(move || {
        let mut line = String::new();
        match input.read_line(&mut line) {
            Ok(1..) => Some(line.trim_end().to_owned()),
            _ => None,
        }
    })
}

/// One line of stdin, of which not a byte more is read.
fn one_line() -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        match rustix::io::read(std::io::stdin(), &mut byte) {
            Ok(1) if byte[0] == b'\n' => return String::from_utf8(line).unwrap(),
            Ok(1) => line.push(byte[0]),
            _ => exit(0),
        }
    }
}

/// Plays the part that the environment says, if it says one. Each test of plugins has a test `child` that
/// does this.
pub fn play_part() {
    let Ok(part) = std::env::var("TU_PART") else { return };
    let more = std::env::var("TU_MORE").unwrap_or_default();
    // The harness may have begun a line.
    say("\n");
    play_named(&part, &more);
    exit(0);
}

fn play_named(part: &str, more: &str) {
    match part {
        // Answers one after another; a call for more than a million takes so many milliseconds more.
        "serial" => lines().for_each(|line| {
            let asked: Value = serde_json::from_str(&line).unwrap();
            let number = asked["payload"].as_u64().unwrap_or_default();
            std::thread::sleep(Duration::from_millis(number.saturating_sub(1_000_000)));
            say(&answer(&line, false));
        }),
        // The same at once.
        "multiplex" => {
            let threads: Vec<_> = lines()
                .map(|line| {
                    std::thread::spawn(move || {
                        let asked: Value = serde_json::from_str(&line).unwrap();
                        let number = asked["payload"].as_u64().unwrap_or_default();
                        std::thread::sleep(Duration::from_millis(number.saturating_sub(1_000_000)));
                        say(&answer(&line, true));
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        // Tells what it was sent.
        "echo" => lines().for_each(|line| {
            let asked: Value = serde_json::from_str(&line).unwrap();
            say(&format!("{}\n", json!({"id": asked["id"], "result": line})));
        }),
        // Answers a call with a text, in which `ID` is its id, in parts of so many bytes.
        "say" => {
            let (part, text) = more.split_once(' ').unwrap();
            lines().filter(|line| is_call(line)).for_each(|line| {
                let asked: Value = serde_json::from_str(&line).unwrap();
                let text = text.replace("\"ID\"", &asked["id"].to_string());
                for part in text.as_bytes().chunks(part.parse().unwrap()) {
                    say(std::str::from_utf8(part).unwrap());
                }
                say("\n");
            });
        }
        // Tells its environment and its place.
        "place" => lines().filter(|line| is_call(line)).for_each(|line| {
            let asked: Value = serde_json::from_str(&line).unwrap();
            let place: BTreeMap<String, String> = match asked["payload"].as_str().unwrap() {
                "env" => std::env::vars().collect(),
                "limits" => std::fs::read_to_string("/proc/self/limits")
                    .unwrap()
                    .lines()
                    .filter_map(|line| line.split_once("  "))
                    .map(|(name, rest)| {
                        (name.to_owned(), rest.split_whitespace().next().unwrap().to_owned())
                    })
                    .collect(),
                _ => [
                    ("args", std::env::args().skip(1).collect::<Vec<_>>().join("|")),
                    ("dir", std::env::current_dir().unwrap().display().to_string()),
                ]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            };
            say(&format!("{}\n", json!({"id": asked["id"], "result": place})));
        }),
        // Collects so many calls, then answers them in the reverse order.
        "reverse" => {
            let mut waiting = Vec::new();
            for line in lines() {
                if !is_call(&line) {
                    say(&answer(&line, true));
                    continue;
                }
                waiting.push(line);
                if waiting.len() == more.parse::<usize>().unwrap() {
                    waiting.drain(..).rev().for_each(|line| say(&answer(&line, true)));
                }
            }
        }
        // Says how many lines had come by a while after a call.
        "count" => loop {
            let line = one_line();
            if is_call(&line) {
                std::thread::sleep(Duration::from_millis(10));
                let more = rustix::io::ioctl_fionread(std::io::stdin()).unwrap();
                let asked: Value = serde_json::from_str(&line).unwrap();
                say(&format!("{}\n", json!({"id": asked["id"], "result": more})));
            }
        },
        // Reads so many calls, and ends; the one that comes after it answers all.
        "leave" => {
            let (count, file) = more.split_once(' ').unwrap();
            if std::fs::write(file, "").is_ok() && Path::new(&format!("{file}.gone")).exists() {
                return play_named("multiplex", "");
            }
            let mut left: usize = count.parse().unwrap();
            while left > 0 {
                let line = one_line();
                left -= usize::from(is_call(&line));
            }
            // All others are in the pipe by now, or are written into the pipe of the next.
            std::thread::sleep(Duration::from_millis(50));
            std::fs::write(format!("{file}.gone"), "").unwrap();
            exit(3);
        }
        // Ends at once unless there is a file.
        "fragile" if !Path::new(more).exists() => exit(7),
        "fragile" => play_named("serial", ""),
        // Says things beside its answers.
        "chatty" => {
            let mut errors = std::io::stderr().lock();
            writeln!(errors, "started\r\n\n\u{1b}[31mred").unwrap();
            errors.write_all(&[b'x'; 250]).unwrap();
            errors.write_all(b"\n\xff\n").unwrap();
            say("warming up\n{\"level\":\"info\"}\n");
            for line in lines() {
                let asked: Value = serde_json::from_str(&line).unwrap();
                // More than a pipe holds.
                let bytes = asked["payload"].as_u64().unwrap_or_default() as usize;
                errors.write_all(&vec![b'y'; bytes]).unwrap();
                say(&answer(&line, false));
            }
            errors.write_all(b"the end").unwrap();
        }
        // Reads nothing, and lives on.
        "deaf" => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        other => panic!("no part is called `{other}`"),
    }
}

/// Keeps the events of a target: their fields.
#[derive(Clone, Default)]
pub struct Log(pub Arc<Mutex<Vec<String>>>, pub &'static str);

struct Fields(String);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with(self.1)
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
