//! What makes a config wrong beyond the types of its values.

pub(crate) mod backends;
mod checked;
mod doubtful;
mod endpoints;
mod file;
mod found;
mod given;
mod identity;
mod inert;
mod options;
mod plugin;
pub(crate) mod schemes;
mod sections;
mod settings;

#[cfg(all(feature = "process", unix))]
pub(crate) use self::options::{arguments, environment};
pub(crate) use self::{
    checked::{At, Checked, mistakes},
    doubtful::{doubt_level, doubt_plugin},
    file::{Common, check_file, circles},
    identity::{mistake_in_name, mistake_in_version},
    inert::{helped, note_of, notes},
    options::{known_options, with_options},
    plugin::{TRANSPORTS, check_plugin},
    sections::check_defaults,
};
