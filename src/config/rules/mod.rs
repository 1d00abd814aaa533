//! What makes a config wrong beyond the types of its values.

mod checked;
mod file;
mod found;
mod given;
mod inert;
mod plugin;
mod sections;

pub(crate) use self::{
    checked::{At, Checked, mistakes},
    file::check_file,
    inert::{note_of, notes},
    plugin::{TRANSPORTS, check_plugin},
    sections::check_defaults,
};
