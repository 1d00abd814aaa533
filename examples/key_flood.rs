//! A quota for each key, and a million keys: what that takes of memory.
//!
//! ```text
//! cargo run --release --example key_flood
//! ```

use std::time::Duration;

use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{BoxError, Call, Quota, RateLimitLayer};

const KEYS: u64 = 1_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // Two calls an hour for each caller.
    let limit = RateLimitLayer::new(Quota::new(2, Duration::from_secs(3_600)))
        .by_key(|call: &Call<u64>| *call.body());
    let table = limit.handle();
    let mut service = ServiceBuilder::new()
        .layer(limit)
        .service(service_fn(async |_: Call<u64>| Ok::<_, BoxError>(())));

    // One caller has spent its quota.
    let greedy = u64::MAX;
    table.take(&greedy, 2)?;

    let start = Instant::now();
    for key in 0..KEYS {
        service.ready().await?.call(Call::new(key)).await?;
    }
    let before = resident();
    println!("{KEYS} keys in {:?}: {}", start.elapsed(), told(before));

    for key in KEYS..2 * KEYS {
        service.ready().await?.call(Call::new(key)).await?;
    }
    let after = resident();
    println!("another {KEYS} keys: {}", told(after));
    println!("the table: {} bytes, made for {} keys", table.bytes(), table.max_keys());
    if let (Some(before), Some(after)) = (before, after) {
        println!("grown by KiB: {}", after - before);
    }

    let refused = service.ready().await?.call(Call::new(greedy)).await;
    if refused.is_err_and(|error| error.is_refused()) {
        println!("the key that had spent its quota is refused still");
    }
    Ok(())
}

fn told(resident: Option<i64>) -> String {
    match resident {
        Some(kib) => format!("{kib} KiB resident"),
        None => "no /proc/self/status here".to_owned(),
    }
}

/// What of the memory of this process is in use, in KiB.
fn resident() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
