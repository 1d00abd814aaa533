//! Reading a section, pass by pass.

use std::collections::HashSet;

use serde::Deserialize;

use super::{
    pass::{Ended, Pass},
    reader::Reader,
    refused::Why,
};
use crate::{
    config::{
        nearest::did_you_mean,
        value::{Flaw, Flaws, Format, Node, Path, Value},
    },
    error::Code,
};

/// How many values the passes over the sections of a file look at in all. A file of a person has a hundredth
/// of it; in a hostile one, some mistakes are told only after others are corrected.
const MAX_LOOKS: usize = 4_000_000;

/// What a duration says that it is.
const DURATION: &str = "expected a duration";

/// For no more mistakes of a file the key that was meant is looked for.
const MAX_HINTS: usize = 1_000;

/// No more of the keys that there are are named.
const MAX_NAMES: usize = 24;

/// What is found while sections are read.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Wrong values.
    pub(crate) flaws: Flaws,
    /// Keys that nothing knows.
    pub(crate) unknown: Flaws,
    /// For how many the key that was meant was looked for.
    hints: usize,
}

/// Reads sections of one file.
#[derive(Debug)]
pub(crate) struct Reading<'s> {
    format: Format,
    /// The file.
    text: &'s str,
    pub(crate) found: Found,
    /// Values that were not taken, and nulls where nothing is said: a list is read without them.
    pub(crate) left_out: HashSet<*const Node>,
    /// How many values were looked at.
    pub(super) looks: usize,
}

impl<'s> Reading<'s> {
    pub(crate) fn new(format: Format, text: &'s str) -> Self {
        Self { format, text, found: Found::default(), left_out: HashSet::new(), looks: 0 }
    }

    /// Reads a section, and lists everything in it that is wrong.
    ///
    /// `serde` stops at the first value that a type does not take. So that value is noted and left out,
    /// and the section is read again without it, until nothing is in the way. What comes back has the
    /// defaults in place of all that was wrong; it is `None` if it cannot be without one of them.
    pub(crate) fn read<'t, T: Deserialize<'t>>(
        &mut self,
        node: &'t Node,
        path: &Path<'_>,
    ) -> Option<T>
    where
        's: 't,
    {
        let pass = Pass::new(self.format, self.text);
        let read = self.read_all(node, path, &pass);
        self.looks += pass.looked_at();
        self.left_out.extend(pass.left_out());
        read
    }

    fn read_all<'t, T: Deserialize<'t>>(
        &mut self,
        node: &'t Node,
        path: &Path<'_>,
        pass: &Pass<'t>,
    ) -> Option<T> {
        let is_root = |out: &Node| std::ptr::eq(out, node);
        let mut told = 0;
        loop {
            let read = T::deserialize(Reader { node, path, pass });
            match pass.watch(read, node, &node.place, path) {
                Ok(value) => return Some(value),
                Err(_) => {
                    let ended = pass.take()?;
                    if let Why::Key { given, known } = &ended.refused.why {
                        if pass.rename(ended.out, given, known) {
                            continue;
                        }
                    }
                    // What is wrong for want of a value that was told is not told.
                    if told == 0 || !pass.lacks(ended.out) {
                        told += usize::from(self.found.add(&ended, is_root(ended.out)));
                    }
                    let goes_on = pass.leave_out(ended.out) && !is_root(ended.out);
                    if !goes_on || self.looks + pass.looked_at() > MAX_LOOKS {
                        return None;
                    }
                }
            }
        }
    }
}

impl Found {
    /// Lists what a pass ended at; `false` if it is no mistake.
    fn add(&mut self, ended: &Ended<'_>, is_root: bool) -> bool {
        let Ended { out, place, path, refused } = ended;
        let help = match &refused.why {
            Why::Key { given, known } => {
                self.hint(given, known).or_else(|| self.listed("there are", known))
            }
            Why::Section { known } => self.listed("its keys are", known),
            Why::Choice { given, known } => self.hint(given, known),
            // In Go, null leaves a value as it is.
            _ if out.value == Value::Null && !is_root && !refused.is_of_key() => return false,
            _ if out.text().is_some() && refused.message.contains(DURATION) => {
                Some("its units are `h`, `m`, `s`, `ms`, `us` and `ns`: a day is `24h`".to_owned())
            }
            _ => None,
        };
        let (list, message) = match refused.why {
            Why::Key { .. } => (&mut self.unknown, "unknown key"),
            _ => (&mut self.flaws, &*refused.message),
        };
        list.push(Flaw::new(Code::CONFIG_1703, place.clone(), message).at(path).helped(help));
        true
    }

    /// What may stand there instead.
    fn listed(&mut self, what: &str, known: &[&str]) -> Option<String> {
        self.hints += 1;
        if self.hints > MAX_HINTS || known.is_empty() {
            return None;
        }
        let names = known.iter().take(MAX_NAMES).copied().collect::<Vec<_>>().join("`, `");
        Some(match known.len().saturating_sub(MAX_NAMES) {
            0 => format!("{what} `{names}`"),
            more => format!("{what} `{names}` and {more} more"),
        })
    }

    fn hint<N: AsRef<str>>(&mut self, given: &str, known: &[N]) -> Option<String> {
        self.hints += 1;
        (self.hints <= MAX_HINTS).then(|| did_you_mean(given, known)).flatten()
    }
}
