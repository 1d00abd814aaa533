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
                let is_plain = |c: char| c.is_alphanumeric() || "_-$".contains(c);
                if key.is_empty() || !key.chars().all(is_plain) {
                    let shown: String = key.chars().take(64).collect();
                    write!(f, "{parent}[{shown:?}]")
                } else if matches!(parent, Self::Root) {
                    f.write_str(key)
                } else {
                    write!(f, "{parent}.{key}")
                }
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
        // One that is called `auth` has no `auth` by that.
        let is_auth = |key: &str| key == "auth";
        let auth = plugins.key("auth");
        assert!(auth.any(&is_auth) && !auth.key("labels").any_in_file(&is_auth));
        assert!(auth.key("auth").any_in_file(&is_auth) && third.key("auth").any_in_file(&is_auth));
    }
}
