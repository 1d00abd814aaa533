//! From a config to a file.

mod go;
mod sample;
mod text;
mod yaml;

pub use self::text::Secrets;
