//! How things are written on the wire to plugins: the JSON and the durations of the Go
//! plugin manager that this crate stands in for. What both ends need is here, so that neither
//! imports the other.

mod envelope;
mod json;

pub(crate) use self::{
    envelope::{Answer, Pairs, Question, zero_value},
    json::{members, to_json, value},
};
