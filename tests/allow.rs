//! `AllowList`: its file, its settings, and how they change.
#![cfg(all(feature = "process", unix))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::{Duration, UNIX_EPOCH},
};

use tower_upstream::{
    Error,
    allow::{AllowConfig, AllowList, AllowedPlugin, AllowedPlugins, AuditConfig, Policy, Sha256},
    error::{Code, Kind},
};

/// As Go writes it.
const GO: &str = r#"{"version":"1","updated_at":"2025-09-20T10:00:00Z","description":"\u003cours\u003e","default_policy":2,"hash_algorithm":"sha256","plugins":{"rates":{"name":"rates","type":"","algorithm":"sha256","hash":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","added_at":"0001-01-01T00:00:00Z","updated_at":"0001-01-01T00:00:00Z"},"tax":{"name":"tax","type":"subprocess","version":"2.1.0","algorithm":"sha256","hash":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","file_path":"/opt/plugins/tax/bin/tax","description":"VAT","metadata":{"team":"blue"},"allowed_endpoints":["/opt/plugins/tax/bin/tax"],"max_file_size":52428800,"added_at":"2025-09-19T08:00:00Z","updated_at":"2025-09-20T10:00:00.25Z"}},"global_constraints":{"max_file_size":104857600,"allowed_types":["subprocess"],"forbidden_paths":["/tmp"]}}"#;

#[test]
fn a_file_of_go_is_read_and_written_byte_for_byte() {
    let list = AllowedPlugins::parse(GO).unwrap();
    assert_eq!(list.to_json(), GO);
    assert_eq!((list.version.as_str(), list.default_policy), ("1", Some(Policy::Strict)));
    let tax = &list.plugins["tax"];
    assert_eq!(tax.hash, Sha256::of("test"));
    assert_eq!(tax.updated_at, Some(UNIX_EPOCH + Duration::from_millis(1_758_362_400_250)));
    assert_eq!((tax.max_file_size, tax.metadata["team"].as_str()), (50 << 20, "blue"));
    assert_eq!(list.global_constraints.forbidden_paths, ["/tmp"]);
    let empty = AllowedPlugins::default();
    assert_eq!(AllowedPlugins::parse(&empty.to_json()).unwrap(), empty);
}

#[test]
fn a_file_is_read_as_leniently_as_by_go() {
    let text = GO
        .replace("\"plugins\"", "\"other\":[{}],\"Plugins\"")
        .replace("\"sha256\"", "\"SHA256\"")
        .replace("9f86d0", "9F86D0")
        .replace("\"description\":\"VAT\"", "\"description\":null")
        .replace("10:00:00Z", "12:00:00+02:00");
    let mut list = AllowedPlugins::parse(&text).unwrap();
    list.plugins.get_mut("tax").unwrap().description = "VAT".to_owned();
    assert_eq!(list.to_json(), GO);
    let (short, least) = (GO.replace("\"algorithm\":\"sha256\",", ""), r#"{"plugins":{}}"#);
    assert_eq!(AllowedPlugins::parse(&short).unwrap().to_json(), GO);
    assert_eq!(AllowedPlugins::parse(least).unwrap(), AllowedPlugins::default());
}

fn mistakes(text: &str) -> String {
    let error = AllowedPlugins::parse(text).unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::InvalidConfig, Code::SECURITY_1802));
    error.to_string()
}

