//! Values of a config file in every form that they come in, and those that mean harm.
#![cfg(all(feature = "config", feature = "yaml"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::time::Duration;

use serde_json::{Value, json};
use tower_upstream::{
    config::{
        BreakerScope, Config, ConfigError, Format, PluginConfig, ReadOptions, Secrets, Sections,
        StrategyName, env::EnvOptions,
    },
    error::Code,
};

const ALL: [Format; 3] = [Format::Json, Format::Yaml, Format::Toml];

fn wrong(text: &str, format: Format) -> ConfigError {
    match Config::from_str(text, format) {
        Ok(config) => panic!("{format}: {text}: {config:?}"),
        Err(error) => error,
    }
}

/// The plugin `tax` with `members`, in JSON or YAML.
fn tax(members: &str, format: Format) -> String {
    let tax = "\"name\": \"tax\", \"transport\": \"http\", \"endpoint\": \"http://tax\"";
    match format {
        Format::Toml => format!(
            "[[plugins]]\nname = 'tax'\ntransport = 'http'\nendpoint = 'http://tax'\n{members}\n"
        ),
        Format::Yaml => {
            format!("plugins:\n- {{{tax}}}\n").replace("}", &format!(",\n  {members}}}"))
        }
        _ => format!("{{\"plugins\": [{{{tax},\n{members}}}]}}"),
    }
}

fn read(members: &str, format: Format) -> PluginConfig {
    let text = tax(members, format);
    let config = Config::from_str(&text, format).unwrap_or_else(|error| panic!("{error}\n{text}"));
    config.plugins[0].clone()
}

/// Path, line and column of each mistake.
fn places(error: &ConfigError) -> Vec<(&str, usize, usize)> {
    let of = error.mistakes().iter();
    of.map(|of| (&*of.path, of.line.unwrap_or_default(), of.column.unwrap_or_default())).collect()
}

#[test]
fn names_of_every_section_are_read_in_any_case_in_json() {
    let text = r#"{"Plugins": [{"NAME": "tax", "Transport": "http", "Endpoint": "http://tax",
        "Circuit_Breaker": {"Scope": "upstream", "FAILURE_THRESHOLD": 3},
        "retry": {"Enabled": false, "Idempotent": true, "Max_Retries": 2},
        "concurrency": {"Wait": "1s", "MAX": 3, "Per_Endpoint": 2},
        "balance": {"Strategy": "random", "Weights": {"A": 3}, "Sticky": {"KEY": {"Header": "X"}}},
        "fallback": {"Strategy": "cached", "Max_Entries": 9}}]}"#;
    let tax = Config::from_str(text, Format::Json).unwrap_or_else(|error| panic!("{error}"));
    let tax = &tax.plugins[0];
    let breaker = tax.circuit_breaker.as_ref().unwrap();
    assert_eq!((breaker.scope, breaker.config.failures), (BreakerScope::Upstream, 3));
    let retry = tax.retry.as_ref().unwrap();
    assert_eq!((retry.enabled, retry.idempotent, retry.config.attempts), (false, true, 3));
    let limits = tax.concurrency.as_ref().unwrap();
    assert_eq!((limits.wait.as_secs(), limits.config.max, limits.per_endpoint), (1, 3, Some(2)));
    let balance = tax.balance.as_ref().unwrap();
    assert_eq!((balance.strategy, balance.weights["A"]), (StrategyName::Random, 3));
    assert_eq!(balance.sticky.key.header, "X");
    assert_eq!(tax.fallback.as_ref().unwrap().max_entries, 9);
    // In YAML and TOML names are what they are.
    let error = wrong(&tax_of_yaml("circuit_breaker: {Scope: upstream}"), Format::Yaml);
    assert_eq!(error.mistakes()[0].help.as_deref(), Some("did you mean `scope`?"), "{error}");
}

fn tax_of_yaml(members: &str) -> String {
    tax(members, Format::Yaml)
}

