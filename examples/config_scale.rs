//! How long config files take to read, and how much memory: a thousand plugins in each format, and files that
//! mean harm.
//!
//! ```text
//! cargo run --release --features yaml --example config_scale
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an example ends if it cannot go on")]

use tower_upstream::config::{Config, Format, PluginConfig, Secrets};

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
        measure(&format!("1,000 plugins, {format}, {} KiB", text.len() >> 10), || {
            Config::from_str(&text, format).unwrap().plugins.len()
        });
    }
    let deep = |open: &str| open.repeat((10 << 20) / open.len());
    let many = |between: &str, end: &str| {
        let keys: Vec<_> = (0..700_000).map(|key| format!("\"k{key}\"{between}0")).collect();
        keys.join(end)
    };
    let mut grows = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let of = vec![format!("*a{}", level - 1); 10].join(",");
        grows += &format!("a{level}: &a{level} [{of}]\n");
    }
    let nested = format!("{}\"{}\"{}", "[".repeat(32), "x".repeat(10 << 20), "]".repeat(32));
    for (what, text, format) in [
        ("10 MiB of [, JSON", deep("["), Format::Json),
        ("10 MiB of [, YAML", deep("["), Format::Yaml),
        ("10 MiB of -, YAML", deep("- "), Format::Yaml),
        ("10 MiB of [, TOML", format!("a = {}", deep("[")), Format::Toml),
        ("a text of 10 MiB, 32 deep, JSON", nested, Format::Json),
        ("700,000 keys, JSON", format!("{{{}}}", many(":", ",")), Format::Json),
        ("700,000 keys, YAML", many(": ", "\n"), Format::Yaml),
        ("700,000 keys, TOML", many(" = ", "\n"), Format::Toml),
        ("aliases that grow, YAML", grows, Format::Yaml),
        (
            "200,000 wrong values",
            format!("plugins: [{{args: [{}1]}}]", "[], ".repeat(190_000)),
            Format::Yaml,
        ),
    ] {
        measure(what, || usize::from(Config::from_str(&text, format).is_err()));
    }
}

fn measure(what: &str, read: impl Fn() -> usize) {
    #[allow(clippy::disallowed_types, reason = "it measures real time")]
    let start = std::time::Instant::now();
    let told = read();
    println!("{what:>34}: {:>8.1?}, peak {} MiB ({told})", start.elapsed(), peak() >> 10);
}

/// The most memory that this process had so far, in KiB; 0 if the system does not say.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
