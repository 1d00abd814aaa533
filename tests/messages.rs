//! What the compiler says to the two commonest mistakes.
//!
//! Checks a small crate that makes each of them, and looks for the sentences that help. Not a
//! snapshot: other words of the compiler may change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{fs, path::Path, process::Command};

const LAYER_OF_ANOTHER_CRATE_BELOW: &str = r#"
use std::time::Duration;
use tower_layer::Layer;
use tower_upstream::{BalanceLayer, Endpoint, LeastRequest, connect_fn, discover};

struct Timeout<S>(S, Duration);
struct TimeoutLayer(Duration);
impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;
    fn layer(&self, inner: S) -> Timeout<S> { Timeout(inner, self.0) }
}
#[derive(Clone)]
struct Client;

pub fn mistake() {
    let endpoints = discover::fixed(["a:1"]).unwrap();
    let connector = TimeoutLayer(Duration::ZERO).layer(connect_fn(|_: &Endpoint| Client));
    let _ = BalanceLayer::new(endpoints, LeastRequest::default()).layer(connector);
}
"#;

const LAYER_OF_ANOTHER_CRATE_BETWEEN: &str = r#"
use tower_layer::Layer;
use tower_upstream::{Attempts, BalanceLayer, Endpoint, FailoverLayer, LeastRequest, connect_fn, discover};

struct Timeout<S>(S);
#[derive(Clone)]
struct Client;

pub fn mistake() {
    let endpoints = discover::fixed(["a:1"]).unwrap();
    let balance = BalanceLayer::new(endpoints, LeastRequest::default())
        .layer(connect_fn(|_: &Endpoint| Client));
    let _ = FailoverLayer::new(Attempts::up_to(3)).layer(Timeout(balance));
}
"#;

/// What `cargo check` says to a crate of this source.
fn check(name: &str, source: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("messages").join(name);
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\ntower-layer = \"0.3\"\ntower-upstream = {{ path = {root:?} }}\n\n\
         [workspace]\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    // The versions that are here already, so that nothing is fetched.
    let _ = fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"));
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet", "--color=never"])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", folder.parent().unwrap().join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(!output.status.success(), "the mistake compiles");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_compiler_says_what_to_do() {
    let below = check("below", LAYER_OF_ANOTHER_CRATE_BELOW);
    assert!(
        below.contains("is not a connector, so it cannot stand below a `BalanceLayer`"),
        "{below}"
    );
    assert!(below.contains("EachLayer::new"), "{below}");

    let between = check("between", LAYER_OF_ANOTHER_CRATE_BETWEEN);
    assert!(between.contains("Timeout<Balance<Client, LeastRequest>>"), "{between}");
    assert!(between.contains("does not choose an endpoint"), "{between}");
    assert!(between.contains("Attempts::timeout"), "{between}");
}
