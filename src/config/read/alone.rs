//! Values that stand in no file, or whose section another part of the crate knows.

use serde::de::DeserializeOwned;

use super::section::Reading;
use crate::config::value::{Flaw, Format, Node, Path};

/// Reads a value, or lists everything that is wrong with it, by `path` and the keys below that.
pub(crate) fn read_alone<T: DeserializeOwned>(
    node: &Node,
    path: &Path<'_>,
) -> Result<T, Vec<Flaw>> {
    let mut reading = Reading::new(Format::Json, "");
    let value = reading.read(node, path);
    let mut flaws = reading.found.flaws;
    flaws.extend(reading.found.unknown.sorted());
    value.filter(|_| flaws.is_empty()).ok_or_else(|| flaws.sorted())
}
