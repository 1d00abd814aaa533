//! Real servers, which `tests/real/run` starts and names.
#![allow(dead_code, unreachable_pub)]

use std::process::Stdio;

use tokio::process::Command;

/// What the script says. `None`: it does not run.
pub fn given(name: &str) -> Option<String> {
    let given = std::env::var(name).ok();
    if given.is_none() {
        let server = name.split('_').next().unwrap_or_default().to_lowercase();
        println!("skipped: no `{name}`; TOWER_UPSTREAM_REAL={server} tests/real/run");
    }
    given
}

/// Controls a server.
pub async fn script(arguments: &[&str]) {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(format!("{root}/tests/real/run"));
    let status = command.args(arguments).stdin(Stdio::null()).status().await.unwrap();
    assert!(status.success(), "{arguments:?}");
}