#[test]
fn a_key_is_given_once_whatever_its_case() {
    for (members, path) in [
        (r#""retry": {"enabled": true, "Enabled": false}"#, "plugins[0].retry.Enabled"),
        (
            r#""balance": {"strategy": "random", "STRATEGY": "random"}"#,
            "plugins[0].balance.STRATEGY",
        ),
        (r#""retry": {"max_retries": 1, "Max_Retries": 2}"#, "plugins[0].retry.Max_Retries"),
        (r#""timeout": "1s", "Timeout": "2s""#, "plugins[0].Timeout"),
        (
            r#""health_check": {"fall": 1, "failure_limit": 2}"#,
            "plugins[0].health_check.failure_limit",
        ),
    ] {
        let error = wrong(&tax(members, Format::Json), Format::Json);
        let told: Vec<_> = places(&error).into_iter().map(|(path, ..)| path).collect();
        assert_eq!(told, [path], "{error}");
        assert!(error.to_string().contains("is given already"), "{error}");
    }
    let error = wrong("{\"plugins\": [], \"PLUGINS\": []}", Format::Json);
    assert!(error.to_string().contains("PLUGINS: `plugins` is given already"), "{error}");
}

#[cfg(all(feature = "process", unix))]
#[test]
fn a_key_of_security_is_given_once_in_whatever_spelling() {
    let text = "security: {auto_update: true, autoupdate: false}\nplugins: {a: {transport: http, endpoint: 'http://a'}}";
    let error = wrong(text, Format::Yaml);
    assert_eq!(places(&error)[0].0, "security.autoupdate", "{error}");
}

#[test]
fn the_nearest_name_is_also_one_of_the_section_itself() {
    for (members, hint) in [
        ("balance: {stratgy: random}", "`strategy`"),
        ("retry: {idempotnt: true}", "`idempotent`"),
        ("concurrency: {per_endpont: 3}", "`per_endpoint`"),
        ("circuit_breaker: {failurs: 3}", "`failures`"),
    ] {
        let error = wrong(&tax_of_yaml(members), Format::Yaml);
        let help = error.mistakes()[0].help.clone().unwrap_or_default();
        assert!(help.contains(hint), "{members}: {error}");
    }
}

#[test]
fn yaml_without_quotes_is_text_where_a_text_is_asked_for_as_go_reads_it() {
    let tax = read(
        "version: 1.10, type: 7, labels: {tier: 1, critical: true, hex: 0x1F, power: 1e3, none: .nan, \
         zeros: 007, long: 123456789012345678901234567890, anchor: &v 2.50, alias: *v, day: 2025-09-20}, \
         auth: {method: basic, username: 0123, password: 12345}, env: [PORT=1], \
         annotations: {yes: no}",
        Format::Yaml,
    );
    assert_eq!((&*tax.version, &*tax.kind), ("1.10", "7"));
    let labels: Vec<_> = tax.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
    let expected = [
        ("alias", "2.50"),
        ("anchor", "2.50"),
        ("critical", "true"),
        ("day", "2025-09-20"),
        ("hex", "0x1F"),
        ("long", "123456789012345678901234567890"),
        ("none", ".nan"),
        ("power", "1e3"),
        ("tier", "1"),
        ("zeros", "007"),
    ];
    assert_eq!(labels, expected);
    let auth = tax.auth.as_ref().unwrap();
    assert_eq!((&auth.username, &auth.password), (&"0123".into(), &"12345".into()));
    assert_eq!(tax.annotations["yes"], "no");
    // In JSON and TOML a number is a number, in Go as well.
    for (members, format) in [("\"version\": 1.10", Format::Json), ("version = 1.10", Format::Toml)]
    {
        let error = wrong(&self::tax(members, format), format);
        assert_eq!(places(&error)[0].0, "plugins[0].version", "{error}");
    }
}

#[test]
fn words_are_bools_only_where_a_bool_is_asked_for() {
    let tax = read(
        "enabled: on, labels: {a: on, b: yes, c: off}, retry: {idempotent: YES}",
        Format::Yaml,
    );
    assert!(tax.enabled && tax.retry.unwrap().idempotent);
    assert_eq!((&*tax.labels["a"], &*tax.labels["b"], &*tax.labels["c"]), ("on", "yes", "off"));
    for (members, format) in [
        ("\"enabled\": \"on\"", Format::Json),
        ("\"enabled\": 1", Format::Json),
        ("enabled = 'on'", Format::Toml),
        ("enabled: maybe", Format::Yaml),
        ("enabled: 1", Format::Yaml),
    ] {
        let error = wrong(&self::tax(members, format), format);
        assert_eq!(places(&error)[0].0, "plugins[0].enabled", "{error}");
    }
}

#[test]
fn a_whole_fraction_is_a_whole_number_as_go_takes_it() {
    let json = read(
        r#""retry": {"max_retries": 3.0, "initial_interval": 1e8, "max_interval": 5.0e9},
           "circuit_breaker": {"failure_threshold": 5e0, "min_request_threshold": -0.0}, "priority": -2.0,
           "connection": {"max_connections": 10.0}"#,
        Format::Json,
    );
    let retry = json.retry.unwrap().config;
    assert_eq!((retry.attempts, retry.initial_interval.as_millis()), (4, 100));
    assert_eq!(retry.max_interval, Duration::from_secs(5));
    let breaker = json.circuit_breaker.unwrap().config;
    assert_eq!((breaker.failures, breaker.failures_min_calls, json.priority), (5, 0, -2));
    assert_eq!(json.connection.unwrap().max_connections, Some(10));
    let yaml =
        read("retry: {max_retries: 3.0}, priority: -0, rate_limit: {burst: 1_000}", Format::Yaml);
    assert_eq!((yaml.retry.unwrap().config.attempts, yaml.priority), (4, 0));
    assert_eq!(yaml.rate_limit.unwrap().burst, 1_000);
    for number in
        ["2.5", "-1.0", "-1", "1e300", "4294967296", "1e-3", "\"3\"", "99999999999999999999"]
    {
        let error = wrong(
            &tax(&format!("\"retry\": {{\"max_retries\": {number}}}"), Format::Json),
            Format::Json,
        );
        assert_eq!(places(&error), [("plugins[0].retry.max_retries", 2, 26)], "{number}: {error}");
    }
    // 15 in older YAML, 17 in newer.
    let error = wrong(&tax_of_yaml("retry: {max_retries: 017}"), Format::Yaml);
    assert_eq!(places(&error)[0].0, "plugins[0].retry.max_retries", "{error}");
    assert_eq!(read("retry: {max_retries: 0o17}", Format::Yaml).retry.unwrap().config.attempts, 16);
}

#[test]
fn a_duration_is_at_most_that_of_go_in_every_form() {
    let most = Duration::from_nanos(i64::MAX as u64);
    for (members, format) in [
        ("\"timeout\": 9223372036854775807", Format::Json),
        ("timeout: 9223372036854775807", Format::Yaml),
        ("timeout = 9223372036854775807", Format::Toml),
        ("timeout: 2562047h47m16.854775807s", Format::Yaml),
    ] {
        let plugin = read(members, format);
        assert_eq!(plugin.timeout, Some(most));
        // What is written of it reads the same.
        let config = Config::default().with_plugin(plugin);
        for format in ALL {
            let text = config.to_text(format, Secrets::Written).unwrap();
            assert_eq!(Config::from_str(&text, format).unwrap(), config, "{text}");
        }
    }
    assert_eq!(read("\"timeout\": -0", Format::Json).timeout, Some(Duration::ZERO));
    assert_eq!(read("\"timeout\": -0.0", Format::Json).timeout, Some(Duration::ZERO));
    for value in [
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "1.5",
        "-1",
        "-1e9",
        "1e300",
    ] {
        for (text, format) in [
            (tax(&format!("\"timeout\": {value}"), Format::Json), Format::Json),
            (tax(&format!("timeout: {value}"), Format::Yaml), Format::Yaml),
        ] {
            let error = wrong(&text, format);
            assert_eq!(places(&error)[0].0, "plugins[0].timeout", "{value}: {error}");
        }
    }
    for text in ["2562047h47m16.854775808s", "9999999999h", "-1s", "1", "1d", "1 s", "", "1h1", "∞"]
    {
        let error = wrong(&tax(&format!("\"timeout\": \"{text}\""), Format::Json), Format::Json);
        assert_eq!(places(&error), [("plugins[0].timeout", 2, 12)], "{text}: {error}");
    }
}

#[test]
fn a_number_of_nanoseconds_that_is_meant_in_another_unit_is_told() {
    for (number, meant) in
        [("5", "5s"), ("30", "30s"), ("500", "500s"), ("5000", "5000ms"), ("999999", "999999ms")]
    {
        for key in [
            "timeout",
            "connection.connect_timeout",
            "retry.max_interval",
            "balance.slow_start.window",
        ] {
            let value = key
                .split('.')
                .rev()
                .fold(number.to_owned(), |inner, key| format!("{{{key}: {inner}}}"));
            let members = value.trim_start_matches('{').strip_suffix('}').unwrap().to_owned();
            let error = wrong(&tax_of_yaml(&members), Format::Yaml);
            assert_eq!(error.mistakes()[0].path, format!("plugins[0].{key}"), "{error}");
            assert!(
                error.mistakes()[0].message.ends_with(&format!("did you mean `{meant}`?")),
                "{error}"
            );
        }
    }
    // A variable as well, and what Go takes for a whole number.
    for members in ["timeout: \"${UNSET_TIMEOUT:-5}\"", "timeout: 5.0", "timeout: 5e3"] {
        let error = wrong(&tax_of_yaml(members), Format::Yaml);
        assert!(error.mistakes()[0].message.contains("did you mean `5"), "{error}");
    }
    // Zero says nothing, a unit says what is meant, and a millisecond is one.
    for (members, nanos) in
        [("timeout: 0", 0), ("timeout: 5ns", 5), ("timeout: 1000000", 1_000_000)]
    {
        assert_eq!(
            read(members, Format::Yaml).timeout,
            Some(Duration::from_nanos(nanos)),
            "{members}"
        );
    }
}

#[test]
fn what_is_wrong_for_want_of_a_variable_names_it() {
    let env = EnvOptions::default().with_variables([("SET", "x")]);
    let options = ReadOptions::default().with_env(env);
    let text = "plugins:\n- name: tax\n  transport: http\n  endpoint: ${TAX_URL}\n  priority: ${TAX_PRIORITY}\n  \
                rate_limit: {requests_per_second: \"${TAX_RPS}\", burst: \"${SET}\"}\n  \
                auth: {method: bearer, token: \"${TAX_TOKEN}\"}\n  work_dir: ${TAX_DIR}\n- transport: http\n  \
                endpoint: \"${TAX_HOST:-}\"\n  name: ${TAX_NAME}\n";
    let error = Config::from_str_with(text, Format::Yaml, &options).unwrap_err();
    let helps: Vec<_> = error
        .mistakes()
        .iter()
        .map(|mistake| (mistake.path.as_str(), mistake.help.clone().unwrap_or_default()))
        .collect();
    let unset = |name: &str| format!("the environment variable `{name}` is not set");
    assert_eq!(
        helps,
        [
            ("plugins[0].endpoint", unset("TAX_URL")),
            ("plugins[0].priority", unset("TAX_PRIORITY")),
            ("plugins[0].rate_limit.requests_per_second", unset("TAX_RPS")),
            ("plugins[0].rate_limit.burst", String::new()),
            ("plugins[0].auth", unset("TAX_TOKEN")),
            // A default that is empty is what the file says.
            ("plugins[1].endpoint", String::new()),
            ("plugins[1].name", unset("TAX_NAME")),
        ],
        "{error}"
    );
}

#[test]
fn a_mistake_says_what_may_stand_there_in_words_of_a_file() {
    for (members, path, said) in [
        ("retry: {attempts: 0}", "retry.attempts", "0, but must be from 1 to 64"),
        (
            "retry: {max_retries: 64}",
            "retry.max_retries",
            "65, but must be from 1 to 64; `attempts` is one more than `max_retries`",
        ),
        (
            "retry: {attempts: many}",
            "retry.attempts",
            "expected a whole number, not negative, found a text",
        ),
        ("priority: high", "priority", "expected a whole number, found a text"),
        (
            "rate_limit: {requests_per_second: many}",
            "rate_limit.requests_per_second",
            "expected a number, found a text",
        ),
        ("enabled: maybe", "enabled", "expected `true` or `false`, found a text"),
        ("retries: 3", "retries", "unknown key; did you mean `retry`?"),
        (
            "balance: {strategy: weighted-robin}",
            "balance.strategy",
            "did you mean `weighted-round-robin`?",
        ),
        (
            "fallback: cache",
            "fallback",
            "and a fallback without a plugin is `none`, `default`, `cached`; did you mean `cached`?",
        ),
        (
            "budget: {ratio: 0.5}",
            "budget",
            "needs a `rule`: `share`, `throttle`, `standard`, `concurrent`, `empty` or `unlimited`",
        ),
        ("priority: 1,\n  priority: 2", "priority", "this key is given twice, first at line 3"),
    ] {
        let error = wrong(&tax_of_yaml(members), Format::Yaml);
        let mistake = &error.mistakes()[0];
        let help = mistake.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        assert_eq!(mistake.path, format!("plugins[0].{path}"), "{error}");
        assert!(format!("{}{help}", mistake.message).ends_with(said), "{said}: {error}");
    }
}

#[test]
fn what_is_no_key_of_a_section_and_what_is_no_section_say_its_keys() {
    for (members, path, said) in [
        (
            "rate_limit: {rps: 5}",
            "rate_limit.rps",
            "unknown key; there are `enabled`, `requests_per_second`, `burst`, ",
        ),
        (
            "rate_limit: 100",
            "rate_limit",
            "expected an object with settings, found a number; its keys are `enabled`, `requests_per_second`, ",
        ),
        ("retry: 3", "retry", "found a number; its keys are `enabled`, "),
        ("health_check: [/health]", "health_check", "found a list; its keys are `enabled`, "),
        ("balance: peak-ewma", "balance", "found a text; its keys are `strategy`, "),
        (
            "balance: {strategy: consistent-hash, hash: {by: x}}",
            "balance.hash.by",
            "unknown key; there are `",
        ),
        ("balance: {slow_start: 10s}", "balance.slow_start", "its keys are `window`, "),
    ] {
        let error = wrong(&tax_of_yaml(members), Format::Yaml);
        let mistake = &error.mistakes()[0];
        let help = mistake.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        assert_eq!(mistake.path, format!("plugins[0].{path}"), "{error}");
        assert!(format!("{}{help}", mistake.message).contains(said), "{said}: {error}");
    }
}

#[test]
fn an_address_says_which_transport_is_meant_and_a_transport_which_address() {
    for (plugin, said) in [
        ("{endpoint: 'https://a'}", "did you mean `transport: https`?"),
        ("{type: http, endpoint: 'a:1'}", "did you mean `transport: http`?"),
        ("{endpoint: 'a:1'}", "there are `http`, `https`, "),
        ("{transport: http, endpoint: 'a:80'}", "write `http://` before it"),
        ("{transport: https, endpoint: a.example}", "write `https://` before it"),
        ("{transport: http, endpoint: 'unix:/a'}", "write the transport `unix`"),
        ("{transport: http, endpoint: 'tcp://a:1'}", "write it as one of `endpoints`"),
    ] {
        let error = wrong(&format!("plugins: {{a: {plugin}}}"), Format::Yaml);
        let help = error.mistakes()[0].help.as_deref().unwrap_or_default();
        assert!(help.starts_with(said), "{plugin}: {error}");
    }
    // What may be a secret is not repeated.
    let error = wrong("plugins: {a: {transport: http, endpoint: 'me:s3cret@a'}}", Format::Yaml);
    assert_eq!(error.mistakes()[0].help, None, "{error}");
}

/// The pointers of all fractions of a value.
fn fractions(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| fractions(value, &format!("{at}/{key}"), found));
        }
        Value::Number(number) if number.is_f64() => found.push(at.to_owned()),
        _ => {}
    }
}

