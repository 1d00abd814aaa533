//! A thousand plugins in one file: how long it takes to read and to make them, and what an idle one costs.
//!
//! ```text
//! cargo run --release --features yaml --example thousand_plugins [PLUGINS]
//! ```

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fmt::Write,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::Instant;
use tower_upstream::{
    BoxError,
    config::{Config, Format},
    plugins::Plugins,
};

/// Counts the bytes that are in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work, and is told the same.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        IN_USE.fetch_add(size, Ordering::Relaxed);
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() -> Result<(), BoxError> {
    let plugins = std::env::args().nth(1).map_or(Ok(1_000), |arg| arg.parse())?;
    for (name, format, text) in
        [("JSON", Format::Json, json(plugins)), ("YAML", Format::Yaml, yaml(plugins))]
    {
        let before = IN_USE.load(Ordering::Relaxed);
        let (mut read, mut made) = (Duration::MAX, Duration::MAX);
        let mut each = 0;
        for _ in 0..5 {
            let start = Instant::now();
            let config = Config::from_str(&text, format)?;
            read = read.min(start.elapsed());
            let start = Instant::now();
            let all = Plugins::<u64, u64>::from_config(config)?;
            made = made.min(start.elapsed());
            assert_eq!(all.names().len(), plugins);
            each = IN_USE.load(Ordering::Relaxed).saturating_sub(before) / plugins.max(1);
        }
        println!(
            "{name}: {plugins} plugins in {} KiB; read in {:.1} ms, made in {:.1} ms; an idle plugin takes {:.1} KiB",
            text.len() >> 10,
            read.as_secs_f64() * 1e3,
            made.as_secs_f64() * 1e3,
            each as f64 / 1024.0,
        );
    }
    Ok(())
}

fn json(plugins: usize) -> String {
    let all = (0..plugins).map(|n| {
        format!(
            r#"{{"name": "plugin-{n}", "type": "payment", "transport": "http",
 "endpoints": ["http://10.0.{}.{}:8080", {{"address": "http://10.1.{}.{}:8080", "weight": 2}}],
 "retry": {{"max_retries": 2, "initial_interval": "50ms"}}, "timeout": "5s",
 "labels": {{"team": "t{}"}}}}"#,
            n / 250,
            n % 250,
            n / 250,
            n % 250,
            n % 7
        )
    });
    format!("{{\"plugins\": [{}]}}", all.collect::<Vec<_>>().join(",\n"))
}

fn yaml(plugins: usize) -> String {
    let mut text = String::from("plugins:\n");
    for n in 0..plugins {
        let _ = write!(
            text,
            "  plugin-{n}:\n    type: payment\n    transport: http\n    endpoints:\n      \
             - http://10.0.{}.{}:8080\n      - {{address: 'http://10.1.{}.{}:8080', weight: 2}}\n    \
             retry: {{max_retries: 2, initial_interval: 50ms}}\n    timeout: 5s\n    labels: {{team: t{}}}\n",
            n / 250,
            n % 250,
            n / 250,
            n % 250,
            n % 7
        );
    }
    text
}
