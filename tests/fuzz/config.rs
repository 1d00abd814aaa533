//! Config files: whatever they hold, they are read or refused, and a config is written as it was read.

use tower_upstream::config::{Config, Format, Secrets};

fn read(bytes: &[u8], format: Format) {
    let text = String::from_utf8_lossy(bytes);
    match Config::from_str(&text, format) {
        Ok(config) => {
            let _ = config.to_text(format, Secrets::Written);
        }
        Err(error) => {
            assert!(!error.mistakes().is_empty());
            let _ = error.to_string();
        }
    }
}

pub(super) fn json(bytes: &[u8]) {
    read(bytes, Format::Json);
}

pub(super) fn yaml(bytes: &[u8]) {
    read(bytes, Format::Yaml);
}

pub(super) fn toml(bytes: &[u8]) {
    read(bytes, Format::Toml);
}