#[test]
fn a_mistake_says_what_is_meant_where_it_is_known() {
    let text =
        |top: &str| format!("{top}\nplugins:\n  a: {{transport: https, endpoint: 'https://a'}}\n");
    for (top, help) in [
        ("retry: {}", "did you mean `defaults.retry`?"),
        ("default_auth: {}", "did you mean `defaults.auth`?"),
        ("default_timeout: 5s", "did you mean `defaults.timeout`?"),
        ("balance: {}", "did you mean `defaults.balance`?"),
        (
            "defaults: {timeout: 1d}",
            "its units are `h`, `m`, `s`, `ms`, `us` and `ns`: a day is `24h`",
        ),
        ("defaults: {retry: {overall: 5 min}}", "its units are"),
    ] {
        let error = wrong(&text(top), Format::Yaml);
        let said = error.mistakes()[0].help.as_deref().unwrap_or_default();
        assert!(said.contains(help), "{top}: {error}");
    }
    // Whatever a name holds, a terminal shows it.
    let names = "plugins:\n  \"b\\e[31m\": {transport: unix, endpoint: /a, fallback: \"c\\e[31m\"}\n  \
                 \"c\\e[31m\": {transport: unix, endpoint: /a, fallback: \"b\\e[31m\"}\n  \
                 d: {transport: unix, endpoint: /a, fallback: \"b\\e[32m\"}\n";
    let error = wrong(names, Format::Yaml).to_string();
    assert!(error.contains("in a circle") && error.contains("did you mean"), "{error}");
    assert!(!error.contains('\u{1b}'), "{error}");
    for name in [
        "\\u001b[31m",
        "\\u001bX",
        "\\u001b.\\u001b",
        "\\u202e",
        &"x".repeat(100_000),
        &"x.".repeat(50_000),
    ] {
        let members = format!("\"discover\": {{\"{name}\": {{}}}}");
        let text = tax(&members, Format::Json).replacen(", \"endpoint\": \"http://tax\"", "", 1);
        let error = wrong(&text, Format::Json).to_string();
        assert!(error.contains("there is no backend") && error.len() < 2_000, "{error:.300}");
        assert!(!error.contains(['\u{1b}', '\u{202e}']), "{error}");
    }
}

