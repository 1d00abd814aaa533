//! What the log is told of a config.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use serde_json::json;
use tower_upstream::{
    config::{Config, Format, PluginConfig},
    plugins::Plugins,
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Keeps the warnings.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("tower_upstream")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn an_option_without_effect_is_told_once() {
    let log = Log::default();
    let _default = tracing::subscriber::set_default(log.clone());
    let told = || std::mem::take(&mut *log.0.lock().unwrap());
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
