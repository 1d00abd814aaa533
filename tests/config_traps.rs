//! What config files are known to go wrong by: words, numbers, encodings and placeholders that do not mean what they
//! seem to, as they were reported of many loaders.
#![cfg(all(feature = "config", feature = "yaml"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{fs, path::PathBuf, time::Duration};

use serde_json::json;
use tower_upstream::{
    config::{
        Config, ConfigError, Format, PluginConfig, ReadOptions, Secrets,
        env::{self, EnvOptions},
    },
    error::Code,
};

const ALL: [Format; 3] = [Format::Json, Format::Yaml, Format::Toml];

/// The plugin `tax` with `members`.
fn text(members: &str, format: Format) -> String {
    match format {
        Format::Json => format!(
            "{{\"plugins\": {{\"tax\": {{\"transport\": \"unix\", \"endpoint\": \"/a\", {members}}}}}}}"
        ),
        Format::Toml => {
            format!("[plugins.tax]\ntransport = 'unix'\nendpoint = '/a'\n{members}\n")
        }
        _ => format!("plugins:\n  tax:\n    transport: unix\n    endpoint: /a\n    {members}\n"),
    }
}

fn read(members: &str, format: Format) -> PluginConfig {
    let text = text(members, format);
    let config = Config::from_str(&text, format).unwrap_or_else(|error| panic!("{error}\n{text}"));
    config.plugins[0].clone()
}

fn yaml(members: &str) -> PluginConfig {
    read(members, Format::Yaml)
}

fn refused(text: &str, format: Format) -> ConfigError {
    match Config::from_str(text, format) {
        Ok(config) => panic!("{format}: {text}: {config:?}"),
        Err(error) => error,
    }
}

/// The first mistake of the plugin with `members`: its path below the plugin, and what is said.
fn wrong(members: &str, format: Format) -> (String, String) {
    let error = refused(&text(members, format), format);
    let mistake = &error.mistakes()[0];
    let path = mistake.path.strip_prefix("plugins.tax.").unwrap_or(&mistake.path).to_owned();
    let help = mistake.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    (path, format!("{}{help}", mistake.message))
}

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("upstream-traps-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn words_and_numbers_of_yaml_stay_texts_where_a_text_is_meant() {
    for written in [
        "no",
        "NO",
        "off",
        "y",
        "n",
        "true",
        "1:30",
        "22:22:22",
        "190:20:30",
        "0e6836",
        "25921e05",
        "+1",
        "1_000",
        "0x11",
        "0o17",
        "0b11",
        "017",
        "007",
        ".5",
        "5.",
        "1.10",
        "1e3",
        "-0",
        ".inf",
        "-.inf",
        "2025-09-20",
        "12:30:45.5",
        "9007199254740993",
        "340282366920938463463374607431768211456",
        "=",
        "<",
        "1.2.3",
        "0.",
        "+.5",
        "0x",
        "_1",
        "1__0",
        "..",
    ] {
        let tax = yaml(&format!(
            "labels: {{a: {written}}}\n    auth: {{method: bearer, token: {written}}}"
        ));
        assert_eq!(tax.labels["a"], written);
        assert_eq!(tax.auth.unwrap().token, written.into(), "{written}");
    }
    // What a file is written from stays a text, too.
    for written in
        ["no", "0e6836", "+1", "0x11", "007", "1e3", "~", "null", "- a", "a: b", " a", "'", ""]
    {
        let config = Config::default().with_plugin(
            PluginConfig::new("tax", "unix").with_endpoint("/a").with_label(written, written),
        );
        for format in ALL {
            let text = config.to_text(format, Secrets::Written).unwrap();
            assert_eq!(Config::from_str(&text, format).unwrap(), config, "{text}");
        }
    }
}

#[test]
fn the_name_of_a_plugin_is_as_it_is_written() {
    for written in [
        "0x10",
        "1_000",
        "007",
        "1.0",
        "1e3",
        "True",
        "no",
        "2025-09-20",
        "+1",
        "'1'",
        "\"a b\"",
        "é",
        "a.b",
    ] {
        let text = format!("plugins:\n  {written}: {{transport: unix, endpoint: /a}}\n");
        let config =
            Config::from_str(&text, Format::Yaml).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.plugins[0].name, written.trim_matches(['\'', '"']), "{text}");
    }
    let twice =
        "plugins:\n  1: {transport: unix, endpoint: /a}\n  '1': {transport: unix, endpoint: /a}\n";
    assert!(refused(twice, Format::Yaml).to_string().contains("given twice, first at line 2"));
    for (written, line) in [("~", 2), ("null", 2), ("[a]", 2), ("{a: b}", 2)] {
        let text = format!("plugins:\n  ? {written}\n  : {{transport: unix, endpoint: /a}}\n");
        let error = refused(&text, Format::Yaml);
        assert_eq!(error.mistakes()[0].line, Some(line), "{written}: {error}");
        assert!(error.to_string().contains("a key must be a text"), "{error}");
    }
    // Neither in lower case nor cut at a dot.
    let tax = yaml("labels: {TeamName: A, 'a.b': c}\n    env: {LogLevel: x, 'A.B': y}");
    assert_eq!((&*tax.labels["TeamName"], &*tax.labels["a.b"]), ("A", "c"));
    assert_eq!(tax.env["LogLevel"], "x".into());
    assert_eq!(tax.env["A.B"], "y".into());
}

#[test]
fn a_whole_number_is_read_in_every_form_that_the_format_has_for_one() {
    for (written, format, wanted) in [
        ("retry: {attempts: 0x10}", Format::Yaml, Some(16)),
        ("retry: {attempts: 0o17}", Format::Yaml, Some(15)),
        ("retry: {attempts: +5}", Format::Yaml, Some(5)),
        ("retry: {attempts: 5.0}", Format::Yaml, Some(5)),
        ("retry: {attempts: 1e1}", Format::Yaml, Some(10)),
        ("retry: {attempts: 5 }", Format::Yaml, Some(5)),
        ("retry = {attempts = 0x10}", Format::Toml, Some(16)),
        ("retry = {attempts = 0b11}", Format::Toml, Some(3)),
        ("retry = {attempts = 1_0}", Format::Toml, Some(10)),
        ("retry = {attempts = +5}", Format::Toml, Some(5)),
        ("\"retry\": {\"attempts\": 1.0e1}", Format::Json, Some(10)),
        // Not what is in quotes, of another type, or of two minds.
        ("retry: {attempts: '5'}", Format::Yaml, None),
        ("retry: {attempts: 05}", Format::Yaml, None),
        ("retry: {attempts: 1:30}", Format::Yaml, None),
        ("retry: {attempts: 5s}", Format::Yaml, None),
        ("retry: {attempts: 5%}", Format::Yaml, None),
        ("retry: {attempts: true}", Format::Yaml, None),
        ("retry: {attempts: [5]}", Format::Yaml, None),
        ("retry: {attempts: .inf}", Format::Yaml, None),
        ("retry: {attempts: ５}", Format::Yaml, None),
        ("retry = {attempts = '5'}", Format::Toml, None),
        ("retry = {attempts = inf}", Format::Toml, None),
        ("\"retry\": {\"attempts\": \"5\"}", Format::Json, None),
        ("\"retry\": {\"attempts\": 5.5}", Format::Json, None),
    ] {
        match wanted {
            Some(wanted) => {
                assert_eq!(
                    read(written, format).retry.unwrap().config.attempts,
                    wanted,
                    "{written}"
                );
            }
            None => {
                let (path, said) = wrong(written, format);
                assert_eq!(path, "retry.attempts", "{written}: {said}");
                assert!(said.contains("expected a whole number"), "{written}: {said}");
            }
        }
    }
    // A number that no `f64` has, as it is.
    for (written, format) in [
        ("\"priority\": -9007199254740993", Format::Json),
        ("priority: -9007199254740993", Format::Yaml),
        ("priority = -9007199254740993", Format::Toml),
    ] {
        assert_eq!(read(written, format).priority, -9_007_199_254_740_993);
    }
    for (written, format) in [
        ("\"connection\": {\"max_response_bytes\": 18446744073709551615}", Format::Json),
        ("connection: {max_response_bytes: 18446744073709551615}", Format::Yaml),
        ("connection = {max_response_bytes = 18446744073709551615}", Format::Toml),
    ] {
        assert_eq!(read(written, format).connection.unwrap().max_response_bytes, usize::MAX);
    }
    for size in ["16MiB", "16M", "1_048_576B", "1e30"] {
        let (path, _) = wrong(&format!("connection: {{max_response_bytes: {size}}}"), Format::Yaml);
        assert_eq!(path, "connection.max_response_bytes", "{size}");
    }
}

