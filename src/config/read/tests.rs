use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::Reading;
use crate::{
    auth::{AuthConfig, AuthMethod},
    balance::BalanceConfig,
    breaker::{CircuitBreakerConfig, Window},
    budget::BudgetConfig,
    config::value::{Format, Node, Path, Source, parse},
    retry::RetryConfig,
};

struct All<T> {
    value: Option<T>,
    /// Path, line, column, message, help.
    wrong: Vec<(String, usize, usize, String, Option<String>)>,
    unknown: Vec<(String, usize, usize, String, Option<String>)>,
}

fn read<T: for<'de> Deserialize<'de>>(text: &str, format: Format) -> All<T> {
    let source = Source::new(text);
    let root = parse(&source, format).unwrap();
    let mut reading = Reading::new(format, source.text());
    let value = reading.read(&root, &Path::Root);
    let told = |flaws: crate::config::value::Flaws| {
        let told = flaws.sorted().into_iter().map(|flaw| {
            let crate::config::value::Place::File { start, .. } = flaw.place else {
                panic!("{flaw:?}")
            };
            let at = source.position(start as usize);
            (flaw.path, at.line, at.column, flaw.message, flaw.help)
        });
        told.collect()
    };
    All { value, wrong: told(reading.found.flaws), unknown: told(reading.found.unknown) }
}

fn paths<T>(all: &All<T>) -> Vec<&str> {
    all.wrong.iter().map(|(path, ..)| path.as_str()).collect()
}

#[test]
fn every_wrong_member_is_told_and_the_others_are_read() {
    for (text, format, places) in [
        (
            "{\"failures\": \"many\", \"open_for\": \"1x\",\n \"window\": {\"calls\": -1},\n \
             \"cancelled\": \"faliure\", \"probes\": 7, \"burst\": 1, \"slow_ratio\": 0.5}",
            Format::Json,
            [(1, 14), (1, 34), (2, 22), (3, 15), (3, 39)],
        ),
        (
            "failures: many\nopen_for: 1x\nwindow: {calls: -1}\ncancelled: faliure\nprobes: 7\n\
             burst: 1\nslow_ratio: 0.5\n",
            Format::Yaml,
            [(1, 11), (2, 11), (3, 17), (4, 12), (6, 1)],
        ),
        (
            "failures = 'many'\nopen_for = '1x'\nwindow = {calls = -1}\ncancelled = 'faliure'\n\
             probes = 7\nburst = 1\nslow_ratio = 0.5\n",
            Format::Toml,
            [(1, 12), (2, 12), (3, 19), (4, 13), (6, 1)],
        ),
    ] {
        let all = read::<CircuitBreakerConfig>(text, format);
        let config = all.value.as_ref().unwrap();
        let defaults = CircuitBreakerConfig::default();
        assert_eq!(*config, defaults.with_probes(7).with_slow_ratio(0.5));
        assert_eq!(paths(&all), ["failures", "open_for", "window.calls", "cancelled"]);
        let at = all.wrong.iter().chain(&all.unknown).map(|(_, line, column, ..)| (*line, *column));
        assert_eq!(at.collect::<Vec<_>>(), places, "{format}");
        assert_eq!(all.wrong[0].3, "expected a whole number, not negative, found a text");
        assert_eq!(all.wrong[3].4.as_deref(), Some("did you mean `failure`?"));
        assert_eq!(all.unknown.len(), 1);
        assert_eq!(all.unknown[0].0, "burst");
    }
}

#[test]
fn names_of_go_in_any_case_are_read_in_json_alone() {
    let json =
        r#"{"Failure_Threshold": 3, "RECOVERY_TIMEOUT": 30000000000, "Window": {"calls": 9}}"#;
    let all = read::<CircuitBreakerConfig>(json, Format::Json);
    assert!(all.wrong.is_empty() && all.unknown.is_empty(), "{:?} {:?}", all.wrong, all.unknown);
    let config = all.value.unwrap();
    assert_eq!((config.failures, config.window), (3, Window::Calls(9)));
    assert_eq!(config.open_for, Duration::from_secs(30));
    let all = read::<CircuitBreakerConfig>("Failures: 3\n", Format::Yaml);
    assert_eq!(all.unknown[0].4.as_deref(), Some("did you mean `failures`?"));
}

#[test]
fn a_field_with_two_names_is_told_at_the_second() {
    let all = read::<CircuitBreakerConfig>("failures: 3\nfailure_threshold: 4\n", Format::Yaml);
    assert_eq!((all.wrong[0].1, all.wrong[0].0.as_str()), (2, "failure_threshold"));
    assert_eq!(all.value.unwrap().failures, 3);
}

