//! The health of an endpoint, in the words of registries and in those of plugins.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::endpoint::Status;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Unknown,
    #[serde(alias = "healthy")]
    Passing,
    #[serde(alias = "degraded")]
    Warning,
    #[serde(alias = "unhealthy")]
    Critical,
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    Ok(match Word::deserialize(deserializer)? {
        Word::Unknown => Status::Unknown,
        Word::Passing => Status::Passing,
        Word::Warning => Status::Warning,
        Word::Critical => Status::Critical,
    })
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(super) fn serialize<S: Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
    let word = match status {
        Status::Unknown => Word::Unknown,
        Status::Passing => Word::Passing,
        Status::Warning => Word::Warning,
        Status::Critical => Word::Critical,
    };
    word.serialize(serializer)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(super) fn is_unknown(status: &Status) -> bool {
    *status == Status::Unknown
}