#[test]
fn a_bool_is_a_word_and_no_number() {
    for (written, wanted) in [
        ("true", true),
        ("True", true),
        ("on", true),
        ("Yes", true),
        ("'false'", false),
        ("OFF", false),
    ] {
        assert_eq!(yaml(&format!("enabled: {written}")).enabled, wanted, "{written}");
    }
    for (written, format) in [
        ("enabled: 0", Format::Yaml),
        ("enabled: y", Format::Yaml),
        ("enabled: enabled", Format::Yaml),
        ("enabled: [true]", Format::Yaml),
        ("\"enabled\": \"false\"", Format::Json),
        ("\"enabled\": 1", Format::Json),
        ("enabled = 'true'", Format::Toml),
    ] {
        let (path, said) = wrong(written, format);
        assert_eq!(path, "enabled", "{written}");
        assert!(said.starts_with("expected `true` or `false`"), "{written}: {said}");
    }
    // `True` is no value of TOML or JSON.
    for (written, format) in [("enabled = True", Format::Toml), ("\"enabled\": True", Format::Json)]
    {
        let error = refused(&text(written, format), format);
        assert!(error.mistakes()[0].line.is_some(), "{error}");
    }
}

#[test]
fn a_duration_has_a_unit_of_go_behind_each_number() {
    for (written, wanted) in [
        ("1h30m", Duration::from_secs(5_400)),
        ("1.5s", Duration::from_millis(1_500)),
        (".5s", Duration::from_millis(500)),
        ("1.5h", Duration::from_secs(5_400)),
        ("+5s", Duration::from_secs(5)),
        ("1m1s1ms1us1ns", Duration::from_nanos(61_001_001_001)),
        ("0", Duration::ZERO),
        ("0s", Duration::ZERO),
    ] {
        for (members, format) in [
            (format!("\"timeout\": \"{written}\""), Format::Json),
            (format!("timeout: {written}"), Format::Yaml),
            (format!("timeout = '{written}'"), Format::Toml),
        ] {
            assert_eq!(read(&members, format).timeout, Some(wanted), "{members}");
        }
    }
    for written in [
        "1d",
        "1w",
        "1D",
        "1H",
        "5S",
        "1min",
        "5sec",
        "5 seconds",
        "PT30S",
        "1 h",
        "1h 30m",
        "1,5s",
        "1_000ms",
        "٣s",
        "1e3s",
        "--1s",
        "-1s",
        "1.5.5s",
        "infinity",
        "s",
        "5",
        "5.5",
        "1:30",
        "soon",
        "1h-30m",
        "99999999999999999999s",
    ] {
        for (members, format) in [
            (format!("\"timeout\": \"{written}\""), Format::Json),
            (format!("timeout: '{written}'"), Format::Yaml),
            (format!("timeout = '{written}'"), Format::Toml),
        ] {
            let (path, said) = wrong(&members, format);
            assert_eq!(path, "timeout", "{members}: {said}");
            assert!(said.contains("`1m30s`"), "{members}: {said}");
        }
    }
    for (members, format) in [
        ("timeout: .inf", Format::Yaml),
        ("timeout: -.inf", Format::Yaml),
        ("timeout: 1.5", Format::Yaml),
        ("timeout: -1", Format::Yaml),
        ("timeout: true", Format::Yaml),
        ("timeout: [1s]", Format::Yaml),
        ("timeout = inf", Format::Toml),
        ("timeout = 1.5", Format::Toml),
        ("timeout = 07:32:00", Format::Toml),
    ] {
        assert_eq!(wrong(members, format).0, "timeout", "{members}");
    }
    // No number is none, as null is.
    assert_eq!(yaml("timeout: .nan").timeout, None);
    assert_eq!(read("timeout = nan", Format::Toml).timeout, None);
}

#[test]
fn a_key_in_the_spelling_of_another_loader_is_told_with_the_one_here() {
    for given in
        ["maxRetries", "max-retries", "MAX_RETRIES", "MaxRetries", "maxretries", "max_retry"]
    {
        let (path, said) = wrong(&format!("retry: {{{given}: 2}}"), Format::Yaml);
        assert_eq!(path, format!("retry.{given}"));
        assert!(said.contains("did you mean `max_retries`?"), "{given}: {said}");
        if !given.eq_ignore_ascii_case("max_retries") {
            let (_, said) = wrong(&format!("\"retry\": {{\"{given}\": 2}}"), Format::Json);
            assert!(said.contains("did you mean `max_retries`?"), "{given}: {said}");
        }
    }
    assert_eq!(
        read("\"retry\": {\"MAX_RETRIES\": 2}", Format::Json).retry.unwrap().config.attempts,
        3
    );
    // A letter of another alphabet is no letter of this one.
    let (path, said) = wrong("timе\u{6f}ut: 1s", Format::Yaml);
    assert!(path.starts_with("timе") && said.contains("did you mean `timeout`?"), "{path}: {said}");
}

#[test]
fn a_map_may_be_merged_into_each_of_many_plugins() {
    let mut text =
        "plugins:\n  p: &base {transport: unix, endpoint: /a, timeout: 3s, labels: {a: b, c: d}}\n"
            .to_owned();
    for index in 0..2_000 {
        text += &format!("  p{index}:\n    <<: *base\n    labels: {{c: e}}\n");
    }
    let config = Config::from_str(&text, Format::Yaml).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.plugins.len(), 2_001);
    let last = &config.plugins[2_000];
    assert_eq!(last.timeout, Some(Duration::from_secs(3)));
    // What is written replaces what is merged as a whole, wherever it stands.
    assert_eq!(last.labels.len(), 1);
    let text = "plugins:
  a: &a {transport: unix, endpoint: /a, timeout: 1s}
  b: &b {transport: unix, endpoint: /b, priority: 2}
  c:
    timeout: 3s
    <<: [*a, *b]
  d: {<<: *a, timeout: 4s}
