use std::time::Duration;

use super::{Multiplex, OutputConfig, ProcessConfig};
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
    let mut config =
        config.with_handshake(Handshake { protocol_version: 0, ..Handshake::default() });
    config.output.max_line_bytes = 0;
    let text = config.validate().unwrap_err().to_string();
    for part in [
        "`request_timeout`",
        "`output.max_line_bytes`",
        "`max_calls`",
        "`work_dir`",
        "`restart_delay` is longer",
        "`args`",
        "`env`",
        "`handshake.protocol_version`",
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

#[test]
fn the_names_of_go_are_read_too() {
    let ours = OutputConfig::default().with_stdout(false).with_stderr(false).with_timestamps(true);
    let ours = ours.with_max_line_bytes(100).with_line_buffered(false).with_prefix("plugin");
    let ours = ours.with_flush_interval(Duration::from_secs(1));
    for (outer, prefix) in [
        ("stream_sync", "output_prefix"),
        ("stream_sync_config", "log_prefix"),
        ("output", "prefix_text"),
    ] {
        let text = format!(
            r#"{{"{outer}":{{"sync_stdout":false,"sync_stderr":false,"buffer_size":100,
                "line_buffered":false,"prefix_output":true,"{prefix}":"plugin",
                "timestamp_output":true,"flush_interval":1000000000}}}}"#
        );
        let config: ProcessConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(config.output, ours);
    }
    let again = serde_json::to_string(&ours).unwrap();
    assert_eq!(serde_json::from_str::<OutputConfig>(&again).unwrap(), ours);
    assert!(serde_json::from_str::<OutputConfig>(r#"{"buffer_size":-1}"#).is_err());
}
