//! What the file may say, found by asking its structs: so a schema cannot age.

mod ask;
mod probe;
mod schema;

pub use self::schema::schema;
