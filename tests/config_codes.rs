//! The catalogue of codes: for each the test that raises it, or why nothing does.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{collections::BTreeMap, fs, path::Path};

use tower_upstream::{
    config::{Config, DiscoverConfig, Format, PluginConfig},
    error::{Code, Error, Kind},
    plugins::Plugins,
};

/// A code, and the file and the name of a test that raises it and says so.
const RAISED: &[(Code, &str, &str)] = &[
    (Code::PLUGIN_1001, FILE, RULES),
    (Code::PLUGIN_1002, FILE, RULES),
    (Code::PLUGIN_1003, FILE, RULES),
    (Code::PLUGIN_1004, FILE, RULES),
    (Code::PLUGIN_1005, FILE, RULES),
    (Code::PLUGIN_1006, FILE, RULES),
    (Code::PLUGIN_1007, FILE, RULES),
    (Code::PLUGIN_1008, FILE, RULES),
    (Code::PLUGIN_1009, FILE, RULES),
    (Code::PLUGIN_1010, FILE, "a_name_that_is_given_twice_is_told_at_the_second"),
    (Code::PLUGIN_1011, FILE, PATHS),
    (Code::AUTH_1101, FILE, RULES),
    (Code::AUTH_1102, FILE, RULES),
    (Code::AUTH_1103, FILE, RULES),
    (Code::AUTH_1104, FILE, RULES),
    (Code::AUTH_1105, FILE, RULES),
    (Code::PLUGIN_1201, CALLS, "an_unknown_name_is_answered_with_the_nearest_one"),
    (Code::PLUGIN_1202, CALLS, "a_plugin_that_is_not_enabled_is_listed_and_says_so"),
    (
        Code::PLUGIN_1203,
        SECTIONS,
        "retries_are_those_of_the_section_at_one_endpoint_and_at_several",
    ),
    (Code::PLUGIN_1204, SECTIONS, "a_timeout_is_for_calls_without_a_deadline_and_zero_is_none"),
    (Code::PLUGIN_1205, "src/error/display.rs", "the_cause_comes_last_and_once"),
    (Code::PLUGIN_1206, "tests/http_serve.rs", "the_code_of_a_plugins_error_survives_every_hop"),
    (Code::PLUGIN_1207, "src/error/display.rs", "the_cause_comes_last_and_once"),
    (Code::PLUGIN_1208, HERE, "what_cannot_be_sent_as_it_is_has_its_code"),
    (Code::TRANSPORT_1301, "src/error/display.rs", "the_cause_comes_last_and_once"),
    (Code::TRANSPORT_1302, "tests/grpc_transport.rs", NO_ANSWER),
    (Code::TRANSPORT_1303, "tests/socket_transport.rs", NO_ANSWER),
    (Code::TRANSPORT_1304, "tests/process_transport.rs", NO_ANSWER),
    (Code::CIRCUIT_1401, SECTIONS, "a_circuit_is_that_of_each_endpoint_or_of_the_plugin"),
    (Code::RATELIMIT_1501, "tests/grpc_tonic.rs", "a_client_is_told_what_refused_its_call"),
    (
        Code::RATELIMIT_1502,
        SECTIONS,
        "calls_at_once_are_limited_for_a_plugin_and_for_each_endpoint",
    ),
    (
        Code::HEALTH_1601,
        "tests/health.rs",
        "a_gate_above_refuses_after_three_failures_and_opens_after_two_successes",
    ),
    (Code::HEALTH_1602, HERE, "a_gate_that_a_check_without_an_answer_has_shut_has_its_code"),
    (Code::LOADBALANCER_1701, "tests/named.rs", NO_ENDPOINT),
    (Code::LOADBALANCER_1702, "tests/named.rs", NO_ENDPOINT),
    (Code::CONFIG_1701, FILE, PATHS),
    (Code::CONFIG_1702, FILE, PATHS),
    (Code::CONFIG_1703, FILE, "a_mistake_shows_its_line_and_no_secret"),
    (Code::CONFIG_1705, FILE, PATHS),
    (Code::CONFIG_1706, FILE, PATHS),
    (Code::CONFIG_1707, "tests/config_cli.rs", "a_file_that_must_not_be_read_says_so"),
    (
        Code::SECURITY_1801,
        "src/allow/check.rs",
        "a_program_that_is_written_to_after_it_was_hashed_is_not_confirmed",
    ),
    (Code::SECURITY_1802, ALLOW, "a_list_that_cannot_be_read_leaves_the_last_good_one"),
    (
        Code::SECURITY_1803,
        "src/allow/check.rs",
        "a_program_that_is_written_to_after_it_was_hashed_is_not_confirmed",
    ),
    (Code::SECURITY_1804, "src/transport/process/program.rs", "only_programs_are_reached"),
    (Code::SECURITY_1805, ALLOW, "a_list_that_cannot_be_read_leaves_the_last_good_one"),
    (Code::SECURITY_1806, ALLOW, "clones_share_what_is_replaced_and_updated"),
    (Code::REGISTRY_1901, CALLS, "a_service_is_a_plugin_and_a_name_is_taken_once"),
    (Code::REGISTRY_1903, "tests/process_transport.rs", NO_ANSWER),
    (
        Code::REGISTRY_1904,
        FACTORIES,
        "what_no_factory_serves_is_told_with_the_names_that_there_are",
    ),
    (Code::REGISTRY_1906, HERE, "a_backend_that_cannot_be_asked_has_its_code"),
    (Code::REGISTRY_1907, FACTORIES, "a_factory_that_fails_or_panics_is_an_error_with_its_cause"),
    (Code::RPC_2002, "src/plugin/handshake.rs", "each_mistake_is_named"),
    (Code::RPC_2003, "tests/process_transport.rs", NO_ANSWER),
    (
        Code::RPC_2004,
        "tests/process_allow.rs",
        "what_is_on_the_list_runs_and_another_program_does_not",
    ),
    (Code::RPC_2005, "tests/codec.rs", "a_message_that_is_no_json_is_not_sent_as_json"),
];

