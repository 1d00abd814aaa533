//! Lists of endpoints as JSON, whatever they come by.

mod instance;
mod list;
mod write;
