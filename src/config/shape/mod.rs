//! What the file may say, found by asking its structs: so a schema cannot age.

mod ask;
mod demands;
mod docs;
mod durations;
mod options;
mod probe;
mod range;
mod schema;
mod written;

pub(super) use self::docs::OTHER_NAME;
pub use self::schema::schema;