/// Codes of the Go plugin manager that nothing raises here, and why.
const SILENT: &[(Code, &str)] = &[
    (
        Code::CIRCUIT_1402,
        "Go has it for nothing: a call that outlasts its time has PLUGIN_1204, with or without a breaker around it, \
         and a breaker that is open refuses at once",
    ),
    (
        Code::CONFIG_1704,
        "a config file is not watched yet; an allow-list that is cannot fail at it, as it looks by time",
    ),
    (
        Code::REGISTRY_1902,
        "there is no isolation manager: its breaker, its limits and its fallback are layers with codes of their own",
    ),
    (
        Code::REGISTRY_1905,
        "there are no clients beside the plugins: a name without one is PLUGIN_1201",
    ),
    (
        Code::REGISTRY_1908,
        "there is no manager of subprocesses beside their transport, which has REGISTRY_1903 and TRANSPORT_1304",
    ),
    (
        Code::RPC_2001,
        "Go has it for its net/rpc, which is gone there too: over gRPC it is TRANSPORT_1302, else RPC_2003",
    ),
];

const FILE: &str = "tests/config_file.rs";
const HERE: &str = "tests/config_codes.rs";
const ALLOW: &str = "tests/allow.rs";
const CALLS: &str = "tests/plugins/calls.rs";
const FACTORIES: &str = "tests/plugins/factories.rs";
const SECTIONS: &str = "tests/plugins/sections.rs";
const RULES: &str = "each_rule_of_go_has_its_code_and_place_in_every_format";
const PATHS: &str = "the_path_of_a_file_is_checked_in_the_order_of_go";
const NO_ANSWER: &str = "what_is_no_right_answer_is_an_error";
const NO_ENDPOINT: &str = "a_balancer_says_its_name_when_it_has_no_endpoint";

fn source(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The body of a test, by its name.
fn body<'s>(source: &'s str, test: &str) -> Option<&'s str> {
    let start = source.find(&format!("fn {test}("))?;
    let line = source[..start].rfind('\n').map_or(0, |end| end + 1);
    let before = source[..line].lines().rev().map(str::trim);
    let mut attributes = before.take_while(|line| line.starts_with("#["));
    if !attributes.any(|of| of.starts_with("#[test]") || of.starts_with("#[tokio::test")) {
        return None;
    }
    let indent = source[line..].len() - source[line..].trim_start_matches(' ').len();
    let end = source[start..].find(&format!("\n{}}}\n", " ".repeat(indent)))?;
    Some(&source[start..start + end])
}

