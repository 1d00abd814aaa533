//! The file of an allow-list.

use tower_upstream::allow::AllowedPlugins;

/// What was read is written so that it is read as the same.
pub fn list(bytes: &[u8]) {
    match AllowedPlugins::parse(&String::from_utf8_lossy(bytes)) {
        Ok(list) => assert_eq!(AllowedPlugins::parse(&list.to_json()).unwrap(), list),
        Err(error) => assert!(error.to_string().len() < 8_000, "{error}"),
    }
}
