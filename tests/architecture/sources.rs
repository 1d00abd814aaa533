//! The sources, as the checks read them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file of `src`.
pub(crate) struct Source {
    /// From the root of the package.
    pub(crate) path: PathBuf,
    /// The modules that lead to it: `["breaker", "machine", "word"]`; none for `lib.rs`.
    pub(crate) module: Vec<String>,
    pub(crate) text: String,
    /// Without comments and what stands in quotes.
    pub(crate) code: String,
}

impl Source {
    /// The room: the module right below the root.
    pub(crate) fn room(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }
}

pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    // Programs use the crate from outside, as those of others do.
    files.retain(|file| !file.starts_with(root.join("src/bin")));
    assert!(files.len() > 20, "the sources were not found");
    files.sort();
    let source = |file: PathBuf| {
        let inside = file.strip_prefix(root.join("src")).unwrap().with_extension("");
        let parts = inside.components().map(|part| part.as_os_str().to_str().unwrap().to_owned());
        let mut module: Vec<_> = parts.collect();
        if module.last().is_some_and(|last| last == "mod" || module.as_slice() == ["lib"]) {
            module.pop();
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = without_comments(&text);
        Source { path: file.strip_prefix(root).unwrap().into(), module, text, code }
    };
    files.into_iter().map(source).collect()
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
pub(crate) fn without_comments(text: &str) -> String {
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
