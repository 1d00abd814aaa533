//! How long config files take to read, and how much memory: a thousand plugins in each format, and files that
//! mean harm.
//!
//! ```text
//! cargo run --release --features yaml --example config_scale
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an example ends if it cannot go on")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use tower_upstream::config::{Config, Format, PluginConfig, Secrets};

/// Counts the bytes that are in use, and the most that were.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    fn add(size: usize) {
        let now = IN_USE.fetch_add(size, Ordering::Relaxed) + size;
        PEAK.fetch_max(now, Ordering::Relaxed);
    }
}

// SAFETY: the system's allocator does the work, and is told the same.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there for a moment.
        Self::add(size);
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Length of a file that means harm.
const LONG: usize = 10 << 20;

fn main() {
    let plugins = (0..1_000).map(|number| {
        PluginConfig::new(format!("plugin-{number}"), "https")
            .with_endpoint(format!("https://plugin-{number}.example.com/api"))
            .with_label("team", "payments")
            .with_rate_limit(Some(Default::default()))
    });
    let config = plugins.fold(Config::go(), Config::with_plugin);
    for format in [Format::Json, Format::Yaml, Format::Toml] {
        let text = config.to_text(format, Secrets::Masked).unwrap();
        measure(&format!("1,000 plugins, {format}, {} KiB", text.len() >> 10), format, || {
            text.clone()
        });
    }
    drop(config);
    let filled = |of: &str| of.repeat(LONG / of.len());
    let many = |between: &str, end: &str| {
        let keys: Vec<_> = (0..700_000).map(|key| format!("\"k{key}\"{between}0")).collect();
        keys.join(end)
    };
    for format in [Format::Json, Format::Yaml, Format::Toml] {
        let (start, between, end) = match format {
            Format::Toml => ("a = ", " = ", "\n"),
            Format::Yaml => ("", ": ", "\n"),
            _ => ("", ":", ","),
        };
        measure(&format!("10 MiB of [, {format}"), format, || start.to_owned() + &filled("["));
        measure(&format!("5 MiB of [ and as many ], {format}"), format, || {
            format!("{start}{}{}", "[".repeat(LONG / 2), "]".repeat(LONG / 2))
        });
        measure(&format!("10 MiB of [], {format}"), format, || {
            format!("{start}[{}1]", filled("[],"))
        });
        measure(&format!("700,000 keys, {format}"), format, || match format {
            Format::Json => format!("{{{}}}", many(between, end)),
            _ => many(between, end),
        });
        measure(&format!("10 MiB of lines, {format}"), format, || filled("\n"));
        measure(&format!("10 MiB of }} and line, {format}"), format, || filled("}\n"));
        measure(&format!("10 MiB of ${{, {format}"), format, || match format {
            Format::Toml => format!("plugins = \"{}\"", filled("${")),
            _ => format!("{{\"plugins\": \"{}\"}}", filled("${")),
        });
        measure(&format!("a text of 10 MiB, 32 deep, {format}"), format, || {
            format!("{start}{}\"{}\"{}", "[".repeat(32), "x".repeat(LONG), "]".repeat(32))
        });
    }
    measure("10 MiB of -, YAML", Format::Yaml, || filled("- "));
    measure("aliases that grow, YAML", Format::Yaml, || {
        let mut grows = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..9 {
            let of = vec![format!("*a{}", level - 1); 10].join(",");
            grows += &format!("a{level}: &a{level} [{of}]\n");
        }
        grows
    });
    measure("190,000 wrong values", Format::Json, || {
        format!("{{\"plugins\": [{{\"args\": [{}1]}}]}}", "[], ".repeat(190_000))
    });
    measure("190,000 plugins", Format::Json, || {
        format!("{{\"plugins\": [{}1]}}", "{},".repeat(190_000))
    });
    measure("54,000 unknown keys", Format::Json, || {
        let keys = (0..6).map(|key| format!("\"endpoint_of_it{key}\": 1")).collect::<Vec<_>>();
        let plugin = format!("{{{}}}", keys.join(","));
        format!("{{\"plugins\": [{}]}}", vec![plugin; 9_000].join(","))
    });
    measure("100,000 wrong addresses", Format::Json, || {
        let plugin = r#"{"transport": "http", "endpoints": ["#;
        format!("{{\"plugins\": [{plugin}{}1]}}]}}", "\"\",".repeat(100_000))
    });
    measure("a default for 9,000 plugins", Format::Json, || {
        let keys: Vec<_> = (0..170_000).map(|key| format!("\"k{key}\":0")).collect();
        let plugins = vec![r#"{"retry": {}}"#; 9_000].join(",");
        format!("{{\"default_retry\": {{{}}}, \"plugins\": [{plugins}]}}", keys.join(","))
    });
    measure("a circle of 9,000 fallbacks", Format::Json, || {
        let plugin = |number: usize| {
            let next = (number + 1) % 9_000;
            format!(
                r#""p{number}": {{"transport": "http", "endpoint": "http://a", "fallback": "p{next}"}}"#
            )
        };
        let plugins: Vec<_> = (0..9_000).map(plugin).collect();
        format!("{{\"plugins\": {{{}}}}}", plugins.join(","))
    });
}

/// Reads a text once, and says how much memory was in use at most while it was read, with the text.
fn measure(what: &str, format: Format, text: impl Fn() -> String) {
    let before = IN_USE.load(Ordering::Relaxed);
    let text = text();
    PEAK.store(IN_USE.load(Ordering::Relaxed), Ordering::Relaxed);
    #[allow(clippy::disallowed_types, reason = "it measures real time")]
    let start = std::time::Instant::now();
    let read = Config::from_str(&text, format);
    let took = start.elapsed();
    let peak = PEAK.load(Ordering::Relaxed) - before;
    let told = match &read {
        Ok(config) => format!("{} plugins", config.plugins.len()),
        Err(error) => format!("{}, {} mistakes", error.code(), error.total()),
    };
    println!("{what:>38}: {took:>8.1?}, {:>3} MiB ({told})", peak >> 20);
}
