use std::time::Duration;

use super::{Multiplex, ProcessConfig};
use crate::{auth::Secret, plugin::Handshake};

#[test]
fn each_mistake_is_named() {
    let config = ProcessConfig {
        request_timeout: Duration::ZERO,
        max_calls: 0,
        work_dir: "\0".to_owned(),
        restart_delay: Duration::from_secs(60),
        ..ProcessConfig::default()
    };
    let config = config.with_args(["a", "\0"]).with_env("a=b", "c");
    let config = config.with_handshake(Handshake { protocol_version: 0, ..Handshake::default() });
    let text = config.validate().unwrap_err().to_string();
    for part in [
        "`request_timeout`",
        "`max_calls`",
        "`work_dir`",
        "`restart_delay` is longer",
        "`args`",
        "`env`",
        "`protocol_version`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let clamped = config.clamped();
    assert_eq!(clamped.request_timeout, Duration::from_secs(30));
    assert_eq!((clamped.max_calls, clamped.restart_delay.as_secs()), (1_024, 30));
    assert!(ProcessConfig::default().validate().is_ok());
}

#[test]
fn a_file_is_read_and_values_of_variables_are_never_written() {
    let text = r#"{"args":["-v"],"env":{"TOKEN":"s3cret"},"multiplex":"never","stop_grace":"2s"}"#;
    let config: ProcessConfig = serde_json::from_str(text).unwrap();
    assert_eq!((config.stop_grace.as_secs(), config.multiplex), (2, Multiplex::Never));
    assert_eq!(config.env["TOKEN"], Secret::from("s3cret"));
    let shown = format!("{} {config:?}", serde_json::to_string(&config).unwrap());
    assert!(shown.contains("TOKEN") && !shown.contains("s3cret"), "{shown}");
    assert!(serde_json::from_str::<ProcessConfig>(r#"{"arg":[]}"#).is_err());
}