";
    let config = Config::from_str(text, Format::Yaml).unwrap_or_else(|error| panic!("{error}"));
    let [_, _, c, d] = &config.plugins[..] else { panic!("{config:?}") };
    // Of several the first counts.
    assert_eq!((&*c.endpoint, c.timeout, c.priority), ("/a", Some(Duration::from_secs(3)), 2));
    assert_eq!((&*d.endpoint, d.timeout), ("/a", Some(Duration::from_secs(4))));
    for merged in ["5", "text", "*none", "[1]"] {
        let text = format!("plugins:\n  a:\n    transport: unix\n    <<: {merged}\n");
        let error = refused(&text, Format::Yaml);
        assert_eq!(error.mistakes()[0].line, Some(4), "{merged}: {error}");
    }
    // In JSON it is a key like any other, and nothing knows it.
    let (_, said) = wrong("\"<<\": {\"timeout\": \"1s\"}", Format::Json);
    assert!(said.starts_with("unknown key; there are `name`, `type`, "), "{said}");
}

#[test]
fn a_key_that_is_given_twice_is_told_however_it_is_written() {
    for (written, format) in [
        ("timeout: 1s\n    'timeout': 2s", Format::Yaml),
        ("timeout: 1s\n    \"time\\x6fut\": 2s", Format::Yaml),
        ("? timeout\n    : 1s\n    timeout: 2s", Format::Yaml),
        ("\"timeout\": \"1s\", \"time\\u006fut\": \"2s\"", Format::Json),
        ("timeout = '1s'\n\"timeout\" = '2s'", Format::Toml),
        ("[plugins.tax.retry]\nattempts = 1\n[plugins.tax.retry]\nmultiplier = 2.0", Format::Toml),
        ("retry.attempts = 1\nretry = {multiplier = 2.0}", Format::Toml),
        ("[[plugins]]\nname = 'b'", Format::Toml),
    ] {
        let error = refused(&text(written, format), format);
        let said = error.to_string();
        assert!(
            said.contains("twice")
                || said.contains("duplicate")
                || said.contains("redefin")
                || said.contains("cannot"),
            "{written}: {said}"
        );
        assert!(error.mistakes()[0].line.is_some(), "{written}: {said}");
    }
}

#[test]
fn a_file_in_another_encoding_says_so() {
    let dir = directory("encodings");
    let read = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).unwrap();
        Config::from_file(&path)
    };
    let utf_16 = |text: &str, swap: bool, mark: bool| -> Vec<u8> {
        let mark = if mark { "\u{feff}" } else { "" };
        let units: Vec<u16> = format!("{mark}{text}").encode_utf16().collect();
        units.iter().flat_map(|of| if swap { of.to_be_bytes() } else { of.to_le_bytes() }).collect()
    };
    for (name, format, code) in [
        ("a.json", Format::Json, Code::PLUGIN_1011),
        ("a.yaml", Format::Yaml, Code::CONFIG_1702),
        ("a.toml", Format::Toml, Code::CONFIG_1702),
    ] {
        let member = match format {
            Format::Json => "\"priority\": 1",
            Format::Toml => "priority = 1",
            _ => "priority: 1",
        };
        let good = text(member, format);
        for swap in [false, true] {
            let error = read(name, &utf_16(&good, swap, true)).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains("it is UTF-16: save it as UTF-8"), "{error}");
            let error = read(name, &utf_16(&good, swap, false)).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains("if it is UTF-16, save it as UTF-8"), "{error}");
            assert_eq!(error.mistakes()[0].line, Some(1), "{error}");
        }
        let latin = good.replace("/a", "/\u{1}").into_bytes();
        let latin: Vec<u8> =
            latin.iter().map(|&byte| if byte == 1 { 0xe9 } else { byte }).collect();
        let error = read(name, &latin).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains("the file is not UTF-8, from line "), "{error}");
        // Not a mark of UTF-8, ends of lines of Windows, and no end of the last line.
        for fine in [
            format!("\u{feff}{good}"),
            good.replace('\n', "\r\n"),
            good.trim_end().to_owned(),
            format!("{good}\n\n  \n"),
        ] {
            let config =
                read(name, fine.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{fine:?}"));
            assert_eq!(config.plugins[0].priority, 1);
        }
        let error = read(name, good.replacen("/a", "/\0", 1).as_bytes()).unwrap_err();
        assert_eq!((error.code(), error.mistakes()[0].line.is_some()), (code, true), "{error}");
        let error = read(name, format!("\u{feff}\u{feff}{good}").as_bytes()).unwrap_err();
        assert_eq!((error.code(), error.mistakes()[0].line), (code, Some(1)), "{error}");
        // Nothing, in every form.
        for nothing in ["", "\u{feff}", " \n\t\r\n", "\u{feff}\n"] {
            let error = read(name, nothing.as_bytes()).unwrap_err();
            assert_eq!(error.code(), Code::CONFIG_1706, "{nothing:?}: {error}");
        }
    }
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_file_of_anything_but_a_map_says_what_it_is() {
    for (written, said) in [
        ("tax", "a config is a map, but this is a text"),
        ("name:tax", "a config is a map, but this is a text"),
        ("- a", "a config is a map, but this is a list"),
        ("5", "a config is a map, but this is a number"),
        ("# nothing\n", "a config is a map, but this is null"),
        ("---\n...\n", "a config is a map, but this is null"),
        ("null", "a config is a map, but this is null"),
    ] {
        let error = refused(written, Format::Yaml);
        assert!(error.to_string().contains(said), "{written:?}: {error}");
    }
    for written in ["[]", "null", "\"a\"", "5", "true"] {
        assert!(
            refused(written, Format::Json).to_string().contains("a config is a map"),
            "{written}"
        );
    }
    // Only comments, or other tables.
    assert_eq!(refused("# nothing\n", Format::Toml).code(), Code::PLUGIN_1009);
}

#[test]
fn what_only_looks_like_json_is_refused_at_its_place() {
    for written in [
        "{\"plugins\": {},}",
        "{\"plugins\": []} // all of them",
        "{/* none */ \"plugins\": {}}",
        "# none\n{\"plugins\": {}}",
        "{'plugins': {}}",
        "{plugins: {}}",
        "{\"metrics_port\": 0x10}",
        "{\"metrics_port\": 010}",
        "{\"metrics_port\": +1}",
        "{\"metrics_port\": .5}",
        "{\"metrics_port\": 5.}",
        "{\"metrics_port\": NaN}",
        "{\"metrics_port\": -Infinity}",
        "{\"metrics_port\": 1_000}",
        "{\"log_level\": \"a\nb\"}",
        "{\"log_level\": \"\\x41\"}",
        "{\"log_level\": \"\\ud800\"}",
        "{\"plugins\": {}}{\"plugins\": {}}",
        "{\"plugins\" {}}",
        "{\"plugins\": {}",
        "\u{feff}\u{feff}{}",
        "{\u{a0}}",
    ] {
        let error = refused(written, Format::Json);
        let mistake = &error.mistakes()[0];
        assert_eq!(
            (error.code(), mistake.line.is_some()),
            (Code::PLUGIN_1011, true),
            "{written}: {error}"
        );
    }
}

