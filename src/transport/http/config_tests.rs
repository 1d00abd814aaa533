//! Every mistake is named.

use std::time::Duration;

use super::config::HttpConfig;

#[test]
fn a_user_name_is_refused_and_never_shown() {
    let with = |path: &str| HttpConfig { health_path: path.into(), ..HttpConfig::default() };
    let config = with("http://user:secret@a/health");
    let text = format!("{} {config:?}", config.validate().unwrap_err());
    assert!(text.contains("user name") && text.contains("a/health"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    for path in ["/a@b", "http://a/b@c", "http://a?b@c", "a@b"] {
        assert!(with(path).validate().is_ok(), "{path}");
    }
}

#[test]
fn every_mistake_is_named_and_clamping_leaves_none() {
    let absurd = HttpConfig::default()
        .with_request_timeout(Duration::ZERO)
        .with_connect_timeout(Duration::ZERO)
        .with_idle_timeout(Duration::ZERO)
        .with_max_connections(0)
        .with_max_connection_age(Duration::ZERO)
        .with_max_response_bytes(0)
        .with_max_header_bytes(usize::MAX);
    let text = absurd.validate().unwrap_err().to_string();
    for name in [
        "request_timeout",
        "connect_timeout",
        "idle_timeout",
        "max_connections",
        "max_connection_age",
        "max_response_bytes",
        "max_header_bytes",
    ] {
        assert!(text.contains(name), "{text}");
    }
    assert!(absurd.clamped().validate().is_ok());
    assert!(HttpConfig::default().validate().is_ok());
}

#[test]
fn all_settings_are_shown() {
    let config = HttpConfig::default();
    let serde_json::Value::Object(settings) = serde_json::to_value(&config).unwrap() else {
        panic!("it is one object");
    };
    let shown = format!("{config:?}");
    for name in settings.keys() {
        assert!(shown.contains(&format!("{name}: ")), "{name} is not in {shown}");
    }
}