#[test]
fn all_mistakes_are_named_at_once() {
    let text = GO
        .replace("\"version\":\"1\"", "\"version\":1")
        .replace("\"default_policy\":2", "\"default_policy\":9")
        .replace("\"hash_algorithm\":\"sha256\"", "\"hash_algorithm\":\"md5\"")
        .replace("\"updated_at\":\"2025-09-20T10:00:00Z\"", "\"updated_at\":\"today\"")
        .replace("\"name\":\"rates\"", "\"name\":\"tax\"")
        .replace("a08\",\"file", "\",\"file")
        .replace("52428800", "-1")
        .replace("[\"/tmp\"]", "\"/tmp\"");
    let text = mistakes(&text);
    for part in [
        "`version` has another type",
        "`default_policy` is 9, but must be 0 to 3",
        "`hash_algorithm` must be `sha256`",
        "`updated_at` is no time of RFC 3339",
        "`rates`: `name` must be the same",
        "`tax`: `hash`: a SHA-256 has 64 hexadecimal digits",
        "`tax`: `max_file_size` has another type",
        "`global_constraints`: `forbidden_paths` has another type",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(mistakes("{}").contains("`plugins` is missing"));
    assert!(mistakes("[]").contains("it is no JSON object"));
    assert!(mistakes(r#"{"plugins":{"tax":[]}}"#).contains("`tax`: is no JSON object"));
}

#[test]
fn a_list_and_what_is_said_of_it_are_bounded() {
    let long = " ".repeat((4 << 20) + 1);
    assert!(mistakes(&long).contains("more than 4194304 bytes"));
    let entries = |count: usize| {
        let entries: Vec<_> = (0..count).map(|number| format!("\"p{number}\":{{}}")).collect();
        format!("{{\"plugins\":{{{}}}}}", entries.join(","))
    };
    assert!(mistakes(&entries(10_001)).contains("more than 10000"));
    let text = mistakes(&entries(10_000));
    assert!(text.contains("; and 19980 more") && text.len() < 4_000, "{text}");
}

#[test]
fn all_mistakes_of_settings_are_named_at_once() {
    let config = AllowConfig::new("\0").with_max_file_size(0).with_forbidden_paths(["tmp"]);
    let mut audit = AuditConfig::new("\0");
    audit.max_bytes = 0;
    let config = config.with_audit(audit);
    let text = config.validate().unwrap_err().to_string();
    for part in
        ["`max_file_size`", "`file`", "`audit.file`", "`audit.max_bytes`", "`forbidden_paths`"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(AllowList::new(AllowedPlugins::default()).update(config).is_err());
}

#[test]
fn settings_are_read_by_both_spellings() {
    let text = r#"{"whitelist_file":"/a","policy":3,"watch_config":false,"audit":{"audit_file":"/b","log_authorized":true}}"#;
    let config: AllowConfig = serde_json::from_str(text).unwrap();
    let mut audit = AuditConfig::new("/b");
    audit.log_authorized = true;
    let ours = AllowConfig::new("/a").with_policy(Policy::AuditOnly).with_watch(false);
    assert_eq!(config, ours.with_audit(audit));
    let again = serde_json::to_string(&config).unwrap();
    assert!(again.contains(r#""policy":"audit-only""#), "{again}");
    assert_eq!(serde_json::from_str::<AllowConfig>(&again).unwrap(), config);
    for wrong in [r#"{"policy":0}"#, r#"{"policy":"strikt"}"#, r#"{"files":""}"#] {
        assert!(serde_json::from_str::<AllowConfig>(wrong).is_err(), "{wrong}");
    }
}

/// A path that is not there yet.
fn new_path(name: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, SeqCst);
    std::env::temp_dir().join(format!("tu-allow-{}-{number}-{name}", std::process::id()))
}

fn config(path: &std::path::Path) -> AllowConfig {
    AllowConfig::new(path.display().to_string())
}

fn names(list: &AllowList) -> Vec<String> {
    list.plugins().plugins.keys().cloned().collect()
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    result.unwrap_err().code()
}

#[test]
fn a_list_that_cannot_be_read_leaves_the_last_good_one() {
    let path = new_path("list.json");
    assert_eq!(code(AllowList::from_file(config(&path))), Code::SECURITY_1805);
    fs::write(&path, "{").unwrap();
    assert_eq!(code(AllowList::from_file(config(&path))), Code::SECURITY_1802);
    fs::write(&path, GO).unwrap();
    let list = AllowList::from_file(config(&path)).unwrap();
    assert_eq!(names(&list), ["rates", "tax"]);
    fs::write(&path, "{").unwrap();
    assert_eq!(code(list.reload()), Code::SECURITY_1802);
    fs::remove_file(&path).unwrap();
    assert_eq!(code(list.reload()), Code::SECURITY_1805);
    fs::create_dir(&path).unwrap();
    assert_eq!(code(list.reload()), Code::SECURITY_1802);
    fs::remove_dir(&path).unwrap();
    assert_eq!(code(list.update(config(&path))), Code::SECURITY_1805);
    assert_eq!((names(&list), list.config()), (vec!["rates".into(), "tax".into()], config(&path)));
    fs::write(&path, r#"{"plugins":{}}"#).unwrap();
    list.reload().unwrap();
    assert!(names(&list).is_empty());
    let stats = list.stats();
    assert_eq!((stats.reloads, stats.failed_reloads), (1, 3));
    fs::remove_file(&path).unwrap();
}

#[test]
fn clones_share_what_is_replaced_and_updated() {
    let list = AllowList::new(AllowedPlugins::default());
    let mut plugins = AllowedPlugins::default();
    plugins.plugins.insert("tax".to_owned(), AllowedPlugin::new(Sha256::of("")));
    list.clone().replace(plugins);
    list.clone().update(list.config().with_policy(Policy::Permissive)).unwrap();
    assert_eq!(
        (names(&list), list.config().policy),
        (vec!["tax".into()], Some(Policy::Permissive))
    );
    let audit = AuditConfig::new("/dev/null/audit");
    assert_eq!(code(list.update(list.config().with_audit(audit))), Code::SECURITY_1806);
    assert!(list.config().audit.file.is_empty());
}
