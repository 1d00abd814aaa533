//! What can be written down can be written in code as well, without a variable that changes.

use std::collections::BTreeMap;

use super::sources::sources;

/// Ends of the names of what settings are.
const SETTINGS: [&str; 6] = ["Config", "Section", "Query", "Check", "Attempts", "Options"];

/// Fields without a setter: names of Go that a file may have, and are said here in another way or without effect.
const NONE: &[(&str, &[&str])] = &[
    ("BalanceSection", &["sticky_session"]),
    // Those of Go by `Config::go`.
    ("Config", &["preset", "metrics_port", "discovery"]),
    ("DiscoveryConfig", &["*"]),
    ("SecurityConfig", &["inert"]),
];

#[test]
fn every_setting_has_a_setter() {
    let sources = sources();
    let mut folders: BTreeMap<_, String> = BTreeMap::new();
    for source in &sources {
        *folders.entry(source.path.parent()).or_default() += &source.text;
    }
    let mut missing = Vec::new();
    let mut seen = 0;
    for source in &sources {
        let folder = &folders[&source.path.parent()];
        for (name, fields) in settings(&source.text) {
            let none = NONE.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, none)| *none);
            for field in fields {
                seen += 1;
                let is_none = none.contains(&"*") || none.contains(&&*field);
                if is_none == is_set(folder, &field) && none != ["*"] {
                    missing.push(format!("{name}::{field}"));
                }
            }
        }
    }
    assert!(seen > 200, "the settings were not found");
    assert!(missing.is_empty(), "add `with_..`, or strike them off the list: {missing:?}");
}

/// The structs of settings that only their own crate can write as a literal, and their fields.
fn settings(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for part in text.split("#[non_exhaustive]\n").skip(1) {
        let Some((head, body)) = part.split_once(" {\n") else { continue };
        let head =
            head.lines().filter(|line| !line.trim_start().starts_with("#[")).collect::<String>();
        let Some(name) = head.trim().strip_prefix("pub struct ") else { continue };
        if !SETTINGS.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        let body = body.split("\n}").next().unwrap_or_default();
        let field =
            |line: &str| Some(line.trim_start().strip_prefix("pub ")?.split(':').next()?.into());
        found.push((name.to_owned(), body.lines().filter_map(field).collect()));
    }
    found
}

/// Whether a setter, a constructor or a macro of the folder sets the field.
fn is_set(folder: &str, field: &str) -> bool {
    let ways = [
        format!("with_{field}"),
        format!(": {field} = "),
        format!("({field} = "),
        format!(", {field} = "),
        format!("self.{field} = "),
        format!("self.{field}, "),
        format!(", self.{field})"),
        format!("self.{field}.insert("),
        format!("self.{field}.push("),
        format!("self.{field}.extend("),
        format!("{field}: {field}.into()"),
        format!("Self {{ {field}"),
    ];
    ways.iter().any(|way| folder.contains(way))
}
