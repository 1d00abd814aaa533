//! The bytes of the plugin protocol: the JSON of the Go plugin manager, for both ends.

mod envelope;
mod failure;
mod frames;
mod json;
#[cfg(all(feature = "process", unix))]
pub(crate) mod lines;
mod messages;
mod plain;
#[cfg(all(feature = "process", unix))]
pub(crate) mod process;
mod scan;
pub(crate) mod stream;
mod text;
#[cfg(all(feature = "process", unix))]
pub(crate) mod unwritten;

#[cfg(feature = "grpc")]
pub(crate) use self::json::write_json;
pub(crate) use self::{
    envelope::{Answer, Pairs, Question, data},
    failure::{MAX_TEXT, answered, misread, mistyped, undecodable, unwritable, with_words},
    frames::Malformed,
    json::{members, to_json, value},
    messages::{Messages, NoMessage},
    plain::Plain,
    text::text,
};
