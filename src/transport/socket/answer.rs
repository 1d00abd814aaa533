//! Reads the answers of plugins.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{connection::Lease, exchange::Arrived, pool::Pool};
use crate::{
    error::{Code, Error, Kind},
    plugin::{
        HealthStatus, PluginInfo, PluginStatus, Reply,
        wire::{MAX_TEXT, Plain, answered, data, mistyped, stream::Told, text, undecodable},
    },
    wire,
};

/// Reads the answer to the call `id`. The connection is used again if the answer is one.
pub(super) fn reply<Res: DeserializeOwned>(
    arrived: Arrived,
    id: &str,
    pool: &Pool,
) -> Result<Reply<Res>, Error> {
    // Nearly all are plain, and those are read once.
    match plain(&text(&arrived.message)).filter(|reply| reply.request_id() == id) {
        Some(reply) => {
            reuse(arrived.lease);
            Ok(reply)
        }
        None => open(arrived, id, pool, in_parts),
    }
}

/// The reply that `text` is, if it is plain and one of success.
fn plain<Res: DeserializeOwned>(text: &str) -> Option<Reply<Res>> {
    Plain::read(text).filter(|plain| plain.success == Some(true)).map(|plain| plain.reply)
}

/// Reads the answer to the message `id` by `read`, as Go reads it. The connection is used again if the
/// answer is one.
#[cold]
pub(super) fn open<T>(
    arrived: Arrived,
    id: &str,
    pool: &Pool,
    read: impl FnOnce(&Told<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let Arrived { message, lease } = arrived;
    let code = pool.code();
    let message = text(&message);
    let told = Told::read(&message).map_err(|error| undecodable(error).coded(code))?;
    // One that came too early is an error, whose id the plugin may not have known.
    let is_early = lease.is_none() && !told.success;
    if told.request_id != id && !is_early {
        return Err(Error::failed(Kind::Transport).coded(Some(Code::RPC_2003)).message(format!(
            "response request ID mismatch: `{}` instead of `{}`",
            wire::start(&told.request_id, 64).escape_debug(),
            wire::start(id, 64).escape_debug()
        )));
    }
    let result = read(&told);
    let is_answer = result.as_ref().map_or_else(|error| error.kind() != Kind::Transport, |_| true);
    reuse(lease.filter(|_| is_answer));
    // The plugin may have said a code itself.
    let is_plain = |error: &Error| error.code() == Kind::Transport.code();
    result.map_err(|error| if is_plain(&error) { error.coded(code) } else { error })
}

/// Gives back the connection on which a right answer came.
fn reuse(lease: Option<Lease>) {
    if let Some(mut lease) = lease {
        lease.connection().messages.shrink();
        lease.give_back();
    }
}

fn in_parts<Res: DeserializeOwned>(told: &Told<'_>) -> Result<Reply<Res>, Error> {
    let answer = success(told)?.ok_or_else(|| undecodable("it has no `data`"))?;
    let reply = Reply::new(data(Some(answer)).map_err(mistyped)?);
    let reply = reply.with_request_id(told.request_id.as_str());
    let pairs = told.metadata.iter();
    Ok(pairs.fold(reply, |reply, (key, value)| reply.with_metadata(key, value)))
}

pub(super) fn info(told: &Told<'_>) -> Result<PluginInfo, Error> {
    let found = success(told)?.ok_or_else(|| undecodable("it has no `data`"))?;
    PluginInfo::read(found.get()).map_err(undecodable)
}

pub(super) fn health(told: &Told<'_>) -> HealthStatus {
    // Not known to Go: the whole health.
    if let Some(health) = told.data.and_then(|data| HealthStatus::read(data.get())) {
        return health;
    }
    if told.success {
        return HealthStatus::healthy();
    }
    let error = wire::start(&told.error, MAX_TEXT);
    HealthStatus::new(PluginStatus::Degraded)
        .with_message(format!("Health check returned error: {error}"))
}

/// The data of an answer, or the error that it is.
fn success<'a>(told: &Told<'a>) -> Result<Option<&'a RawValue>, Error> {
    if told.success {
        return Ok(told.data);
    }
    Err(answered("remote execution failed", &told.error, told.status, told.retry_after, None))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whether it is read in one way or the other.
        #[test]
        fn what_is_plain_is_what_it_would_be_otherwise(
            members in prop::collection::vec(
                ("data|Data|error|request_id|metadata|type|success|Success|status|x",
                    "7|true|false|\"\"|\"a\"|null|\\{\\}|\\{\"k\":\"v\"\\}|[0-9]{1,3}"),
                0..5,
            ),
            is_success in any::<bool>(),
            end in "\\}|\\} x|",
        ) {
            let success = is_success.then(|| "\"success\":true".to_owned());
            let members = members.iter().map(|(name, value)| format!("\"{name}\":{value}"));
            let members: Vec<_> = success.into_iter().chain(members).collect();
            let text = format!("{{{}{end}", members.join(","));
            if let Some(reply) = plain::<serde_json::Value>(&text) {
                let told = Told::read(&text).unwrap();
                prop_assert_eq!(told.request_id.as_str(), reply.request_id());
                prop_assert_eq!(reply, in_parts(&told).unwrap(), "{}", text);
            }
        }
    }
}
