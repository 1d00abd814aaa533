//! Parsers of bytes from outside, on inputs that are made of a corpus by random changes. None may panic,
//! or take more memory than its limit.
//!
//! ```text
//! FUZZ_SECONDS=300 cargo test --release --all-features --test fuzz -- --nocapture
//! ```
//! Each target runs for `FUZZ_SECONDS`, one by default. The seed is printed; `FUZZ_SEED` repeats it. An
//! input that fails is written to the temporary directory: add it to `corpus/`, so that it is tried
//! first from then on.
#![cfg(feature = "http")]
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(all(feature = "process", unix))]
mod allow;
#[cfg(feature = "yaml")]
mod config;
#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "sticky")]
mod cookies;
mod endpoints;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "eureka")]
mod eureka;
mod fields;
#[cfg(feature = "grpc")]
mod grpc;
mod http;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod lines;
#[cfg(feature = "mdns")]
mod mdns;
mod memory;
mod mutate;
#[cfg(any(feature = "consul", feature = "eureka"))]
mod replies;
mod wire;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

use mutate::Mutator;
use wire::{
    frames::Frames,
    stream::{Asked, Told},
    text::text,
};

#[path = "../../src/duration.rs"]
mod duration;

#[cfg(feature = "etcd")]
mod error {
    pub(crate) use tower_upstream::Error;
}

#[cfg(feature = "etcd")]
mod sync {
    pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }
}

mod time {
    use std::time::Duration;

    pub(crate) const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

