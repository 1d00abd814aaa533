//! What a file imports: each path that it names, and the file in which that is defined.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::Source;

type Path = Vec<String>;

/// A path that a file names, with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) line: usize,
    /// From the root of the crate.
    pub(crate) path: Path,
    /// The name that it has in the file.
    pub(crate) name: String,
    /// Whether the file only hands it on.
    pub(crate) handed_on: bool,
}

/// All paths of `source` that lead into this crate.
pub(crate) fn imports(source: &Source) -> Vec<Import> {
    let code = &source.code;
    let mut found = Vec::new();
    let mut rest = String::with_capacity(code.len());
    let mut at = 0;
    while let Some((start, end)) = next_use(code, at) {
        rest.push_str(&code[at..start]);
        let line = code[..start].matches('\n').count() + 1;
        let statement = &code[start..end];
        rest.push_str(&"\n".repeat(statement.matches('\n').count()));
        let handed_on = statement.trim_start().starts_with("pub");
        let tree = statement.split_once("use ").map_or("", |(_, tree)| tree);
        let base = module_at(source, code, start);
        for (path, name) in flatten(tree.trim_end_matches(';')) {
            if let Some(path) = absolute(&path, &base) {
                found.push(Import { line, path, name, handed_on });
            }
        }
        at = end;
    }
    rest.push_str(&code[at..]);
    // Paths in the code itself: of the crate, of a parent, or of a module that is in scope.
    let children = rest.lines().filter_map(|line| {
        let name = line.trim_start().trim_end().strip_suffix(';')?.rsplit_once("mod ")?.1;
        let path: Path = source.module.iter().cloned().chain([name.to_owned()]).collect();
        Some((name.to_owned(), path))
    });
    let mut scope: BTreeMap<_, _> = children.collect();
    scope.extend(found.iter().map(|import| (import.name.clone(), import.path.clone())));
    let mut start = 0;
    for (index, line) in rest.split_inclusive('\n').enumerate() {
        let base = module_at(source, &rest, start);
        start += line.len();
        for path in paths(line) {
            let path = match path[0].as_str() {
                "crate" | "super" | "self" => absolute(&path, &base),
                name => scope.get(name).map(|of| {
                    let more = path[1..].iter().cloned();
                    of.iter().cloned().chain(more).collect()
                }),
            };
            let Some(path) = path else { continue };
            let name = path.last().cloned().unwrap_or_default();
            found.push(Import { line: index + 1, path, name, handed_on: false });
        }
    }
    found
}

/// Where the next `use` statement begins and ends.
fn next_use(code: &str, from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    while let Some(found) = code[at..].find("use ").map(|found| found + at) {
        let line = code[..found].rfind('\n').map_or(0, |newline| newline + 1);
        let before = code[line..found].trim_start();
        let visibility = before.trim_end();
        let is_alone = before.is_empty() || before.ends_with(' ');
        let is_public =
            visibility.starts_with("pub(") && visibility.find(')') == Some(visibility.len() - 1);
        if is_alone && (visibility.is_empty() || visibility == "pub" || is_public) {
            let end = code[found..].find(';')? + found + 1;
            return Some((line.max(from), end));
        }
        at = found + 4;
    }
    None
}

/// The module that a place of a file is in: its own, or one that is written inside it.
fn module_at(source: &Source, code: &str, at: usize) -> Path {
    let mut module = source.module.clone();
    let (mut depth, mut inside) = (0_usize, Vec::new());
    for line in code[..at].lines() {
        let opens = line.matches('{').count();
        let words = line.trim().trim_end_matches('{').trim_end();
        if let Some(name) = words.strip_prefix("mod ").or(words.split_once(" mod ").map(|of| of.1))
        {
            if line.trim_end().ends_with('{') {
                inside.push((depth, name.to_owned()));
            }
        }
        depth = (depth + opens).saturating_sub(line.matches('}').count());
        inside.retain(|(of, _)| *of < depth);
    }
    module.extend(inside.into_iter().map(|(_, name)| name));
    module
}

