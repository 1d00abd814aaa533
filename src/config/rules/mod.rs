//! What makes a config wrong beyond the types of its values.

mod checked;
mod doubtful;
mod endpoints;
mod file;
mod found;
mod given;
mod identity;
mod inert;
mod plugin;
mod sections;

pub(crate) use self::{
    checked::{At, Checked, mistakes},
    doubtful::{doubt_level, doubt_plugin},
    file::{Common, check_file, circles},
    given::known_options,
    identity::{mistake_in_name, mistake_in_version},
    inert::{helped, note_of, notes},
    plugin::{TRANSPORTS, check_plugin},
    sections::check_defaults,
};
