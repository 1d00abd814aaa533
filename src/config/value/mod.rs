//! A file as a tree of values, each with its place: what every step that follows works on.

mod bounds;
mod flaw;
mod format;
mod json;
mod parse;
mod path;
mod plain;
mod source;
#[cfg(all(test, feature = "yaml"))]
mod tests;
mod toml;
mod tree;
#[cfg(feature = "yaml")]
mod yaml;

pub use self::format::Format;
pub(crate) use self::{
    flaw::{Flaw, Flaws},
    parse::{drop_repeated, parse},
    path::{Path, is_plugins, write_key},
    source::{Position, Source},
    tree::{Member, Node, Place, Text, Value},
};