#[test]
fn each_code_is_raised_by_a_test_or_has_a_reason_not_to_be() {
    let mut rows = BTreeMap::new();
    for (code, file, test) in RAISED {
        rows.insert(*code, ());
        let source = source(file);
        let body = body(&source, test);
        let body = body.unwrap_or_else(|| panic!("{code}: {file} has no test `{test}`"));
        assert!(body.contains(code.as_str()), "{file}: `{test}` says nothing of {code}");
    }
    for (code, why) in SILENT {
        rows.insert(*code, ());
        assert!(!why.is_empty());
    }
    let walked: Vec<_> = rows.into_keys().collect();
    let mut all = Code::ALL.to_vec();
    all.sort();
    assert_eq!(walked, all);
    assert_eq!(RAISED.len() + SILENT.len(), all.len(), "a code has two rows");
}

#[test]
fn what_has_a_reason_not_to_be_raised_is_not() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut used = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == "rs")
                && !path.ends_with("error/code.rs")
            {
                used += &source(path);
            }
        }
    }
    for (code, _) in SILENT {
        assert!(!used.contains(&format!("Code::{code}")), "{code} is raised");
    }
    for (code, ..) in RAISED {
        assert!(used.contains(&format!("Code::{code}")), "{code} is not raised");
    }
}

#[test]
fn what_cannot_be_sent_as_it_is_has_its_code() {
    let error = Error::caller("a body that cannot be read");
    assert_eq!((error.kind(), error.code()), (Kind::InvalidRequest, Code::PLUGIN_1208));
}

#[test]
fn a_backend_that_cannot_be_asked_has_its_code() {
    for discover in [r#"{"nowhere": {}}"#, r#"{"file": {"pathh": "/x"}}"#] {
        let text = format!("plugins: {{tax: {{transport: http, discover: {discover}}}}}");
        let error = Config::from_str(&text, Format::Yaml).unwrap_err();
        assert_eq!(error.code(), Code::REGISTRY_1906, "{discover}: {error}");
        // Of a config in code, it is told when the plugin is built.
        let discover_config = serde_json::from_str::<DiscoverConfig>(discover).unwrap();
        let plugin = PluginConfig::new("tax", "http").with_discover(discover_config);
        let error = Plugins::<u64, u64>::from_config(Config::default().with_plugin(plugin));
        let error = error.unwrap_err();
        assert_eq!(error.code(), Code::REGISTRY_1906, "{discover}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_a_check_without_an_answer_has_shut_has_its_code() {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use tower::{Layer, Service, ServiceExt, service_fn};
    use tower_upstream::{
        BoxError, HealthGateLayer,
        health::{HealthConfig, check_upstream},
    };

    for name in [None, Some("tax")] {
        let is_late = Arc::new(AtomicBool::new(true));
        let late = is_late.clone();
        let check = check_upstream(move || {
            let is_late = late.load(Ordering::Relaxed);
            async move {
                if is_late {
                    std::future::pending::<()>().await;
                }
                false
            }
        });
        let times = Duration::from_millis(100);
        let config = HealthConfig::default()
            .with_interval(times)
            .with_interval_unhealthy(times)
            .with_timeout(times)
            .with_fall(1)
            .with_jitter(0.0);
        let layer = HealthGateLayer::with_config(check, config);
        let layer = name.into_iter().fold(layer, |layer, name| layer.named(name));
        let mut gate = layer.layer(service_fn(async |n: u64| Ok::<_, BoxError>(n)));
        gate.ready().await.unwrap().call(1).await.unwrap();
        let mut refused = async || {
            tokio::time::sleep(10 * times).await;
            let error = gate.ready().await.unwrap().call(1).await.unwrap_err();
            assert_eq!((error.kind(), error.is_refused()), (Kind::Unhealthy, true));
            assert_eq!(error.to_string().contains("`tax`"), name.is_some(), "{error}");
            error.code()
        };
        // HEALTH_1602 as long as checks run into their time limit; otherwise they fail.
        assert_eq!(refused().await, Code::HEALTH_1602);
        is_late.store(false, Ordering::Relaxed);
        assert_eq!(refused().await, Code::HEALTH_1601);
        is_late.store(true, Ordering::Relaxed);
        assert_eq!(refused().await, Code::HEALTH_1602);
    }
}
