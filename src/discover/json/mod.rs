//! Lists of endpoints as JSON, whatever they come by.

mod check;
mod instance;
mod list;
mod write;
