//! What the log is told of a config.

use serde_json::json;
use tower_upstream::{
    config::{Config, Format, PluginConfig},
    plugins::Plugins,
};

use crate::log::Log;

#[test]
fn an_option_without_effect_is_told_once() {
    let (log, _guard) = Log::of("tower_upstream");
    let told = || log.warnings();
    let plugin = json!({ "name": "tax", "transport": "unix", "endpoint": "/run/tax.sock",
        "options": { "ping_aftr": "7s", "token": "x" } });
    let text = json!({ "plugins": [plugin] }).to_string();
    let path = std::env::temp_dir().join(format!("plugins-told-{}.json", std::process::id()));
    std::fs::write(&path, &text).unwrap();
    let _plugins = Plugins::<u64, u64>::from_file(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let warned = told();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("notes=2") && warned[0].contains("ping_aftr"), "{warned:?}");
    let config = Config::from_str(&text, Format::Json).unwrap();
    let paths: Vec<_> = config.notes().iter().map(|note| note.path.as_str()).collect();
    assert_eq!(paths, ["plugins[0].options.ping_aftr", "plugins[0].options.token"]);
    told();
    Plugins::<u64, u64>::from_config(config).unwrap();
    assert_eq!(told(), [""; 0], "reading has told it");
    // A config that is written in code has no notes.
    let plugin: PluginConfig = serde_json::from_value(plugin).unwrap();
    Plugins::<u64, u64>::from_config(Config::default().with_plugin(plugin.clone())).unwrap();
    Plugins::<u64, u64>::new().register_config(plugin).unwrap();
    let warned = told();
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert!(warned.iter().all(|text| text.contains("`options.ping_aftr`, `options.token`")));
}