    pub(crate) fn nanos(duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Most bytes of a message here; the corpus has longer ones too.
const LIMIT: usize = 512;
/// Most bytes that one input may take, with all that a connection has.
const MOST: usize = 512 << 10;
/// The same of a file, of which up to 1,000 mistakes are told, each with its line.
#[cfg(any(feature = "kubernetes", feature = "yaml"))]
const MOST_OF_FILE: usize = 4 << 20;

/// Reads a stream as a connection does, and each message in it.
fn stream(mut bytes: &[u8], mut read: impl FnMut(&str)) {
    let mut frames = Frames::default();
    loop {
        match frames.take(LIMIT) {
            Ok(Some(message)) => {
                assert!(message.len() <= LIMIT && message.starts_with(b"{"));
                read(&text(&message));
            }
            Ok(None) if bytes.is_empty() => return,
            Ok(None) => wire::feed(&mut frames, &mut bytes, LIMIT),
            Err(_) => return,
        }
    }
}

fn question(bytes: &[u8]) {
    stream(bytes, |message| {
        if let Ok(asked) = Asked::read(message) {
            assert!(asked.headers.len() <= 1_024 && asked.metadata.len() <= 1_024);
            assert_ne!(asked.timeout, Some(Duration::ZERO));
        }
    });
}

fn answer(bytes: &[u8]) {
    stream(bytes, |message| {
        if let Ok(told) = Told::read(message) {
            assert!(told.retry_after.is_none_or(|wait| wait <= time::FAR));
            let _ = told.data.map(|data| serde_json::from_str::<serde_json::Value>(data.get()));
        }
    });
}

fn go_duration(bytes: &[u8]) {
    if let Some(duration) = duration::parse_go_duration(&String::from_utf8_lossy(bytes)) {
        let written = duration::go_duration(duration);
        assert_eq!(duration::parse_go_duration(&written), Some(duration));
    }
}

#[cfg(feature = "grpc")]
fn grpc_message(bytes: &[u8]) {
    use ::bytes::Bytes;
    let body = Bytes::copy_from_slice(bytes);
    if let Ok(message) = grpc::frame::unframe(body.clone()) {
        // A message that is one is framed as it came.
        let again = grpc::frame::frame(|framed| {
            framed.extend_from_slice(&message);
            Ok::<_, ()>(())
        });
        assert_eq!(again.unwrap(), body);
    }
}

#[cfg(feature = "grpc")]
fn grpc_details(bytes: &[u8]) {
    if let Some(wait) = grpc::rpc_status::retry_delay(bytes) {
        let written = grpc::rpc_status::with_retry_info(8, "", wait);
        assert_eq!(grpc::rpc_status::retry_delay(&written), Some(wait));
    }
}

#[cfg(feature = "grpc")]
fn grpc_timeout(bytes: &[u8]) {
    let mut headers = ::http::HeaderMap::new();
    let Ok(value) = ::http::HeaderValue::from_bytes(bytes) else { return };
    headers.insert("grpc-timeout", value);
    if let Some(timeout) = grpc::timeout::read(&headers) {
        grpc::timeout::write(&mut headers, timeout);
        // Six centuries are for ever.
        assert!(grpc::timeout::read(&headers) >= Some(timeout.min(Duration::from_nanos(u64::MAX))));
    }
}

fn fuzz(name: &str, target: fn(&[u8])) {
    let corpus = corpus(name);
    for input in &corpus {
        run(name, target, input);
    }
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("FUZZ_SECONDS").unwrap_or(1);
    let seed = number("FUZZ_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        now.as_nanos() as u64 | 1
    });
    let mut mutator = Mutator::new(seed);
    #[allow(clippy::disallowed_types, reason = "a budget in real time")]
    let start = std::time::Instant::now();
    let mut runs = 0_u64;
    while start.elapsed().as_secs() < seconds {
        for _ in 0..100 {
            let input = mutator.input(&corpus);
            run(name, target, &input);
        }
        runs += 100;
    }
    println!("{name}: {runs} inputs, FUZZ_SEED={seed}");
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn most(name: &str) -> usize {
    match name {
        #[cfg(feature = "yaml")]
        "config_json" | "config_toml" | "config_yaml" => MOST_OF_FILE,
        #[cfg(feature = "kubernetes")]
        "kubeconfig" => MOST_OF_FILE,
        _ => MOST,
    }
}

fn run(name: &str, target: fn(&[u8]), input: &[u8]) {
    let judged = || {
        let took = memory::most(|| target(input));
        assert!(took <= most(name), "it took {took} bytes");
    };
    if catch_unwind(AssertUnwindSafe(judged)).is_err() {
        let file: PathBuf = std::env::temp_dir().join(format!("fuzz-{name}"));
        fs::write(&file, input).unwrap();
        panic!("`{name}` failed for {}: {}", file.display(), input.escape_ascii());
    }
}

#[test]
fn questions_of_a_stream() {
    fuzz("question", question);
}

#[test]
fn answers_of_a_stream() {
    fuzz("answer", answer);
}

#[cfg(feature = "grpc")]
#[test]
fn messages_of_grpc() {
    fuzz("grpc_message", grpc_message);
}

#[cfg(feature = "grpc")]
#[test]
fn details_of_a_status_of_grpc() {
    fuzz("grpc_details", grpc_details);
}

#[cfg(feature = "grpc")]
#[test]
fn timeouts_of_grpc() {
    fuzz("grpc_timeout", grpc_timeout);
}

#[test]
fn durations_of_go() {
    fuzz("duration", go_duration);
}

#[test]
fn replies_over_http() {
    fuzz("reply", http::reply);
}

#[test]
fn compressed_replies_over_http() {
    fuzz("gzip", http::gzip);
}

#[test]
fn questions_over_http() {
    fuzz("asked", http::asked);
}

#[test]
fn fields_of_proxies() {
    fuzz("forwarded", fields::forwarded);
}

#[cfg(feature = "sticky")]
#[test]
fn cookies_of_sessions() {
    fuzz("session_cookie", cookies::session);
}

#[test]
fn wishes_of_endpoints() {
    fuzz("wishes", fields::wishes);
}

#[test]
fn addresses_of_endpoints() {
    fuzz("address", fields::address);
}

#[test]
fn questions_in_lines() {
    fuzz("line_asked", lines::question);
}

#[test]
fn answers_in_lines() {
    fuzz("line_told", lines::answer);
}

#[cfg(all(feature = "process", unix))]
#[test]
fn lists_of_allowed_plugins() {
    fuzz("allow", allow::list);
}

#[cfg(feature = "etcd")]
#[test]
fn what_a_watch_stream_of_etcd_tells() {
    fuzz("etcd_watch", etcd::watch);
}

#[cfg(feature = "etcd")]
#[test]
fn values_of_etcd() {
    fuzz("etcd_value", etcd::value);
}

#[test]
fn instances_of_registries() {
    fuzz("instance", endpoints::instance);
}

#[test]
fn documents_of_services() {
    fuzz("farp", endpoints::farp);
}

#[cfg(feature = "consul")]
#[test]
fn instances_in_consul() {
    fuzz("consul", consul::instances);
}

#[cfg(feature = "consul")]
#[test]
fn answers_of_consul() {
    fuzz("consul_http", |bytes| consul::answer(bytes.to_vec()));
}

#[cfg(feature = "kubernetes")]
#[test]
fn lists_of_kubernetes() {
    fuzz("kubernetes_list", kubernetes::list);
}

#[cfg(feature = "kubernetes")]
#[test]
fn events_of_kubernetes() {
    fuzz("kubernetes_watch", kubernetes::watch);
}

#[cfg(all(feature = "kubernetes", unix))]
#[test]
fn credentials_for_kubernetes() {
    fuzz("kubernetes_credential", kubernetes::credential);
}

#[cfg(feature = "kubernetes")]
#[test]
fn files_of_kubectl() {
    fuzz("kubeconfig", kubernetes::kubeconfig);
}

#[cfg(feature = "mdns")]
#[test]
fn txt_records_of_mdns() {
    fuzz("mdns_txt", mdns::txt);
}

#[cfg(feature = "eureka")]
#[test]
fn registries_of_eureka() {
    fuzz("eureka", eureka::applications);
}

#[test]
fn lists_of_endpoints() {
    fuzz("endpoints", endpoints::list);
}

#[cfg(feature = "yaml")]
#[test]
fn configs_in_json() {
    fuzz("config_json", config::json);
}

#[cfg(feature = "yaml")]
#[test]
fn configs_in_yaml() {
    fuzz("config_yaml", config::yaml);
}

#[cfg(feature = "yaml")]
#[test]
fn configs_in_toml() {
    fuzz("config_toml", config::toml);
}
