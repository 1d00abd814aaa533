//! The bytes of the plugin protocol: the JSON of the Go plugin manager, for both ends.

mod envelope;
mod json;

pub(crate) use self::{
    envelope::{Answer, Pairs, Question, zero_value},
    json::{members, to_json, value},
};
