use serde_json::json;

use super::*;

fn plugin(written: Value) -> PluginConfig {
    let mut whole = json!({ "name": "tax" });
    let (all, more) = (whole.as_object_mut().unwrap(), written.as_object().unwrap().clone());
    all.extend(more);
    serde_json::from_value(whole).unwrap()
}

#[test]
fn options_are_settings_of_the_transport_by_their_own_names() {
    let socket = |written| socket(&plugin(written), &Sections::default());
    let options = json!({ "ping_after": "7s" });
    let unix = socket(json!({ "transport": "unix", "options": options })).unwrap();
    assert_eq!(unix.ping_after, std::time::Duration::from_secs(7));
    let other = socket(json!({ "transport": "http", "options": options })).unwrap();
    assert_eq!(other.ping_after, SocketConfig::default().ping_after);
    let wrong = json!({ "transport": "unix", "options": { "ping_after": [] } });
    let error = socket(wrong).unwrap_err().to_string();
    assert!(error.contains("options.ping_after"), "{error}");
}

#[test]
fn options_that_a_transport_does_not_know_are_told_with_the_nearest_name() {
    let told = |transport: &str, options| {
        without_effect(&plugin(json!({ "transport": transport, "options": options })))
    };
    assert_eq!(told("unix", json!({ "ping_after": "7s" })), None);
    assert_eq!(told("http", json!({})), None);
    let text = told("unix", json!({ "ping_aftr": "7s", "x": 1 })).unwrap();
    for part in ["`unix`", "`options.ping_aftr`", "`options.x`", "did you mean `ping_after`?"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(told("http", json!({ "retries": 2 })).unwrap().contains("`options.retries`"));
    let bridge = told("exec", json!({ "args": [], "bridge_config": {}, "stream_sync_config": {} }));
    assert!(bridge.is_some_and(|text| text.contains("bridge_config") && !text.contains("args")));
}

#[cfg(all(feature = "process", unix))]
mod exec {
    use super::*;

    fn config(written: Value) -> Result<ProcessConfig, Error> {
        let mut plugin = plugin(written);
        plugin.transport = "exec".to_owned();
        process(&plugin, &Sections::default())
    }

    #[test]
    fn arguments_are_those_of_the_first_place_that_has_some() {
        let args = |written| config(written).unwrap().args;
        let (options, annotations) =
            (json!({ "args": ["b", "c d"] }), json!({ "args": "e, f g,," }));
        let both = json!({ "options": options, "annotations": annotations });
        assert_eq!(args(both), ["b", "c d"]);
        assert_eq!(args(json!({ "args": ["a"], "options": options })), ["a"]);
        assert_eq!(args(json!({ "annotations": annotations })), ["e", "f g"]);
        assert_eq!(args(json!({})), [""; 0]);
        let error = config(json!({ "options": { "args": "x" } })).unwrap_err().to_string();
        assert!(error.contains("options.args"), "{error}");
    }

    #[test]
    fn a_variable_is_that_of_the_first_place_that_has_it() {
        let env = config(json!({
            "env": ["A=1"],
            "options": { "env": ["A=2", "B=2"], "environment": { "B": "3", "C": "3" } },
            "annotations": { "env_C": "4", "env_D": "4", "env_E": "" },
        }));
        let env = env.unwrap().env;
        let env: Vec<_> = env.iter().map(|(name, value)| (&**name, value.expose())).collect();
        assert_eq!(env, [("A", "1"), ("B", "2"), ("C", "3"), ("D", "4")]);
        assert!(config(json!({ "options": { "env": 7 } })).is_err());
    }

    #[test]
    fn the_handshake_and_the_output_have_the_names_of_go() {
        for (version, key) in
            [("ProtocolVersion", "MagicCookieKey"), ("protocolversion", "magiccookiekey")]
        {
            let options = json!({
                "handshake_config": { version: 3, key: "K" },
                "stream_sync_config": { "sync_stdout": false, "buffer_size": 8192 },
                "multiplex": "never",
            });
            let config = config(json!({ "version": "2.0.0", "options": options })).unwrap();
            let handshake = &config.handshake;
            assert_eq!((handshake.protocol_version, &*handshake.magic_cookie_key), (3, "K"));
            assert_eq!(handshake.magic_cookie_value, Handshake::default().magic_cookie_value);
            assert_eq!((&*handshake.plugin_name, &*handshake.plugin_version), ("tax", "2.0.0"));
            assert_eq!((config.output.stdout, config.output.max_line_bytes), (false, 8_192));
        }
        for wrong in [json!({ "ProtocolVersion": "x" }), json!({ "magic": "y" })] {
            let error = config(json!({ "options": { "handshake_config": wrong } })).unwrap_err();
            assert!(error.to_string().contains("options.handshake_config"), "{error}");
        }
        let text = json!({ "options": { "handshake_config": { "ProtocolVersion": "2" } } });
        assert_eq!(config(text).unwrap().handshake.protocol_version, 2);
    }
}
