//! Settings of a part that are values of any shape in the config: read when a file is checked, and when a plugin is
//! built.

use serde::de::DeserializeOwned;

use super::checked::Checked;
use crate::{
    config::{
        read::read_alone,
        value::{Flaw, Node, Path},
    },
    error::{Code, Error, Kind},
};

/// Everything that is wrong with such settings, by paths below their plugin, such as `options.ping_after`.
#[derive(Debug)]
pub(crate) struct Wrong(Vec<Flaw>);

impl Wrong {
    pub(crate) fn one(code: Code, path: &str, message: impl Into<String>) -> Self {
        Self(vec![Flaw::new(code, Default::default(), message).at(path)])
    }

    pub(crate) fn helped(mut self, help: Option<String>) -> Self {
        for flaw in &mut self.0 {
            flaw.help.clone_from(&help);
        }
        self
    }

    /// With another code.
    pub(super) fn coded(mut self, code: Code) -> Self {
        self.0.iter_mut().for_each(|flaw| flaw.code = code);
        self
    }
}

impl From<Wrong> for Error {
    fn from(Wrong(flaws): Wrong) -> Self {
        let code = flaws.first().map(|flaw| flaw.code);
        let texts: Vec<_> = flaws.iter().map(Flaw::told).collect();
        Self::not_sent(Kind::InvalidConfig).coded(code).message(texts.join("; "))
    }
}

/// Reads settings, with all mistakes.
pub(super) fn read<T: DeserializeOwned>(node: &Node, path: &Path<'_>) -> Result<T, Wrong> {
    read_alone(node, path).map_err(Wrong)
}

/// Tells each mistake at its own place in the file.
pub(super) fn tell(wrong: Option<Wrong>, checked: &mut Checked<'_>) {
    let flaws = wrong.into_iter().flat_map(|Wrong(flaws)| flaws);
    for Flaw { code, path, message, help, .. } in flaws {
        checked.wrong_helped(&path, code, message, help);
    }
}