#[test]
fn what_is_no_yaml_is_refused_at_its_line() {
    for (written, line) in [
        ("plugins:\n\ttax: {}\n", 2),
        ("plugins:\n  tax: {transport: unix\n", 2),
        ("log_level: \"C:\\plugins\"\n", 1),
        ("log_level: @info\n", 1),
        ("log_level: `info`\n", 1),
        ("log_level: %info\n", 1),
        ("log_level: a: b\n", 1),
        ("log_level: 'it's'\n", 1),
        ("log_level: !include a.yaml\n", 1),
        ("log_level: !!binary /w==\n", 1),
        ("defaults:\n  budget: !share {ratio: 0.2}\n", 2),
        ("log_level: *info\n", 1),
        ("log_level: info\n---\nlog_level: debug\n", 3),
        ("log_level: info\n log_level: debug\n", 2),
    ] {
        let error = refused(written, Format::Yaml);
        assert_eq!(error.mistakes()[0].line, Some(line), "{written}: {error}");
        assert_eq!(error.mistakes()[0].code, Code::CONFIG_1702, "{written}: {error}");
    }
    // White space of other kinds, and quotes of a word processor, are letters.
    for written in
        ["log_level:\u{a0}info\n", "\u{201c}log_level\u{201d}: info\n", "log_level\u{200b}: info\n"]
    {
        let error = refused(written, Format::Yaml);
        assert_eq!(error.mistakes()[0].line, Some(1), "{written}: {error}");
    }
    // A `#` begins a comment behind a space alone, and a `:` ends a key before one.
    let tax = yaml(
        "labels: {}\n    annotations: {url: http://a:1/#x}\n    auth: {method: bearer, token: a#b} # c",
    );
    assert_eq!(tax.annotations["url"], "http://a:1/#x");
    assert_eq!(tax.auth.unwrap().token, "a#b".into());
}

#[test]
fn tables_of_toml_are_plugins_in_every_form() {
    let file = |text: &str| {
        Config::from_str(text, Format::Toml).unwrap_or_else(|error| panic!("{error}\n{text}"))
    };
    for text in [
        "[plugins.\"tax.v2\"]\ntransport = 'unix'\nendpoint = '/a'\n[plugins.\"tax.v2\".retry]\nattempts = 2\n",
        "plugins.\"tax.v2\".transport = 'unix'\nplugins.\"tax.v2\".endpoint = '/a'\nplugins.\"tax.v2\".retry.attempts = 2\n",
        "[[plugins]]\nname = 'tax.v2'\ntransport = 'unix'\nendpoint = '/a'\n[plugins.retry]\nattempts = 2\n",
        "plugins = [{name = 'tax.v2', transport = 'unix', endpoint = '/a', retry.attempts = 2}]\n",
        "plugins = [\n  {name = 'tax.v2', transport = 'unix', # one\n   endpoint = '/a', retry = {attempts = 2,},},\n]\n",
    ] {
        let config = file(text);
        assert_eq!(config.plugins[0].name, "tax.v2");
        assert_eq!(config.plugins[0].retry.as_ref().unwrap().config.attempts, 2);
    }
    let lines =
        file("plugins.a = {transport = 'unix', endpoint = '/a', version = '''\n1\r\n2'''}\n");
    assert_eq!(lines.plugins[0].version, "1\r\n2");
    for (text, line) in [
        ("[plugins.a]\ntransport = 'unix'\n[[plugins]]\nname = 'b'\n", 3),
        ("plugins = {a = {transport = 'unix'}}\n[plugins.b]\ntransport = 'unix'\n", 2),
        ("plugins = [1\n", 1),
        ("a = 1 b = 2\n", 1),
        ("a = \n", 1),
        ("a = unix\n", 1),
        ("a\n", 1),
        ("a = 'b\n", 1),
        ("a = \"\\q\"\n", 1),
        ("a = 1\r", 1),
    ] {
        let error = refused(text, Format::Toml);
        assert_eq!(error.mistakes()[0].line, Some(line), "{text}: {error}");
    }
}

fn with(variables: &[(&str, &str)]) -> ReadOptions {
    let env = EnvOptions::default().with_variables(variables.iter().copied());
    ReadOptions::default().with_env(env)
}

#[test]
fn the_value_of_a_variable_is_a_text_where_a_text_is_meant() {
    for value in [
        "0123456", "25921e05", "1e5", "true", "null", "~", "[a, b]", "{a: b}", "a=b", "a\"b",
        "'a'", "a # b", "a: b", "$HOME", "${HOME}", "a\nb: c", "- a", "0x10", " padded ", "\\n",
        "é",
    ] {
        let file = text(
            "labels: {a: '${VALUE}', b: 'x${VALUE}y'}\n    env: {A: '${VALUE}', B: {env: VALUE}}",
            Format::Yaml,
        );
        let config = Config::from_str_with(&file, Format::Yaml, &with(&[("VALUE", value)]));
        let config = config.unwrap_or_else(|error| panic!("{value:?}: {error}"));
        let tax = &config.plugins[0];
        assert_eq!(tax.labels["a"], value);
        assert_eq!(tax.labels["b"], format!("x{value}y"));
        assert_eq!(tax.env["A"], value.into());
        assert_eq!(tax.env["B"], value.into());
        assert!(config.notes().is_empty(), "{value:?}: {:?}", config.notes());
    }
}

#[test]
fn the_value_of_a_variable_may_be_a_number_only_in_the_form_of_one() {
    let file = text("rate_limit: {burst: '${VALUE}'}", Format::Yaml);
    let read = |value: &str| Config::from_str_with(&file, Format::Yaml, &with(&[("VALUE", value)]));
    for (value, wanted) in [("50", 50), (" 50 ", 50), ("50\n", 50), ("5e1", 50), ("50.0", 50)] {
        let config = read(value).unwrap_or_else(|error| panic!("{value:?}: {error}"));
        assert_eq!(config.plugins[0].rate_limit.as_ref().unwrap().burst, wanted, "{value:?}");
    }
    for value in
        ["1_000", "0x10", "0o17", "5s", "five", "5 0", "NaN", "inf", "-1", "1e99", "true", "[5]"]
    {
        let error = read(value).unwrap_err();
        assert_eq!(error.mistakes()[0].path, "plugins.tax.rate_limit.burst", "{value}: {error}");
        assert_eq!(error.total(), 1, "{value}: {error}");
    }
    // And a duration without what a file of one line ends with.
    let waits = text("timeout: '${VALUE}'\n    labels: {a: '${VALUE}'}", Format::Yaml);
    for value in ["5s", " 5s ", "5s\n", "5000ms\r\n"] {
        let options = with(&[("VALUE", value)]);
        let config = Config::from_str_with(&waits, Format::Yaml, &options)
            .unwrap_or_else(|error| panic!("{value:?}: {error}"));
        assert_eq!(config.plugins[0].timeout, Some(Duration::from_secs(5)), "{value:?}");
        assert_eq!(config.plugins[0].labels["a"], value);
    }
    // Nor does one make a list or a map.
    for members in
        ["args: '${VALUE}'", "labels: '${VALUE}'", "retry: '${VALUE}'", "endpoints: '${VALUE}'"]
    {
        let file = text(members, Format::Yaml);
        let error =
            Config::from_str_with(&file, Format::Yaml, &with(&[("VALUE", "[a]")])).unwrap_err();
        assert!(error.mistakes()[0].path.starts_with("plugins.tax."), "{members}: {error}");
    }
}