/// The paths of a `use` tree, each with the name that it gets.
pub(crate) fn flatten(tree: &str) -> Vec<(Path, String)> {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let prefix: Path = segments(&tree[..open]);
        // The last brace of a tree is that of its outermost group.
        let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
        return split(inner)
            .into_iter()
            .flat_map(flatten)
            .map(|(path, name)| {
                let own = path.as_slice() == ["self"] && !prefix.is_empty();
                let name =
                    if own && name == "self" { prefix[prefix.len() - 1].clone() } else { name };
                let path = if own { vec![] } else { path };
                (prefix.iter().cloned().chain(path).collect(), name)
            })
            .collect();
    }
    let (path, name) = match tree.split_once(" as ") {
        Some((path, name)) => (segments(path), name.trim().to_owned()),
        None => (segments(tree), tree.rsplit("::").next().unwrap_or_default().trim().to_owned()),
    };
    if path.is_empty() { vec![] } else { vec![(path, name)] }
}

/// At the commas that are in no braces.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

fn segments(path: &str) -> Path {
    path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The paths of two or more parts in a line of code.
fn paths(line: &str) -> Vec<Path> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    line.split(|c| !is_path(c))
        .filter(|word| word.contains("::") && !word.starts_with(':'))
        .map(segments)
        .filter(|path| path.len() > 1)
        .collect()
}

/// From the root of the crate; `None` for what is in another.
fn absolute(path: &[String], module: &[String]) -> Option<Path> {
    let first = path.first()?;
    let ups = path.iter().take_while(|part| *part == "super").count();
    let (base, rest) = match first.as_str() {
        "crate" => (&module[..0], &path[1..]),
        "self" => (module, &path[1..]),
        "super" => (&module[..module.len().checked_sub(ups)?], &path[ups..]),
        _ => return None,
    };
    Some(base.iter().chain(rest).cloned().collect())
}

/// Which file imports which: never those that only hand a name on.
pub(crate) fn graph(sources: &[Source]) -> BTreeMap<usize, BTreeSet<usize>> {
    let files: BTreeMap<&[String], usize> =
        sources.iter().enumerate().map(|(index, of)| (of.module.as_slice(), index)).collect();
    let all: Vec<Vec<Import>> = sources.iter().map(imports).collect();
    let mut graph = BTreeMap::<usize, BTreeSet<usize>>::new();
    for (index, imports) in all.iter().enumerate() {
        for import in imports.iter().filter(|import| !import.handed_on) {
            if let Some(of) = defined_in(&import.path, &files, &all, 8) {
                if of != index && !sources[index].module.is_empty() {
                    graph.entry(index).or_default().insert(of);
                }
            }
        }
    }
    graph
}

/// The file in which the thing at `path` is defined; `None` for a module, which is used part by part.
fn defined_in(
    path: &[String],
    files: &BTreeMap<&[String], usize>,
    all: &[Vec<Import>],
    most: usize,
) -> Option<usize> {
    let of_module = (0..=path.len()).rev().find(|&length| files.contains_key(&path[..length]))?;
    let file = files[&path[..of_module]];
    let name = path.get(of_module)?;
    let known = all[file].iter().find(|import| {
        let is_its = import.name == *name && import.path != path[..=of_module];
        is_its && import.path.last().is_some_and(|last| last != "*")
    });
    match known {
        Some(import) if most > 0 => {
            let more = path[of_module + 1..].iter();
            let path: Path = import.path.iter().chain(more).cloned().collect();
            // A module that was handed on is a module still.
            defined_in(&path, files, all, most - 1)
        }
        _ => Some(file),
    }
}

/// The circles of a graph: each set of files that all import each other, on whatever way.
pub(crate) fn circles(graph: &BTreeMap<usize, BTreeSet<usize>>) -> Vec<Vec<usize>> {
    let reach = |from: usize| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(file) = next.pop() {
            for &to in graph.get(&file).into_iter().flatten() {
                if seen.insert(to) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<usize, BTreeSet<usize>> =
        graph.keys().map(|&of| (of, reach(of))).collect();
    let mut circles = BTreeSet::new();
    for (of, reached_by) in &reached {
        let circle: Vec<usize> = reached_by
            .iter()
            .copied()
            .filter(|to| reached.get(to).is_some_and(|back| back.contains(of)))
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}
