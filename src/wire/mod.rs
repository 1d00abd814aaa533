//! Fields and bodies of HTTP, as they are on the wire.

mod authority;
mod gather;
mod grpc;
mod rate_limit;
mod retry_after;
mod structured;
mod time;

use std::borrow::Cow;

pub(crate) use self::{
    authority::without_zone,
    gather::{Cut, Gather},
    grpc::{Pushback, code, grpc_status, grpc_trailer, is_grpc, pushback, write_grpc},
    rate_limit::{Limit, write_limits},
    retry_after::{retry_after, retry_after_value},
    structured::plain,
    time::{parse_rfc3339, rfc3339, system_time},
};

/// Most bytes of a body, unless a config says otherwise: 16 MiB.
pub(crate) const MAX_BODY: usize = 16 << 20;

/// Returns the first `most` bytes of a text, or up to three less, and an ellipsis if there is more.
pub(crate) fn start(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = (0..=most).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    Cow::Owned(format!("{}…", &text[..end]))
}