#[test]
fn what_only_looks_like_a_placeholder_stays_and_is_noted() {
    for (written, wanted) in [
        ("${A:?unset}", "${A:?unset}"),
        ("${A?unset}", "${A?unset}"),
        ("${A-b}", "${A-b}"),
        ("${A:+b}", "${A:+b}"),
        ("${A.B}", "${A.B}"),
        ("${A:b}", "${A:b}"),
        ("${env:A}", "${env:A}"),
        ("${ A }", "${ A }"),
        ("${1A}", "${1A}"),
        ("${}", "${}"),
        ("${A", "${A"),
        ("x${A} ${A,,}", "x1 ${A,,}"),
    ] {
        let file = text(&format!("labels: {{a: '{written}'}}"), Format::Yaml);
        let config = Config::from_str_with(&file, Format::Yaml, &with(&[("A", "1")])).unwrap();
        assert_eq!(config.plugins[0].labels["a"], wanted, "{written}");
        let notes: Vec<_> = config.notes().iter().map(|of| (&*of.path, of.line)).collect();
        assert_eq!(notes, [("plugins.tax.labels.a", Some(5))], "{written}");
    }
    // A default is a text, is not looked through, and ends at the first brace, which is told whether it is taken or
    // not.
    for (written, wanted) in [
        ("${B:-${A}}", "${A}"),
        ("${B:-http://${A:-x}:80}", "http://${A:-x:80}"),
        ("${A:-${B}}", "1}"),
        ("${A:-{}}", "1}"),
    ] {
        let file = text(&format!("labels: {{a: '{written}'}}"), Format::Yaml);
        let config = Config::from_str_with(&file, Format::Yaml, &with(&[("A", "1")])).unwrap();
        assert_eq!(config.plugins[0].labels["a"], wanted, "{written}");
        let [note] = config.notes() else { panic!("{written}: {:?}", config.notes()) };
        assert!(note.message.contains("ends at the first `}`"), "{written}: {note}");
    }
    // Nor are keys.
    let file = text("labels: {'${A}': b, '$A': c}", Format::Yaml);
    let config = Config::from_str_with(&file, Format::Yaml, &with(&[("A", "1")])).unwrap();
    assert_eq!(config.plugins[0].labels["${A}"], "b");
    let [note] = config.notes() else { panic!("{:?}", config.notes()) };
    assert_eq!(
        (&*note.path, note.line, note.column),
        ("plugins.tax.labels[\"${A}\"]", Some(5), Some(14))
    );
    // What is meant as it is.
    for written in ["$A", "$$A", "$$", "$", "$(A)", "%A%", "{{ A }}", "$${A}", "a$b", "^a$"] {
        let file = text(&format!("labels: {{a: '{written}'}}"), Format::Yaml);
        let config = Config::from_str_with(&file, Format::Yaml, &with(&[("A", "1")])).unwrap();
        assert_eq!(config.plugins[0].labels["a"], written.replace("$${", "${"));
        assert!(config.notes().is_empty(), "{written}: {:?}", config.notes());
    }
    let secret = text("auth: {method: bearer, token: 'hunter2${A!}'}", Format::Yaml);
    let config = Config::from_str_with(&secret, Format::Yaml, &with(&[])).unwrap();
    assert_eq!(config.notes().len(), 1);
    assert!(!config.notes()[0].to_string().contains("hunter2"), "{}", config.notes()[0]);
}

#[test]
fn no_secret_is_told_wherever_it_was_put() {
    let secret = "hunter2";
    for members in [
        "rate_limit: {burst: '${SECRET}'}",
        "timeout: '${SECRET}'",
        "enabled: '${SECRET}'",
        "retry: '${SECRET}'",
        "auth: {method: '${SECRET}'}",
        "auth: {method: basic, username: {env: SECRET}}",
        "balance: {strategy: '${SECRET}'}",
        "args: '${SECRET}'",
        "env: ['${SECRET}']",
        "circuit_breaker: {window: '${SECRET}'}",
    ] {
        let file = text(members, Format::Yaml).replace("    endpoint: /a\n", "");
        let error =
            Config::from_str_with(&file, Format::Yaml, &with(&[("SECRET", secret)])).unwrap_err();
        let shown =
            format!("{error} {error:?} {}", serde_json::to_string(error.mistakes()).unwrap());
        // A choice that is none of several is shown as it is, if it is no secret by its name.
        assert!(!shown.contains(secret), "{members}: {shown}");
    }
    for written in [
        "auth: {method: bearer, token: !vault hunter2}",
        "auth: {method: bearer, token: &t hunter2, tokn: *t}",
        "auth: {method: bearer, token: hunter2, tokem: hunter2}",
        "auth: {method: bearer, token: hunter2: x}",
        "auth: {method: bearer, token: \"hunter2\\q\"}",
        "auth: {method: bearer, token: [hunter2}",
        "auth: hunter2",
        "env: hunter2",
        "env: [TOKEN hunter2]",
        "env: {TOKEN: [hunter2]}",
        "Auth: {token: hunter2}",
    ] {
        let error = refused(&text(written, Format::Yaml), Format::Yaml);
        assert!(!format!("{error} {error:?}").contains(secret), "{written}: {error}");
    }
    for written in [
        "timeout: soon # token: hunter2",
        "timeout: soon # password=hunter2",
        "args: [--token=hunter2]\n    timeout: soon",
        "args: [\"--api-key=hunter2\", {}]",
    ] {
        let error = refused(&text(written, Format::Yaml), Format::Yaml);
        assert!(!format!("{error} {error:?}").contains(secret), "{written}: {error}");
    }
    for written in [
        "\"auth\": {\"token\": \"hunter2\" \"x\"}",
        "\"auth\": {\"token\": hunter2}",
        "\"auth\": {\"token\": \"hunter2\\q\"}",
        "\"auth\": {\"method\": \"bearer\", \"token\": \"hunter2\", \"tokem\": \"hunter2\"}",
    ] {
        let error = refused(&text(written, Format::Json), Format::Json);
        assert!(!format!("{error} {error:?}").contains(secret), "{written}: {error}");
    }
}

