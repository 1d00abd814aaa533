//! The way from the root of a config to one of its values.

use std::fmt;

/// A path such as `plugins[2].auth.method`, each part in the stack frame that goes down to it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    pub(crate) fn key(&'p self, key: &'p str) -> Self {
        Self::Key(self, key)
    }

    pub(crate) fn index(&'p self, index: usize) -> Self {
        Self::Index(self, index)
    }

    /// Whether any part of it is such a key.
    pub(crate) fn any(&self, is: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Root => false,
            Self::Key(parent, key) => is(key) || parent.any(is),
            Self::Index(parent, _) => parent.any(is),
        }
    }

    /// Whether any part of it is such a key, in a file: there the name of a plugin is none.
    pub(crate) fn any_in_file(&self, is: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Root => false,
            Self::Key(Self::Key(Self::Root, all), _) if is_plugins(all) => is(all),
            Self::Key(parent, key) => is(key) || parent.any_in_file(is),
            Self::Index(parent, _) => parent.any_in_file(is),
        }
    }
}

/// Adds a key to a path as one writes it, and as a terminal may show it. There may be as many paths as mistakes, so a
/// long key is cut.
pub(crate) fn write_key(path: &mut impl fmt::Write, is_first: bool, key: &str) -> fmt::Result {
    let is_plain = |c: char| c.is_alphanumeric() || "_-$".contains(c);
    let cut = |most: usize| key.char_indices().nth(most).map(|(end, _)| &key[..end]);
    if key.is_empty() || !key.chars().all(is_plain) {
        return write!(path, "[{:?}]", cut(64).unwrap_or(key));
    }
    let between = if is_first { "" } else { "." };
    match cut(128) {
        Some(start) => write!(path, "{between}{start}…"),
        None => write!(path, "{between}{key}"),
    }
}

/// Whether a key of a file is that of its plugins.
pub(crate) fn is_plugins(key: &str) -> bool {
    key.eq_ignore_ascii_case("plugins")
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => {
                write!(f, "{parent}")?;
                write_key(f, matches!(parent, Self::Root), key)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_as_one_writes_it() {
        let plugins = Path::Root.key("plugins");
        let third = plugins.index(2);
        assert_eq!(third.key("auth").to_string(), "plugins[2].auth");
        assert_eq!(third.key("a.b").key("c").to_string(), r#"plugins[2]["a.b"].c"#);
        assert!(third.key("auth").any(&|key| key == "plugins"));
        let long = "é".repeat(129);
        assert_eq!(plugins.key(&long[2..]).to_string(), format!("plugins.{}", &long[2..]));
        assert_eq!(Path::Root.key(&long).key("a").to_string(), format!("{}….a", &long[2..]));
        // One that is called `auth` has no `auth` by that.
        let is_auth = |key: &str| key == "auth";
        let auth = plugins.key("auth");
        assert!(auth.any(&is_auth) && !auth.key("labels").any_in_file(&is_auth));
        assert!(auth.key("auth").any_in_file(&is_auth) && third.key("auth").any_in_file(&is_auth));
    }
}
