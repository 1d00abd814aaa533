//! How the sources are laid out: what may import what, no circles, no long files. The table is part of
//! the design: change it only with a reason.
#![allow(clippy::unwrap_used)]

mod imports;
mod root;
mod setters;
mod sources;

use imports::{circles, flatten, graph, imports as imports_of};
use sources::{Source, sources, without_comments};

/// Know nothing of the house, and so may be imported by all of it.
const WORDS: &[&str] = &[
    "error",
    "outcome",
    "sync",
    "time",
    "duration",
    "wire",
    "key",
    "decision",
    "session",
    "deadline",
    "backoff",
    "telemetry",
    "macros",
    "written",
];

/// Each module, and what it may import beside [`WORDS`] and itself.
const TABLE: &[(&str, &[&str])] = &[
    // On top: knows every part, and nothing knows it.
    (
        "plugins",
        &[
            "allow",
            "auth",
            "balance",
            "boxed",
            "breaker",
            "budget",
            "choose",
            "codec",
            "config",
            "connect",
            "discover",
            "endpoint",
            "failover",
            "fallback",
            "guard",
            "health",
            "limit",
            "member",
            "plugin",
            "transport",
        ],
    ),
    // Knows the config of every part, and no part knows it.
    (
        "config",
        &[
            "allow",
            "auth",
            "balance",
            "breaker",
            "budget",
            "course",
            "discover",
            "endpoint",
            "failover",
            "health",
            "limit",
            "retry",
            // Of which some settings are a part.
            "rules",
            "transport",
        ],
    ),
    // Knows every layer, and nothing knows it.
    (
        "builder",
        &[
            "balance", "boxed", "breaker", "connect", "discover", "failover", "fallback", "health",
            "http", "limit", "retry",
        ],
    ),
    (
        "stack",
        &[
            "balance", "boxed", "breaker", "codec", "connect", "failover", "fallback", "health",
            "http", "limit", "retry",
        ],
    ),
    // The way of a request.
    ("failover", &["choose", "course", "budget", "replay", "member"]),
    ("fallback", &["choose", "connect", "member", "replay"]),
    ("retry", &["course", "budget", "replay", "http"]),
    ("balance", &["discover", "member", "connect", "choose", "endpoint", "rules"]),
    // One of its sources runs a program for its credential.
    ("discover", &["endpoint", "member", "connect", "dial", "auth", "child"]),
    // Guards.
    ("guard", &["member", "choose", "endpoint"]),
    ("breaker", &["member", "connect", "choose", "replay", "endpoint", "guard"]),
    // It tells its verdicts in the words of a plugin, and asks one for its own.
    (
        "health",
        &[
            "member", "connect", "choose", "replay", "endpoint", "guard", "plugin", "dial", "grpc",
            "rules",
        ],
    ),
    ("limit", &["member", "connect", "choose", "endpoint", "guard"]),
    // How a call leaves the house, and how it enters a plugin's.
    (
        "transport",
        &[
            "endpoint", "member", "connect", "plugin", "replay", "dial", "http", "grpc", "guard",
            "pool", "auth", "allow", "child",
        ],
    ),
    // Which programs may run; its file is JSON as the plugin manager writes it.
    ("allow", &["plugin"]),
    ("serve", &["endpoint", "member", "connect", "plugin", "dial", "auth", "http", "grpc"]),
    // A layer, but no guard: it changes what a call holds.
    ("codec", &["plugin", "guard", "choose", "connect", "member"]),
    // The slot in which guards last as long as a connection.
    ("dial", &["endpoint", "http"]),
    // What a call carries so that it is let in.
    ("auth", &["endpoint", "member", "connect", "choose", "guard", "dial"]),
    ("plugin", &["replay", "connect", "auth", "endpoint"]),
    // A protocol's words around the open traits of the core, which never imports them.
    ("http", &["breaker", "limit", "guard", "member", "connect", "replay", "endpoint"]),
    ("grpc", &["connect", "http", "member", "plugin"]),
    // Shared words know each other, and nothing else.
    ("endpoint", &[]),
    ("member", &["endpoint", "rules"]),
    ("connect", &["endpoint", "member", "guard"]),
    ("boxed", &["connect"]),
    ("choose", &["member"]),
    // What failover and retries have in common.
    ("course", &["budget", "replay", "rules"]),
    ("budget", &[]),
    // Processes that are started here.
    ("child", &[]),
    ("replay", &[]),
    ("error", &[]),
    ("outcome", &[]),
    // The connections to one endpoint, whatever they speak.
    ("pool", &[]),
    ("sync", &[]),
    ("time", &[]),
    ("duration", &[]),
    ("wire", &[]),
    ("key", &[]),
    // What is said of a choice, and which calls belong together.
    ("decision", &[]),
    ("session", &[]),
    ("deadline", &[]),
    ("backoff", &[]),
    // The rules of choosing, as arithmetic.
    ("rules", &[]),
    ("telemetry", &[]),
    ("macros", &[]),
    ("written", &[]),
    // Text alone.
    ("_guide", &[]),
];

/// No file has more lines.
const MAX_LINES: usize = 350;

