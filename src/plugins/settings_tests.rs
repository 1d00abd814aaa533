use serde_json::{Value, json};

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

#[test]
fn an_option_of_another_type_is_told_at_its_own_key() {
    let options = json!({ "ping_after": "soon", "allowed_uids": [0, "root"], "x": 1 });
    let wrong = plugin(json!({ "transport": "unix", "options": options }));
    let error = socket(&wrong, &Sections::default()).unwrap_err().to_string();
    for part in ["options.ping_after: expected", "options.allowed_uids[1]: expected"] {
        assert!(error.contains(part), "{error}");
    }
}

/// The keys of `connection` that settings go by.
#[cfg(all(feature = "process", feature = "grpc", feature = "tls", unix))]
fn keys_with_effect<T: PartialEq>(settings: impl Fn(&Sections) -> T) -> Vec<&'static str> {
    let all = json!({
        "request_timeout": "9s", "connect_timeout": "7s", "idle_timeout": "1m", "max_idle_connections": 7,
        "max_connections": 9, "max_connection_age": "5m", "keep_alive": false, "max_response_bytes": 4000,
        "max_header_bytes": 10000, "disable_compression": true, "health_path": "/healthz",
        "allowed_uids": [1000], "allow_any_user": true, "tls": { "ca_file": "ca.pem" },
    });
    let defaults = serde_json::to_value(Sections::default()).unwrap();
    let keys = defaults["connection"].as_object().unwrap().keys();
    let without = settings(&Sections::default());
    let mut found: Vec<&'static str> = Vec::new();
    for key in keys {
        let one = json!({ "connection": { key: all[key] } });
        let sections: Sections = serde_json::from_value(one).unwrap();
        assert_ne!(sections, Sections::default(), "{key} is not tried");
        if settings(&sections) != without {
            found.push(key.clone().leak());
        }
    }
    found
}

#[cfg(all(feature = "process", feature = "grpc", feature = "tls", unix))]
#[test]
fn each_transport_goes_by_the_keys_of_connection_that_the_guide_says() {
    let of = |transport: &str| {
        let whole = plugin(json!({ "transport": transport }));
        match transport {
            "http" => keys_with_effect(http),
            "grpc" => keys_with_effect(|sections| grpc(&whole, sections).unwrap()),
            "unix" => keys_with_effect(|sections| socket(&whole, sections).unwrap()),
            _ => keys_with_effect(|sections| process(&whole, sections).unwrap()),
        }
    };
    let guide = include_str!("../_guide/config.md");
    for (column, transport) in ["http", "grpc", "unix", "exec"].into_iter().enumerate() {
        let keys = of(transport);
        let (_, table) = guide.split_once("| key of `connection` |").unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let said: Vec<_> = rows
            .filter_map(|row| {
                let cells: Vec<_> = row.split('|').map(str::trim).collect();
                (cells[2 + column] == "yes").then(|| cells[1].replace('`', ""))
            })
            .flat_map(|keys| keys.split(", ").map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let mut said: Vec<&str> = said.iter().map(String::as_str).collect();
        said.sort_unstable();
        assert_eq!(keys, said, "{transport}");
    }
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
        let error = config(json!({ "options": { "environment": ["A"] } })).unwrap_err().to_string();
        assert!(error.contains("options.environment") && error.contains("NAME=value"), "{error}");
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