#[test]
fn no_mistake_has_words_of_a_programmer() {
    let with = |members: &str| {
        let plugin = r#"{"name": "a", "transport": "https", "endpoint": "https://a", "#;
        format!(r#"{{"plugins": [{plugin}{members}}}]}}"#)
    };
    for (members, said) in [
        (r#""auth": {"method": ["x"]}"#, "expected `none`, `api-key`"),
        (r#""auth": {"method": 5}"#, "expected `none`, `api-key`"),
        (r#""circuit_breaker": {"window": {}}"#, "expected one key with its settings, found a map"),
        (
            r#""endpoints": [{"address": "https://b", "health_check": {"expected": [200]}}]"#,
            "expected a list of 2, found one of 1",
        ),
        (r#""priority": 1e300"#, "expected a whole number, found 1e300"),
        (
            r#""balance": {"locality": {"weighted": 5}}"#,
            "expected an object with settings, found a number",
        ),
        (
            r#""priority": 99999999999999999999"#,
            "expected a whole number, found 100000000000000000000",
        ),
        (r#""rate_limit": {"burst": 1e30}"#, "a whole number from 0 to 4294967295, found 1e30"),
    ] {
        let text = with(members);
        let error = wrong(&text, Format::Json);
        let is_said = error.mistakes().iter().any(|mistake| mistake.message.contains(said));
        assert!(is_said, "{members}: {error}");
    }
    let text = "plugins:\n  a: {transport: unix, endpoint: /a}\n---\nplugins: {}\n";
    let error = wrong(text, Format::Yaml);
    assert_eq!(error.mistakes()[0].line, Some(4), "{error}");
    assert!(error.to_string().contains("a config is one"), "{error}");
    let policy = r#"{"security": {"policy": [1]}, "plugins": {"a": {"transport": "unix", "endpoint": "/a"}}}"#;
    let error = wrong(policy, Format::Json).to_string();
    assert!(error.contains("`strict`") && !error.contains("variant"), "{error}");
}

#[test]
fn what_is_no_number_is_none_and_what_is_not_finite_is_a_mistake() {
    let defaults = serde_json::to_value(Sections::default()).unwrap();
    let mut all = Vec::new();
    fractions(&defaults, "", &mut all);
    assert!(all.len() > 8, "{all:?}");
    for pointer in all {
        let keys: Vec<_> = pointer.split('/').skip(1).collect();
        for (value, format) in [
            ("nan", Format::Toml),
            ("inf", Format::Toml),
            ("-inf", Format::Toml),
            (".nan", Format::Yaml),
            (".inf", Format::Yaml),
        ] {
            let plugins = "plugins: {a: {transport: http, endpoint: 'http://a'}}";
            let is_budget = keys[0] == "budget";
            let text = if format == Format::Toml {
                let rule = if is_budget { "defaults.budget.rule = 'share'\n" } else { "" };
                format!(
                    "plugins.a = {{transport = 'http', endpoint = 'http://a'}}\n{rule}defaults.{} = {value}\n",
                    keys.join(".")
                )
            } else {
                let rule = if is_budget { "rule: share, " } else { "" };
                let keys = keys.join(": {").replace("budget: {", &format!("budget: {{{rule}"));
                format!(
                    "defaults: {{{keys}: {value}{}\n{plugins}",
                    "}".repeat(pointer.matches('/').count())
                )
            };
            let told = match Config::from_str(&text, format) {
                Err(error) => {
                    places(&error).into_iter().map(|(path, ..)| path.to_owned()).collect()
                }
                // None is a value of some.
                Ok(config) => {
                    let read = serde_json::to_value(&config.defaults).unwrap();
                    let now = read.pointer(&pointer).unwrap();
                    // Like null, it leaves a value as it is among those that a `rule` decides on.
                    let is_left = is_budget && *now == defaults[keys[0]][keys[1]];
                    assert!(*now == Value::Null || is_left, "{text}");
                    assert!(value.contains("nan"), "{text}");
                    vec![format!("defaults.{}", keys.join("."))]
                }
            };
            assert_eq!(told, [format!("defaults.{}", keys.join("."))], "{text}");
        }
    }
    let error = wrong(&tax("options = {x = inf}", Format::Toml), Format::Toml);
    assert_eq!(places(&error)[0].0, "plugins[0].options.x", "{error}");
    // Nor is a variable.
    let options =
        ReadOptions::default().with_env(EnvOptions::default().with_variables([("X", "-inf")]));
    let text = tax("\"transport\": \"wasm\", \"options\": {\"x\": \"${X}\"}", Format::Json)
        .replacen("\"transport\": \"http\", ", "", 1);
    let config =
        Config::from_str_with(&text, Format::Json, &options.with_transports(["wasm"])).unwrap();
    assert_eq!(config.plugins[0].options["x"], json!("-inf"));
}

#[test]
fn what_yaml_has_beside_values_is_read_or_told() {
    let text = "plugins:\n  a: &a {transport: http, endpoint: 'http://a', retry: {max_retries: 7}, timeout: 1s}\n  \
                b:\n    <<: *a\n    endpoint: http://b\n    timeout: 2s\n";
    let config = Config::from_str(text, Format::Yaml).unwrap_or_else(|error| panic!("{error}"));
    let b = &config.plugins[1];
    assert_eq!((&*b.endpoint, b.timeout), ("http://b", Some(Duration::from_secs(2))));
    assert_eq!(b.retry.as_ref().unwrap().config.attempts, 8);
    // A mistake in what is merged is told where it is written.
    let error = wrong(&text.replace("max_retries: 7", "max_retries: x"), Format::Yaml);
    assert!(places(&error).iter().all(|(_, line, _)| *line == 2), "{error}");
    for (what, text, line) in [
        ("a tag of others", "plugins:\n  a: {transport: http, endpoint: !vault 'http://a'}\n", 2),
        ("two documents", "log_level: info\n---\nlog_level: debug\n", 3),
        ("a key that is a list", "log_level: info\n? [a, b]\n: c\n", 2),
        ("a key that is null", "log_level: info\n~: c\n", 2),
        ("a tab", "plugins:\n\ta: 1\n", 2),
        ("an alias to nothing", "log_level: *none\n", 1),
        ("an alias in itself", "plugins: &a\n  b: *a\n", 2),
    ] {
        let error = wrong(text, Format::Yaml);
        assert_eq!(error.mistakes()[0].line, Some(line), "{what}: {error}");
    }
    let tagged = read(
        "version: !!str 1.10, labels: {n: !!str 007}, retry: {max_retries: !!int '3'}",
        Format::Yaml,
    );
    assert_eq!((&*tagged.version, &*tagged.labels["n"]), ("1.10", "007"));
    assert_eq!(tagged.retry.unwrap().config.attempts, 4);
    for value in ["!!timestamp 2001-01-01", "!!pairs x"] {
        let error = wrong(&tax_of_yaml(&format!("labels: {{a: {value}}}")), Format::Yaml);
        assert!(error.mistakes()[0].message.contains("tag") && places(&error)[0].1 == 3, "{error}");
    }
    let text = "%YAML 1.2\n---\nplugins: {a: {transport: http, endpoint: 'http://a'}}\n...\n";
    assert_eq!(Config::from_str(text, Format::Yaml).unwrap().plugins.len(), 1);
}

#[test]
fn dates_of_toml_are_texts() {
    let tax = read("version = 2025-09-20\nlabels = {at = 07:32:00}", Format::Toml);
    assert_eq!((&*tax.version, &*tax.labels["at"]), ("2025-09-20", "07:32:00"));
    let error = wrong(&self::tax("timeout = 1979-05-27T07:32:00Z", Format::Toml), Format::Toml);
    assert_eq!(places(&error), [("plugins[0].timeout", 5, 11)], "{error}");
}

#[test]
fn what_is_empty_says_nothing_or_what_it_lacks() {
    let tax = read(
        "retry: , balance: ~, fallback: null, labels: , env: , endpoints: , auth: ",
        Format::Yaml,
    );
    assert_eq!((tax.retry, tax.balance, tax.fallback, tax.auth), (None, None, None, None));
    assert!(tax.labels.is_empty() && tax.env.is_empty() && tax.endpoints.is_empty());
    let tax = read("retry: {}, rate_limit: {}, auth: {}, balance: {}", Format::Yaml);
    assert!(tax.retry.unwrap().enabled && tax.rate_limit.unwrap().enabled);
    for (text, path) in [
        ("plugins: {tax: }", "plugins.tax"),
        ("plugins: [~]", "plugins[0]"),
        ("plugins: [[]]", "plugins[0]"),
        ("plugins: [tax]", "plugins[0]"),
        ("plugins: {}", "plugins"),
        ("plugins: ", "plugins"),
        ("plugins: tax", "plugins"),
        ("defaults: []\nplugins: {a: {transport: http, endpoint: 'http://a'}}", "defaults"),
        ("plugins: {tax: {transport: http, endpoint: 'http://a', retry: 3}}", "plugins.tax.retry"),
    ] {
        let error = wrong(text, Format::Yaml);
        assert_eq!(places(&error)[0].0, path, "{text}: {error}");
        assert!(!error.to_string().contains("struct"), "{text}: {error}");
    }
}

#[test]
fn the_mark_is_below_what_is_wrong_whatever_stands_before_it() {
    for (before, width) in [
        ("", 0),
        ("\"税金\": \"税\", ", 3),
        ("\"a\u{301}\": 1, ", -1),
        ("\t\"x\": 1, ", 0),
        ("\"é\": 1, ", 0),
    ] {
        let text = format!(
            "\u{feff}{{\"plugins\": [{{\"name\": \"tax\", \"transport\": \"http\", \"endpoint\": \"http://a\", \r\n\"labels\": {{}},{before}\"enabld\": true}}]}}\r\n"
        );
        let error = wrong(&text, Format::Json);
        let mistake = error.mistakes().iter().find(|of| of.path.ends_with("enabld")).unwrap();
        let column = 1 + "\"labels\": {},".chars().count() + before.chars().count();
        assert_eq!((mistake.line, mistake.column), (Some(2), Some(column)), "{error}");
        let shown = mistake.to_string();
        let lines: Vec<_> = shown.lines().collect();
        let mark = lines.iter().position(|line| line.contains('^')).unwrap();
        let at = |line: &str, what: &str| line[..line.find(what).unwrap()].chars().count() as i32;
        assert_eq!(at(lines[mark], "^"), at(lines[mark - 1], "\"enabld\"") + width, "{shown}");
    }
}

#[test]
fn no_secret_is_shown_whatever_its_password_holds() {
    for password in
        ["hunter2", "hun,ter2", "hun ter2", "hun\\\"ter2", "hun<ter2>", "hun@ter2", "hun'ter2"]
    {
        let members = format!("\"endpoints\": [\"https://u:{password}@tax\"], \"enabld\": true");
        let text = tax(&members, Format::Json).replacen(", \"endpoint\": \"http://tax\"", "", 1);
        let error = wrong(&text, Format::Json);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("ter2") && shown.contains("enabld"), "{password}: {shown}");
    }
    let text = "{\"plugins\": [{\"name\": \"tax\", \"transport\": \"http\", \"endpoint\": \"http://u:hunter2@tax:99999\"}]}";
    let error = wrong(text, Format::Json);
    assert_eq!(error.mistakes()[0].code, Code::PLUGIN_1004);
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    let env = EnvOptions::default()
        .with_variables([("A", "hunter2")])
        .with_override("B", "hunter2")
        .with_default("C", "hunter2");
    let options = ReadOptions::default().with_env(env);
    assert!(!format!("{options:?}").contains("hunter2"), "{options:?}");
}

#[test]
fn secrets_among_values_of_any_shape_are_stars_unless_asked_for() {
    let config = json!({ "plugins": [
        {
            "name": "a", "transport": "unix", "endpoint": "/run/a.sock",
            "options": { "auth_token": "s3cret", "nested": [{ "password": "s3cret", "port": 7 }], "max_tokens": 3 },
        },
        {
            "name": "b", "transport": "http", "discover": {
                "consul": { "address": "https://c:8500", "token": "s3cret" },
            },
        },
        {
            "name": "d", "transport": "http", "endpoints": [
                "http://c",
                { "address": "http://d", "health_check": { "headers": { "X-Key": "s3cret" }, "body": "s3cret" } },
            ],
        },
    ] });
    let config = Config::from_str(&config.to_string(), Format::Json)
        .unwrap_or_else(|error| panic!("{error}"));
    // A file with a user in an address is refused; code may write one.
    let user = PluginConfig::new("c", "http").with_endpoint("http://u:s3cret@c");
    let users = PluginConfig::new("e", "http").with_endpoints(["http://u:s3cret@e"]);
    let all = config.clone().with_plugin(user).with_plugin(users);
    for text in [
        all.to_json().unwrap(),
        all.to_yaml().unwrap(),
        all.to_toml().unwrap(),
        all.to_go_json(Secrets::Masked).unwrap(),
        serde_json::to_string(&all).unwrap(),
        format!("{all:?}"),
    ] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    let shown: Value = serde_json::from_str(&config.to_json().unwrap()).unwrap();
    let [a, b] = [0, 1].map(|at| &shown["plugins"][at]);
    assert_eq!(
        a["options"],
        json!({ "auth_token": "***", "nested": [{ "password": "***", "port": 7 }], "max_tokens": 3 })
    );
    assert_eq!(b["discover"]["consul"], json!({ "address": "https://c:8500", "token": "***" }));
    for format in ALL {
        let text = config.to_text(format, Secrets::Written).unwrap();
        assert_eq!(Config::from_str(&text, format).unwrap(), config, "{text}");
    }
}
