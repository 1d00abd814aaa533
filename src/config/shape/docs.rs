//! What each key is for, as the field that it is read into says it.

/// The page of the guide with all keys. A test keeps it equal to the comments of the fields.
const PAGE: &str = include_str!("../../_guide/config.md");

/// What is said of a key, such as `retry.attempts`. A section is named as in `defaults`.
pub(super) fn doc(path: &str) -> Option<String> {
    // The whole file is no key.
    if path.is_empty() {
        return None;
    }
    if let Some(said) = of_option(path) {
        return Some(said);
    }
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut rows = PAGE.lines().filter_map(cells);
    rows.find_map(|[key, _, _, other, doc]| {
        if key == path {
            return Some(doc.replace("\\|", "|"));
        }
        let (of, key) = key.rsplit_once('.').unwrap_or(("", key));
        let is_other = of == parent && other.split(", ").any(|other| code(other) == name);
        is_other.then(|| format!("{OTHER_NAME}`{key}`."))
    })
}

/// What is said of an option of a transport, such as `options.unix.ping_after`.
fn of_option(path: &str) -> Option<String> {
    let (transport, key) = path.strip_prefix("options.")?.split_once('.')?;
    let (key, transport) = (format!("options.{key}"), format!("`{transport}`"));
    let mut rows = PAGE.lines().filter_map(cells);
    let row = rows.find(|[of, transports, ..]| *of == key && transports.contains(&*transport));
    row.map(|[.., doc]| doc.replace("\\|", "|"))
}

/// What is said of a key that has its own name here.
pub(in crate::config) const OTHER_NAME: &str = "Go's name of ";

/// Key, type, default, other names, and what it is for.
fn cells(row: &str) -> Option<[&str; 5]> {
    let mut cells = row.strip_prefix("| `")?.splitn(5, " | ");
    let mut next = || cells.next();
    let [key, kind, default, other, doc] = [next()?, next()?, next()?, next()?, next()?];
    Some([key.trim_end_matches('`'), kind, default, other, doc.strip_suffix(" |")?])
}

fn code(text: &str) -> &str {
    text.trim_matches('`')
}