#[test]
fn a_secret_without_quotes_is_not_told_as_what_it_looks_like() {
    for secret in [
        "!hunter2",
        "!hunter2 x",
        "!!hunter2 x",
        "!<hunter2> x",
        "*hunter2",
        "&hunter2 *b",
        "@hunter2",
        "%hunter2",
        "|hunter2",
        "{hunter2}",
        "{hunter2: x}",
        "{a: {hunter2: x}}",
        "[hunter2]",
        "hunter2: x",
        "- hunter2",
        "'hunter2",
        "!!binary hunter2",
        "!!timestamp hunter2",
        "{hunter2: x, hunter2: y}",
        "{'${hunter2': x}",
    ] {
        for members in [
            format!("auth: {{method: bearer, token: {secret}}}"),
            format!("auth:\n      method: bearer\n      token: {secret}\n    priority: x"),
            format!("auth: {{method: custom, headers: {{Authorization: {secret}}}}}"),
            format!("env:\n    - A={secret}"),
            format!("env: {{A: x, A: {secret}}}"),
            format!("env:\n      A: {secret}\n    priority: x"),
        ] {
            let shown = match Config::from_str(&text(&members, Format::Yaml), Format::Yaml) {
                Ok(config) => format!("{:?}", config.notes()),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("hunter2"), "{members}: {shown}");
        }
    }
}

#[test]
fn texts_that_are_repeated_end_at_a_bound() {
    let long = "x".repeat(9 << 20);
    // An alias, of few bytes, for all of them.
    let many = vec!["*x"; 1_000].join(",");
    let file = format!(
        "log_level: &x {long}\nplugins: {{a: {{transport: unix, endpoint: /a, args: [{many}]}}}}\n"
    );
    assert_eq!(refused(&file, Format::Yaml).code(), Code::CONFIG_1706);
    let few = format!(
        "log_level: &x {}\nplugins: {{a: {{transport: unix, endpoint: /a, args: [{many}]}}}}\n",
        "x".repeat(1_000)
    );
    assert_eq!(Config::from_str(&few, Format::Yaml).unwrap().plugins[0].args.len(), 1_000);
    // A default, for all plugins, whether they write of it or not.
    for own in ["", ", \"fallback\": {}"] {
        let plugins: Vec<_> = (0..1_000)
            .map(|at| {
                format!(
                    "{{\"name\": \"p{at}\", \"transport\": \"unix\", \"endpoint\": \"/a\"{own}}}"
                )
            })
            .collect();
        let file = |length: usize| {
            format!(
                "{{\"defaults\": {{\"fallback\": {{\"strategy\": \"default\", \"default_response\": \"{}\"}}}},\n\"plugins\": [{}]}}",
                "x".repeat(length),
                plugins.join(",")
            )
        };
        let error = refused(&file(100_000), Format::Json);
        assert_eq!(error.code(), Code::CONFIG_1706, "{}", error.to_string().len());
        assert!(error.to_string().contains("for 1000 plugins"), "{:.300}", error.to_string());
        assert_eq!(Config::from_str(&file(60_000), Format::Json).unwrap().plugins.len(), 1_000);
    }
}

#[test]
fn a_long_name_is_told_in_short_with_each_mistake() {
    let keys: Vec<_> = (0..2_000).map(|key| format!("\"key{key}\": 1")).collect();
    let (name, keys) = ("a".repeat(100_000), keys.join(","));
    let plugins =
        format!("{{\"{name}\": {{\"transport\": \"unix\", \"endpoint\": \"/a\", {keys}}}}}");
    let error = refused(&format!("{{\"plugins\": {plugins}}}"), Format::Json);
    assert_eq!(error.total(), 2_000);
    assert!(error.mistakes().iter().all(|mistake| mistake.path.len() < 200));
    assert!(error.to_string().len() < 1_000 * 1_000);
}

