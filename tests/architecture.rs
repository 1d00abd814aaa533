//! Who may import whom. The table is part of the design: change it only with a reason.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Know nothing of the house, and so may be imported by all of it.
const WORDS: &[&str] = &[
    "error",
    "outcome",
    "sync",
    "time",
    "duration",
    "wire",
    "key",
    "deadline",
    "backoff",
    "telemetry",
];

/// Each module, and what it may import beside [`WORDS`] and itself.
const TABLE: &[(&str, &[&str])] = &[
    // The way of a request.
    ("failover", &["choose", "budget", "replay", "member"]),
    ("retry", &["budget", "replay", "http"]),
    ("balance", &["discover", "member", "connect", "choose", "endpoint"]),
    ("discover", &["endpoint", "member", "connect"]),
    // Guards.
    ("guard", &["member", "choose", "endpoint"]),
    ("breaker", &["member", "connect", "choose", "replay", "endpoint", "guard"]),
    // It tells its verdicts in the words of a plugin, and asks one for its own.
    ("health", &["member", "connect", "choose", "replay", "endpoint", "guard", "plugin", "dial"]),
    ("limit", &["member", "connect", "choose", "replay", "endpoint", "guard"]),
    // How a call leaves the house, and how it enters a plugin's.
    ("transport", &["endpoint", "member", "connect", "plugin", "replay", "dial", "http"]),
    ("serve", &["endpoint", "member", "connect", "plugin"]),
    // The slot in which guards last as long as a connection.
    ("dial", &["http"]),
    ("plugin", &["replay", "connect"]),
    // A protocol's words around the open traits of the core, which never imports them.
    ("http", &["breaker", "limit", "guard", "member", "connect", "replay", "endpoint"]),
    // Shared words know each other, and nothing else.
    ("endpoint", &[]),
    ("member", &["endpoint"]),
    ("connect", &["endpoint", "member"]),
    ("choose", &["member"]),
    ("budget", &[]),
    ("replay", &[]),
    ("error", &[]),
    ("outcome", &[]),
    ("sync", &[]),
    ("time", &[]),
    ("duration", &[]),
    ("wire", &[]),
    ("key", &[]),
    ("deadline", &[]),
    ("backoff", &[]),
    ("telemetry", &[]),
];

#[test]
fn every_module_imports_only_what_the_table_allows() {
    let mut mistakes = Vec::new();
    for (module, file, text) in sources() {
        let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == module) else {
            mistakes.push(format!("`{module}` ({}): add it to the table", file.display()));
            continue;
        };
        let depth = depth(&file);
        for (line, name) in imports(&text, depth) {
            let known = TABLE.iter().any(|(known, _)| *known == name);
            // What the crate re-exports at its root is somebody's, too: named where it lives.
            if !known {
                mistakes.push(format!(
                    "{}:{line}: `crate::{name}` is no module of the table; import from the module \
                     it lives in, or add that to the table",
                    file.display()
                ));
            } else if name != module && !WORDS.contains(&&*name) && !allowed.contains(&&*name) {
                mistakes.push(format!(
                    "{}:{line}: `{module}` must not import `{name}`",
                    file.display()
                ));
            }
        }
    }
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
}

#[test]
fn only_time_reads_a_clock() {
    for (module, file, text) in sources() {
        if module == "time" {
            continue;
        }
        for (index, line) in without_comments(&text).lines().enumerate() {
            for clock in ["Instant::now", "std::time::Instant", "quanta", ".elapsed()"] {
                // A method of ours may be called so; a clock's is recognised by its type above.
                let ours =
                    clock == ".elapsed()" && (line.contains("self.") || line.contains("call."));
                assert!(
                    !line.contains(clock) || ours,
                    "{}:{}: `{clock}` outside `time.rs`",
                    file.display(),
                    index + 1
                );
            }
        }
    }
}

#[test]
fn the_scan_sees_what_it_has_to_see() {
    let text = r#"
        //! [`crate::health`] in a doc is no import.
        use crate::{
            breaker::{self, Circuit},
            error::Error, // crate::limit
            time,
        };
        use crate::member::Member;
pub(crate) use super::super::replay::Replay;
use super::call::Private;
        fn f() -> crate::budget::Budget { crate::endpoint::parse("crate::serve") }
        pub(in crate::balance) fn g() {}
    "#;
    let names: BTreeSet<_> = imports(text, 2).into_iter().map(|(_, name)| name).collect();
    let expected = ["breaker", "budget", "endpoint", "error", "member", "replay", "time"];
    assert!(expected.iter().all(|name| names.contains(*name)), "{names:?}");
    for comment in ["health", "limit", "serve", "call"] {
        assert!(!names.contains(comment), "{names:?}");
    }
}

/// All sources but `lib.rs`, with the module each belongs to.
fn sources() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    files
        .into_iter()
        .filter(|file| {
            file.file_name().is_some_and(|name| name != "lib.rs") || file.parent() != Some(&src)
        })
        .map(|file| {
            let inside = file.strip_prefix(&src).unwrap();
            let module = inside.components().next().unwrap().as_os_str();
            let module = module.to_str().unwrap().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&file).unwrap();
            (module, file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().into(), text)
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Blanks line comments and what stands in quotes on one line; keeps the lines.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| {
            let mut kept = String::new();
            let mut quoted = false;
            let mut chars = line.chars().peekable();
            while let Some(c) = chars.next() {
                match c {
                    '\\' if quoted => {
                        chars.next();
                    }
                    '\'' if !quoted && chars.peek() == Some(&'"') => {
                        chars.next();
                    }
                    '"' => quoted = !quoted,
                    '/' if !quoted && chars.peek() == Some(&'/') => break,
                    _ if quoted => {}
                    c => kept.push(c),
                }
            }
            kept + "\n"
        })
        .collect()
}

/// How many modules deep a file under `src` is.
fn depth(file: &Path) -> usize {
    let inside = file.components().count() - 1;
    inside - usize::from(file.ends_with("mod.rs"))
}

/// The first segment of each path that starts with `crate`, and its line. Of paths that start with
/// `super`, those of a file's own `use`s that lead up to the root.
fn imports(text: &str, depth: usize) -> Vec<(usize, String)> {
    let text = without_comments(text);
    let mut found = Vec::new();
    let to_root = "super::".repeat(depth);
    for (index, line) in text.lines().enumerate() {
        let path = line.split_once("use ").filter(|(before, _)| {
            !before.starts_with(' ') && (before.is_empty() || before.starts_with("pub"))
        });
        if let Some(name) = path.and_then(|(_, path)| path.strip_prefix(&*to_root)) {
            found.push((index + 1, word(name)));
        }
    }
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || before == '_' || before == '$' {
            continue;
        }
        let line = text[..at].matches('\n').count() + 1;
        let rest = &text[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => group_names(group),
            None => BTreeMap::from([(word(rest), 0)]),
        };
        found.extend(names.into_iter().map(|(name, down)| (line + down, name)));
    }
    found
}

/// The names at the top of a `{..}` group, with how many lines below its start they stand.
fn group_names(group: &str) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    let (mut depth, mut down, mut at_start) = (0_usize, 0, true);
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '\n' => down += 1,
            ',' if depth == 0 => at_start = true,
            c if c.is_whitespace() => {}
            _ if at_start && depth == 0 => {
                names.insert(word(&group[index..]), down);
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
