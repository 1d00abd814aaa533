//! What is wrong, before it is told: by places, not yet by lines.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    path::Path,
    tree::{MAX_DEPTH, MAX_VALUES, Place},
};
use crate::error::{Code, Error, Kind};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) code: Code,
    /// Such as `plugins[2].auth`; empty for the whole file.
    pub(crate) path: String,
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Whether the text around it may be anything, a secret too, since it was not understood.
    pub(crate) is_syntax: bool,
    /// Beside that: what stands there like a key may be part of a value.
    pub(crate) is_lost: bool,
}

impl Flaw {
    pub(crate) fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            path: String::new(),
            place,
            message,
            help: None,
            is_syntax: false,
            is_lost: false,
        }
    }

    pub(crate) fn at(mut self, path: impl ToString) -> Self {
        self.path = path.to_string();
        self
    }

    pub(crate) fn helped(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    /// In one sentence, without a place: for what stands in no file.
    pub(crate) fn told(&self) -> String {
        let help = self.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        format!("{}: {}{help}", self.path, self.message)
    }

    pub(crate) fn too_deep(place: Place) -> Self {
        Self::new(
            Code::CONFIG_1706,
            place,
            format!("too much for a config file: nested deeper than {MAX_DEPTH} levels"),
        )
    }

    pub(crate) fn too_many(place: Place) -> Self {
        Self::new(
            Code::CONFIG_1706,
            place,
            format!("too much for a config file: more than {MAX_VALUES} values"),
        )
    }

    /// Of a scanner that has lost its way.
    #[cfg(feature = "yaml")]
    pub(crate) fn lost(mut self) -> Self {
        self.is_lost = true;
        self
    }

    /// What the parser of the format did not understand.
    pub(crate) fn syntax(mut self) -> Self {
        self.is_syntax = true;
        self
    }
}

impl From<Flaw> for Error {
    fn from(flaw: Flaw) -> Self {
        let help = flaw.help.map(|help| format!("; {help}")).unwrap_or_default();
        let error = Self::not_sent(Kind::InvalidConfig).coded(Some(flaw.code));
        error.message(format!("{}{help}", flaw.message))
    }
}

/// All mistakes of a file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Flaws {
    flaws: Vec<Flaw>,
    /// Of what is missing, with the paths of that. Where one of them is wrong, that alone is told.
    lacking: Vec<(Flaw, Vec<String>)>,
    /// Variables that are not set, by the paths of the texts that name them.
    unset: BTreeMap<String, String>,
}

/// No more are kept.
pub(crate) const MAX_KEPT: usize = 10_000;

impl From<Flaw> for Flaws {
    fn from(flaw: Flaw) -> Self {
        Self { flaws: vec![flaw], ..Self::default() }
    }
}

impl Flaws {
    pub(crate) fn push(&mut self, flaw: Flaw) {
        if self.flaws.len() < MAX_KEPT {
            self.flaws.push(flaw);
        }
    }

    pub(crate) fn lacks(&mut self, flaw: Flaw, paths: Vec<String>) {
        if self.lacking.len() < MAX_KEPT {
            self.lacking.push((flaw, paths));
        }
    }

    pub(crate) fn extend(&mut self, flaws: impl IntoIterator<Item = Flaw>) {
        flaws.into_iter().for_each(|flaw| self.push(flaw));
    }

    /// Remembers a variable that is not set: whatever is wrong at this path comes of it.
    pub(crate) fn unset(&mut self, path: &Path<'_>, name: &str) {
        if self.unset.len() < MAX_KEPT {
            self.unset.insert(path.to_string(), name.to_owned());
        }
    }

    /// The variable that a flaw comes of. A flaw of credentials may be that of one of them.
    fn variable_of(&self, flaw: &Flaw) -> Option<&str> {
        let inside = format!("{}.", flaw.path);
        let first = || self.unset.range(inside.clone()..).next();
        let of_part = || first().filter(|(path, _)| path.starts_with(&inside));
        let is_auth = flaw.code.category() == "AUTH";
        let found = self.unset.get_key_value(&flaw.path).or_else(|| of_part().filter(|_| is_auth));
        found.map(|(_, name)| name.as_str())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flaws.is_empty() && self.lacking.is_empty()
    }

    /// In the order of the file, each once: a default is wrong once, however many plugins have it.
    pub(crate) fn sorted(mut self) -> Vec<Flaw> {
        let mut seen = HashSet::new();
        let mut flaws = std::mem::take(&mut self.flaws);
        if !self.lacking.is_empty() {
            let told: BTreeSet<String> = flaws.iter().map(|flaw| flaw.path.clone()).collect();
            let lacking = std::mem::take(&mut self.lacking).into_iter();
            let missing = lacking.filter(|(_, of)| !of.iter().any(|path| is_wrong(path, &told)));
            flaws.extend(missing.map(|(flaw, _)| flaw));
        }
        if !self.unset.is_empty() {
            for flaw in &mut flaws {
                if let Some(name) = self.variable_of(flaw) {
                    flaw.help = Some(format!("the environment variable `{name}` is not set"));
                }
            }
        }
        flaws.retain(|flaw| {
            let by_path = matches!(flaw.place, Place::Nowhere).then(|| flaw.path.clone());
            seen.insert((flaw.place.clone(), by_path, flaw.code, flaw.message.clone()))
        });
        flaws.sort_by(|a, b| a.place.cmp(&b.place));
        flaws
    }
}

/// Whether one of `told` is about the value at a path, or about a part of it.
fn is_wrong(path: &str, told: &BTreeSet<String>) -> bool {
    let is_part = |inside: String| {
        told.range(inside.clone()..).next().is_some_and(|first| first.starts_with(&inside))
    };
    told.contains(path) || is_part(format!("{path}.")) || is_part(format!("{path}["))
}
