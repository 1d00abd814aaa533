//! Fields and bodies of HTTP, as they are on the wire.

mod authority;
mod gather;
mod headers;
mod network;
pub(crate) mod rate_limit;
pub(crate) mod rpc_status;
mod time;
mod tokens;
#[cfg(feature = "grpc")]
pub(crate) mod told;
mod unzip;

use std::borrow::Cow;

use crate::error::cut;

pub(crate) use self::{
    authority::{as_host, without_zone},
    gather::{Cut, Gather},
    headers::{
        GRPC_MESSAGE, GRPC_PUSHBACK, GRPC_STATUS, Pushback, grpc_status, grpc_trailer, is_grpc,
        pushback, pushback_value, retry_after, retry_after_value,
    },
    network::{Network, masked},
    time::{parse_rfc3339, rfc3339, system_time},
    tokens::{has_token, kept_for, tokens},
    unzip::unzip,
};

#[cfg(feature = "grpc")]
pub(crate) use self::headers::{BASE64, retry_info};

/// How much a body may hold, unless a config says otherwise.
pub(crate) const MAX_BODY: usize = 16 << 20;

/// The first `most` bytes of a text, or a little less.
pub(crate) fn start(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", cut(text, most)))
}