#[test]
fn every_module_imports_only_what_the_table_allows() {
    let mut mistakes = Vec::new();
    for source in sources() {
        let Some(room) = source.room() else { continue };
        let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == room) else {
            mistakes.push(format!("`{room}` ({}): add it to the table", source.path.display()));
            continue;
        };
        for import in imports_of(&source) {
            let Some(name) = import.path.first() else { continue };
            let at = format!("{}:{}", source.path.display(), import.line);
            // What the crate re-exports at its root is named where it lives.
            if !TABLE.iter().any(|(known, _)| known == name) {
                mistakes.push(format!(
                    "{at}: `crate::{name}` is no module of the table; import from the module it \
                     lives in, or add that to the table"
                ));
            } else if name != room && !WORDS.contains(&&**name) && !allowed.contains(&&**name) {
                mistakes.push(format!("{at}: `{room}` must not import `{name}`"));
            }
        }
    }
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let graph = graph(&sources);
    let name = |&file: &usize| sources[file].path.display().to_string();
    let mut mistakes = Vec::new();
    for circle in circles(&graph) {
        mistakes.push(format!("a circle of {} files:", circle.len()));
        for from in &circle {
            let to = graph[from].iter().filter(|to| circle.contains(to)).map(name);
            mistakes.push(format!("  {} -> {}", name(from), to.collect::<Vec<_>>().join(", ")));
        }
    }
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
}

/// One that nothing declares is never compiled, and so is its test never run.
#[test]
fn every_file_is_a_module() {
    let sources = sources();
    let is_declared = |source: &Source| {
        let Some((name, parents)) = source.module.split_last() else { return true };
        let file = source.path.file_name().unwrap().to_str().unwrap();
        // With `#[path]` it is the module of any file beside it or above.
        let by_path = format!("{file}\"]");
        sources.iter().any(|by| {
            by.module == parents && by.code.contains(&format!("mod {name};"))
                || by.text.contains(&by_path) && by.text.contains("#[path = ")
        })
    };
    let orphans = sources.iter().filter(|source| !is_declared(source));
    let orphans: Vec<_> = orphans.map(|source| source.path.display().to_string()).collect();
    assert!(orphans.is_empty(), "no `mod` declares: {}", orphans.join(", "));
}

#[test]
fn no_file_is_long() {
    let long = sources().into_iter().filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > MAX_LINES).then(|| format!("{}: {lines} lines", source.path.display()))
    });
    let long: Vec<_> = long.collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn only_time_reads_a_clock() {
    for source in sources().iter().filter(|source| source.room() != Some("time")) {
        for (index, line) in source.code.lines().enumerate() {
            for clock in ["Instant::now", "std::time::Instant", "quanta", ".elapsed()"] {
                // A method of ours may be called so; a clock's is recognised by its type above.
                let ours =
                    clock == ".elapsed()" && (line.contains("self.") || line.contains("call."));
                assert!(
                    !line.contains(clock) || ours,
                    "{}:{}: `{clock}` outside `time.rs`",
                    source.path.display(),
                    index + 1
                );
            }
        }
    }
}

fn source(module: &[&str], text: &str) -> Source {
    let module = module.iter().map(|part| part.to_string()).collect();
    Source { path: "test".into(), module, text: text.into(), code: without_comments(text) }
}

#[test]
fn the_scan_sees_what_it_has_to_see() {
    let text = r#"
        //! [`crate::health`] in a doc is no import.
        mod inside;
        use crate::{
            breaker::{self, Circuit as Round},
            error::Error, // crate::limit
            time,
        };
        use crate::member::Member;
        pub(crate) use super::super::replay::Replay;
        use super::call::Private;
        fn f() -> crate::budget::Budget { crate::endpoint::parse("crate::serve") }
        fn h() { breaker::trip(); inside::deep() }
        pub(in crate::balance) fn g() {}
        mod tests {
            use super::Round;
        }
    "#;
    let found = imports_of(&source(&["a", "b"], text));
    let paths: Vec<String> = found.iter().map(|import| import.path.join("::")).collect();
    for expected in [
        "breaker",
        "breaker::Circuit",
        "error::Error",
        "time",
        "member::Member",
        "replay::Replay",
        "a::call::Private",
        "budget::Budget",
        "endpoint::parse",
        "breaker::trip",
        "a::b::inside::deep",
        "a::b::Round",
    ] {
        assert!(paths.iter().any(|path| path == expected), "{expected}: {paths:?}");
    }
    for comment in ["health", "limit", "serve"] {
        assert!(paths.iter().all(|path| !path.starts_with(comment)), "{comment}: {paths:?}");
    }
    assert_eq!(flatten("a::{self, b::{c, d as e}, f}").len(), 4);
}

#[test]
fn a_circle_is_found_through_a_table_of_contents() {
    let files = [
        source(&["room"], "mod one;\nmod two;\npub use self::{one::One, two::Two};"),
        source(&["room", "one"], "use super::Two;\npub struct One(Two);"),
        source(&["room", "two"], "pub struct Two; fn f(of: crate::room::One) {}"),
        source(&["room", "three"], "use super::{One, Two};"),
        source(&["room", "four"], "use super::two;\nfn f() -> two::Two {}"),
    ];
    assert_eq!(circles(&graph(&files)), [[1, 2]]);
}