#[test]
fn mistakes_below_a_section_have_their_whole_path() {
    let text = "outlier: {interval: soon, jitter_percent: x}\nslow_start: 1\nlocality: nowhere\n";
    let all = read::<BalanceConfig>(text, Format::Yaml);
    assert_eq!(
        paths(&all),
        ["outlier.interval", "outlier.jitter_percent", "slow_start", "locality"]
    );
    let all = read::<BudgetConfig>(
        "{\"rule\": \"share\", \"ratio\": \"x\", \"ttl\": \"1s\"}",
        Format::Json,
    );
    assert_eq!(paths(&all), ["ratio"]);
    assert!(matches!(all.value, Some(BudgetConfig::Share(_))));
    let all = read::<BudgetConfig>("{\"ratio\": 1}", Format::Json);
    assert_eq!(
        (all.value, &*all.wrong[0].3),
        (
            None,
            "needs a `rule`: `share`, `throttle`, `standard`, `concurrent`, `empty` or `unlimited`"
        )
    );
    let all = read::<RetryConfig>("{\"attempts\": 2, \"multiplier\": []}", Format::Json);
    assert_eq!(paths(&all), ["multiplier"]);
}

#[test]
fn null_leaves_a_value_as_it_is() {
    let text = r#"{"failures": null, "failure_ratio": null, "window": null, "open_for": null}"#;
    let all = read::<CircuitBreakerConfig>(text, Format::Json);
    assert!(all.wrong.is_empty(), "{:?}", all.wrong);
    let expected = CircuitBreakerConfig { failure_ratio: None, ..Default::default() };
    assert_eq!(all.value.unwrap(), expected);
}

#[test]
fn no_text_of_a_value_is_in_a_mistake() {
    let text =
        "method: hunter2\ntoken: [hunter2]\napi_key: {a: hunter2}\nallow_plaintext: hunter2\n";
    let all = read::<AuthConfig>(text, Format::Yaml);
    assert_eq!(paths(&all), ["method", "token", "api_key", "allow_plaintext"]);
    for (path, _, _, message, _) in &all.wrong {
        assert!(!message.contains("hunter2"), "{path}: {message}");
    }
    assert_eq!(all.value.unwrap().method, AuthMethod::None);
}

#[test]
fn lists_and_maps_lose_only_what_is_wrong() {
    let all = read::<Vec<u8>>("[1, x, 300, 4]", Format::Yaml);
    assert_eq!((all.value.as_deref(), paths(&all)), (Some(&[1, 4][..]), vec!["[1]", "[2]"]));
    let all = read::<BTreeMap<String, bool>>("a: yes\nb: 1\nc: off\n", Format::Yaml);
    assert_eq!(paths(&all), ["b"]);
    let expected = BTreeMap::from([("a".to_owned(), true), ("c".to_owned(), false)]);
    assert_eq!(all.value.unwrap(), expected);
    let all = read::<bool>("\"yes\"", Format::Json);
    assert_eq!(all.wrong[0].3, "expected `true` or `false`, found a text");
}

#[test]
fn a_hostile_section_is_not_read_for_ever() {
    let text = format!("[{}]", vec!["x"; 20_000].join(","));
    let all = read::<Vec<u8>>(&text, Format::Yaml);
    assert!(all.value.is_none());
    assert!(!all.wrong.is_empty());
}

#[test]
fn what_the_sections_of_a_file_look_at_has_a_bound_together() {
    let text = "[1, x, x, x]";
    let root = parse(&Source::new(text), Format::Yaml).unwrap();
    let mut reading = Reading::new(Format::Yaml, text);
    let mut told = |looks: usize| {
        let before = reading.found.flaws.clone().sorted().len();
        reading.looks = looks;
        let value = reading.read::<Vec<u8>>(&root, &Path::Root);
        let told = reading.found.flaws.clone().sorted().len() - before;
        (value, told, reading.looks - looks)
    };
    // Once it is spent, the first mistake of each is told.
    assert_eq!(told(4_000_000), (None, 1, 2));
    // Two passes more, since the first mistake was told already.
    assert_eq!(told(0), (Some(vec![1]), 2, 2 + 3 + 4 + 4));
}

#[test]
fn a_variable_may_stand_for_a_number() {
    let mut node = Node::from(serde_json::json!(
        { "failures": "3", "open_for": "5000000000", "enabled": "false", "open_growth": "1.5" }
    ));
    for member in node.members_mut().unwrap() {
        if let crate::config::value::Value::Text(text) = &mut member.node.value {
            text.is_loose = true;
        }
    }
    let mut reading = Reading::new(Format::Json, "");
    let config: CircuitBreakerConfig = reading.read(&node, &Path::Root).unwrap();
    assert!(reading.found.flaws.is_empty());
    assert_eq!((config.failures, config.enabled), (3, false));
    assert_eq!(config.open_for, Duration::from_secs(5));
}