#[cfg(unix)]
#[test]
fn a_file_that_is_replaced_while_it_is_read_is_one_or_the_other() {
    use std::{
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    // As Kubernetes mounts a map of files: a link to a link, which is replaced by a rename.
    let dir = directory("replaced");
    let write = |version: &str, burst: u32| {
        let inner = dir.join(version);
        fs::create_dir_all(&inner).unwrap();
        let text = text(
            &format!("rate_limit: {{burst: {burst}}}\n    labels: {{v: '{burst}'}}"),
            Format::Yaml,
        );
        // Long, so that it is not read at once.
        fs::write(inner.join("plugins.yaml"), format!("{text}{}", "# more\n".repeat(20_000)))
            .unwrap();
    };
    write("..1", 1);
    write("..2", 2);
    let link = |version: &str| {
        let _ = fs::remove_file(dir.join("..tmp"));
        symlink(version, dir.join("..tmp")).unwrap();
        fs::rename(dir.join("..tmp"), dir.join("..data")).unwrap();
    };
    link("..1");
    let path = dir.join("plugins.yaml");
    symlink("..data/plugins.yaml", &path).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                link("..2");
                link("..1");
            }
        });
        for _ in 0..50 {
            let config = Config::from_file(&path).unwrap_or_else(|error| panic!("{error}"));
            let tax = &config.plugins[0];
            assert_eq!(tax.rate_limit.as_ref().unwrap().burst.to_string(), tax.labels["v"]);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    for (name, target) in [
        ("gone.yaml", "none.yaml"),
        ("loop.yaml", "loop.yaml"),
        ("dir.yaml", "..data"),
        ("null.yaml", "/dev/null"),
    ] {
        symlink(target, dir.join(name)).unwrap();
        let error = Config::from_file(dir.join(name)).unwrap_err();
        let expected = if name == "gone.yaml" { Code::CONFIG_1701 } else { Code::CONFIG_1706 };
        assert_eq!(error.code(), expected, "{name}: {error}");
    }
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_variable_that_sets_a_value_is_taken_as_it_is() {
    let env = |variables: &[(&str, &str)]| {
        let env = EnvOptions::default()
            .with_override_prefix("APP_".to_owned())
            .with_variables(variables.iter().copied());
        let file = text("args: [a, b]\n    labels: {a: b}", Format::Yaml);
        Config::from_str_with(&file, Format::Yaml, &ReadOptions::default().with_env(env))
    };
    let config = env(&[
        ("APP_LOG_LEVEL", "${HOME} $${x}"),
        ("APP_PLUGINS__TAX__ARGS__1", "a=b c"),
        ("APP_PLUGINS__TAX__LABELS__A", "0123"),
        ("APP_PLUGINS__TAX__LABELS__NEW", "x"),
        ("APP_PLUGINS__TAX__ENV__HTTPS_PROXY", "x"),
        ("APP_PLUGINS__TAX__TIMEOUT", "1m30s"),
        ("APP_PLUGINS__TAX__RETRY__ENABLED", "off"),
    ])
    .unwrap_or_else(|error| panic!("{error}"));
    let tax = &config.plugins[0];
    assert_eq!(config.log_level, "${HOME} $${x}");
    assert_eq!(tax.args, ["a", "a=b c"]);
    assert_eq!(json!(tax.labels), json!({ "a": "0123", "new": "x" }));
    // Names of variables are told apart by their case.
    assert_eq!(tax.env.keys().collect::<Vec<_>>(), ["HTTPS_PROXY"]);
    assert_eq!(tax.timeout, Some(Duration::from_secs(90)));
    assert!(!tax.retry.as_ref().unwrap().enabled);
    // By another name of a key, what it says is another.
    let set = |file: &str, name: &str, value: &str| {
        let env = EnvOptions::default()
            .with_override_prefix("APP_".to_owned())
            .with_variables([(name, value)]);
        Config::from_str_with(file, Format::Yaml, &ReadOptions::default().with_env(env))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    for (written, name, value, attempts) in [
        ("retry: {attempts: 3}", "MAX_RETRIES", "5", 6),
        ("retry: {max_retries: 3}", "ATTEMPTS", "5", 5),
        ("retry: {max_retries: 3}", "MAX_RETRIES", "5", 6),
    ] {
        let config =
            set(&text(written, Format::Yaml), &format!("APP_PLUGINS__TAX__RETRY__{name}"), value);
        assert_eq!(config.plugins[0].retry.as_ref().unwrap().config.attempts, attempts, "{name}");
        let top = format!("defaults: {{{written}}}\n{}", text("", Format::Yaml));
        let config = set(&top, &format!("APP_DEFAULTS__RETRY__{name}"), value);
        assert_eq!(config.defaults.retry.config.attempts, attempts, "{name}");
        // And of the section.
        let config = set(&top, &format!("APP_DEFAULT_RETRY__{name}"), value);
        assert_eq!(config.defaults.retry.config.attempts, attempts, "{name}");
        let top = format!("default_{written}\n{}", text("", Format::Yaml));
        let config = set(&top, &format!("APP_DEFAULTS__RETRY__{name}"), value);
        assert_eq!(config.defaults.retry.config.attempts, attempts, "{name}");
    }
    // One line between the parts is part of a name.
    for (name, value) in [
        ("APP_PLUGINS_TAX_TIMEOUT", "1s"),
        ("APP_PLUGINS__TAX__ARGS", "[a]"),
        ("APP_PLUGINS__TAX__ARGS__2", "c"),
        ("APP_PLUGINS__TAX__ARGS__01x", "c"),
        ("APP_PLUGINS__TAX__ENDPOINT__X", "c"),
        ("APP_PLUGINS__TAX__TIMEOUT", "90"),
        ("APP_PLUGINS__TAX__TIMEOUT__", "1s"),
    ] {
        let error = env(&[(name, value)]).unwrap_err();
        assert_eq!(error.mistakes()[0].variable.as_deref(), Some(name), "{error}");
    }
}

/// A file, with what variables set in it.
fn set_by(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = EnvOptions::default()
        .with_override_prefix("APP_".to_owned())
        .with_variables(variables.iter().copied());
    Config::from_str_with(file, Format::Yaml, &ReadOptions::default().with_env(env))
}

#[test]
fn names_of_variables_of_a_program_are_exact() {
    for (members, variables, wanted) in [
        ("env: {Path: x}", &[("PATH", "y")][..], [("PATH", "y"), ("Path", "x")]),
        ("env: [Path=x]", &[("PATH", "y")], [("PATH", "y"), ("Path", "x")]),
        ("env: {a: x}", &[("A", "n")], [("A", "n"), ("a", "x")]),
        ("env: {a.b: x}", &[("a_b", "n")], [("a.b", "x"), ("a_b", "n")]),
        // Names of one key elsewhere.
        ("env: {ATTEMPTS: 3}", &[("MAX_RETRIES", "5")], [("ATTEMPTS", "3"), ("MAX_RETRIES", "5")]),
        ("env: {MAX_RETRIES: 3}", &[("ATTEMPTS", "5")], [("ATTEMPTS", "5"), ("MAX_RETRIES", "3")]),
        ("", &[("A", "1"), ("a", "2")], [("A", "1"), ("a", "2")]),
        ("env: {}", &[("A", "1"), ("a", "2")], [("A", "1"), ("a", "2")]),
        ("env: []", &[("A", "1"), ("a", "2")], [("A", "1"), ("a", "2")]),
        ("", &[("A", "1"), ("ENV", "2")], [("A", "1"), ("ENV", "2")]),
    ] {
        let of = |(name, value): &(&str, &'static str)| {
            (format!("APP_PLUGINS__TAX__ENV__{name}"), *value)
        };
        let variables: Vec<_> = variables.iter().map(of).collect();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (&**name, *value)).collect();
        let config = set_by(&text(members, Format::Yaml), &variables);
        let config = config.unwrap_or_else(|error| panic!("{members}, {variables:?}: {error}"));
        let env = &config.plugins[0].env;
        assert_eq!(env.len(), wanted.len(), "{members}, {variables:?}: {:?}", env.keys());
        for (name, value) in wanted {
            assert_eq!(env.get(name), Some(&value.into()), "{members}, {variables:?}: {name}");
        }
    }
    // Also where options say it, in a list of plugins, and of one that is called `options`.
    let of = |name: &str, members: &str| {
        format!("name: {name}, transport: unix, endpoint: /a, {members}")
    };
    for (members, variable) in [
        ("env: {Path: x}", "ENV"),
        ("options: {env: {Path: x}}", "OPTIONS__ENV"),
        ("options: {environment: {Path: x}}", "OPTIONS__ENVIRONMENT"),
    ] {
        for name in ["tax", "options"] {
            let list = format!("plugins: [{{{}}}]\n", of(name, members));
            let map = format!("plugins:\n  {name}: {{transport: unix, endpoint: /a, {members}}}\n");
            for file in [list, map] {
                let upper = name.to_ascii_uppercase();
                let variable = format!("APP_PLUGINS__{upper}__{variable}__PATH");
                let config = set_by(&file, &[(&variable, "y")]).unwrap();
                let plugin = &config.plugins[0];
                let options = plugin.options.values().next();
                let names = options.map_or_else(
                    || plugin.env.keys().cloned().collect::<Vec<_>>(),
                    |env| env.as_object().unwrap().keys().cloned().collect(),
                );
                assert_eq!(names, ["PATH", "Path"], "{variable}: {file}");
            }
        }
    }
    // A name that is there is that one, however it ends.
    for env in ["{Logging__File: /a}", "[Logging__File=/a]"] {
        let file = text(&format!("env: {env}"), Format::Yaml);
        let config = set_by(&file, &[("APP_PLUGINS__TAX__ENV__Logging__File", "/b")]).unwrap();
        assert_eq!(config.plugins[0].env["Logging__File"], "/b".into());
    }
    // One of them may be called so, too.
    let secret = [("APP_PLUGINS__TAX__ENV__ENV__ENV", "TOKEN"), ("TOKEN", "s3cret")];
    let config = set_by(&text("", Format::Yaml), &secret).unwrap();
    assert_eq!(config.plugins[0].env["ENV"], "s3cret".into());
}

#[test]
fn a_plugin_may_be_called_as_the_environment_of_a_program() {
    for name in ["env", "environment", "Env"] {
        let upper = name.to_ascii_uppercase();
        for members in ["", ", retry: {attempts: 3}, env: {a: x}"] {
            let file = format!("plugins:\n  {name}: {{transport: unix, endpoint: /a{members}}}\n");
            let config = set_by(
                &file,
                &[
                    (&format!("APP_PLUGINS__{upper}__RETRY__ATTEMPTS"), "5"),
                    (&format!("APP_PLUGINS__{upper}__ENV__A"), "y"),
                ],
            );
            let config = config.unwrap_or_else(|error| panic!("{file}: {error}"));
            let [plugin] = &config.plugins[..] else { panic!("{file}") };
            assert_eq!(plugin.name, name);
            assert_eq!(plugin.retry.as_ref().unwrap().config.attempts, 5, "{file}");
            assert_eq!(plugin.env["A"], "y".into(), "{file}");
            assert_eq!(plugin.env.contains_key("a"), !members.is_empty(), "{file}");
        }
    }
    // In a config of any other type it is a key as any other, and what is below it may be fields.
    let mut mine = json!({ "mine": { "env": { "a": "old" } } });
    let options = EnvOptions::default()
        .with_override_prefix("MINE_".to_owned())
        .with_variables([("MINE_MINE__ENV__A", "new"), ("MINE_MINE__ENV__B", "new")]);
    env::process(&mut mine, &options).unwrap();
    assert_eq!(mine, json!({ "mine": { "env": { "a": "new", "B": "new" } } }));
}

#[test]
fn a_variable_that_may_mean_two_names_means_none() {
    let plugin = |name: &str| format!("  - {{name: {name}, transport: unix, endpoint: /a}}\n");
    let list = format!("plugins:\n{}{}", plugin("tax--retry"), plugin("tax"));
    let plugin = |name: &str| format!("  {name}: {{transport: unix, endpoint: /a}}\n");
    let map = |first, second| format!("plugins:\n{}{}", plugin(first), plugin(second));
    for file in [list, map("tax", "tax--retry"), map("tax__Retry", "TAX")] {
        for key in ["RETRY__ATTEMPTS", "retry__attempts", "RETRY__VERSION"] {
            let name = format!("APP_PLUGINS__TAX__{key}");
            let error = set_by(&file, &[(&name, "5")]).unwrap_err();
            let [mistake] = error.mistakes() else { panic!("{error}") };
            assert_eq!(mistake.variable.as_deref(), Some(&*name), "{error}");
            let message = mistake.message.to_ascii_lowercase().replace("tax__", "tax--");
            assert!(message.contains("leads to several: `tax` and `tax--retry`"), "{error}");
        }
        let config = set_by(&file, &[("APP_PLUGINS__TAX__VERSION", "5")]).unwrap();
        for plugin in &config.plugins {
            let is_tax = plugin.name.eq_ignore_ascii_case("tax");
            assert_eq!(plugin.version, if is_tax { "5" } else { "" }, "{file}");
        }
    }
    // One of them is not there, or has nothing below it.
    let variable = [("APP_PLUGINS__TAX__RETRY__VERSION", "5")];
    let config = set_by(&map("vat", "tax--retry"), &variable).unwrap();
    assert_eq!((&*config.plugins[0].version, &*config.plugins[1].version), ("", "5"));
    let labels = text("labels: {a: x, a--b: y}", Format::Yaml);
    let config = set_by(&labels, &[("APP_PLUGINS__TAX__LABELS__A__B", "z")]).unwrap();
    assert_eq!(json!(config.plugins[0].labels), json!({ "a": "x", "a--b": "z" }));
}

#[test]
fn variables_that_set_values_are_told_apart_as_the_file_tells_them_apart() {
    let good = |members: &str, variables: &[(&str, &str)]| {
        let config = set_by(&text(members, Format::Yaml), variables);
        config.unwrap_or_else(|error| panic!("{variables:?}: {error}")).plugins[0].clone()
    };
    // One that is empty is not set, whatever stands there.
    for key in ["TIMEOUT", "ENDPOINT", "RETRY__ATTEMPTS", "AUTH__TOKEN", "LABELS__A", "NO__SUCH"] {
        let tax = good(
            "timeout: 5s\n    auth: {method: bearer, token: t}",
            &[(&format!("APP_PLUGINS__TAX__{key}"), "")],
        );
        assert_eq!((tax.timeout, &*tax.endpoint), (Some(Duration::from_secs(5)), "/a"), "{key}");
        assert!(tax.retry.is_none() && tax.labels.is_empty(), "{key}");
    }
    // Two for one value, by whatever names.
    for (first, second) in [
        ("APP_PLUGINS__TAX__RETRY__ATTEMPTS", "APP_PLUGINS__TAX__RETRY__MAX_RETRIES"),
        ("APP_PLUGINS__TAX__PRIORITY", "APP_PLUGINS__tax__priority"),
        ("APP_DEFAULTS__RETRY__ATTEMPTS", "APP_DEFAULT_RETRY__ATTEMPTS"),
        ("APP_PLUGINS__TAX__ARGS__0", "APP_PLUGINS__tax__ARGS__0"),
    ] {
        let error = set_by(&text("args: [a]", Format::Yaml), &[(first, "5"), (second, "7")]);
        let error = error.unwrap_err();
        let [mistake] = error.mistakes() else { panic!("{error}") };
        assert_eq!(mistake.variable.as_deref(), Some(second), "{error}");
        assert!(mistake.message.contains(&format!("`{first}`")), "{error}");
    }
    // The environment of a program is a list or a map, and tells its names apart by their case.
    for members in ["env: {A: old, a: x}", "env: [A=old, a=x]"] {
        let set = [("APP_PLUGINS__TAX__ENV__A", "n=w"), ("APP_PLUGINS__TAX__ENV__B__C", "y")];
        let tax = good(members, &set);
        assert_eq!(json!(tax.env.keys().collect::<Vec<_>>()), json!(["A", "B__C", "a"]));
        assert_eq!((&tax.env["A"], &tax.env["a"]), (&"n=w".into(), &"x".into()), "{members}");
    }
    let set = [("APP_PLUGINS__TAX__ENV__B__C__ENV", "TOKEN"), ("TOKEN", "s3cret")];
    assert_eq!(good("env: {A: x}", &set).env["B__C"], "s3cret".into());
    // A name may hold what stands between two.
    let file = "plugins:\n  vat: {transport: unix, endpoint: /a}\n  tax--v2: {transport: unix, endpoint: /b}\n";
    let config = set_by(file, &[("APP_PLUGINS__TAX__V2__VERSION", "2")]).unwrap();
    assert_eq!((&*config.plugins[0].version, &*config.plugins[1].version), ("", "2"));
    // Where a secret is may be said by a variable, of one that is elsewhere in the file or not there.
    let dir = directory("set-secrets");
    let path = dir.join("token").to_str().unwrap().to_owned();
    fs::write(&path, "s3cret\n").unwrap();
    for token in ["", ", token: {file: /none}"] {
        let members = format!("auth: {{method: bearer{token}}}");
        let tax = good(&members, &[("APP_PLUGINS__TAX__AUTH__TOKEN__FILE", &path)]);
        assert_eq!(tax.auth.unwrap().token, "s3cret".into(), "{token}");
    }
    let named = [("APP_PLUGINS__TAX__AUTH__TOKEN__ENV", "TOKEN"), ("TOKEN", "${PATH}")];
    let tax = good("auth: {method: bearer, token: {env: NONE}}", &named);
    assert_eq!(tax.auth.unwrap().token, "${PATH}".into());
    fs::remove_dir_all(&dir).unwrap();
}
