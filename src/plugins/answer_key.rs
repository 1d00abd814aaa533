//! Which calls have the same answer, for a `cached` fallback, and how much an answer takes.

use std::{
    any::Any,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    io,
    sync::OnceLock,
};

use super::body::{Request, Response};
use crate::plugin::{Call, Encoded, Reply};

/// Headers that name a call rather than its caller.
const OF_ONE_CALL: [&str; 4] = ["traceparent", "tracestate", "baggage", "x-request-id"];

/// The bytes of the body, and what tells callers apart: calls with other credentials or headers have answers
/// of their own.
pub(super) fn of_call<Req: Request>(call: &Call<Req>) -> Option<Vec<u8>> {
    let mut key = match encoded(call.body()) {
        Some(body) => body.as_bytes().to_vec(),
        None => serde_json::to_vec(call.body()).ok()?,
    };
    let is_its = |name: &str| !OF_ONE_CALL.iter().any(|of| of.eq_ignore_ascii_case(name));
    let headers: Vec<_> = call.headers().iter().filter(|(name, _)| is_its(name)).collect();
    let shown = match call.credentials() {
        Some(credentials) => Some(credentials.grpc_metadata().ok()?),
        None => None,
    };
    if shown.is_some() || !headers.is_empty() {
        // Not the secrets themselves: a key outlives its call.
        static SALT: OnceLock<[RandomState; 2]> = OnceLock::new();
        for salt in SALT.get_or_init(Default::default) {
            let mut hasher = salt.build_hasher();
            headers.hash(&mut hasher);
            for (name, value) in shown.iter().flatten() {
                name.hash(&mut hasher);
                value.as_bytes().hash(&mut hasher);
            }
            shown.is_some().hash(&mut hasher);
            key.extend(hasher.finish().to_ne_bytes());
        }
        // No body ends like this.
        key.push(b'\n');
    }
    Some(key)
}

/// The bytes that are there already; serde makes none of a message of Protocol Buffers.
fn encoded(body: &dyn Any) -> Option<&Encoded> {
    body.downcast_ref()
}

/// How many bytes a reply takes. One that cannot be written is too large to be kept.
pub(super) fn weight<Res: Response>(reply: &Reply<Res>) -> usize {
    struct Count(usize);

    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut body = Count(0);
    match encoded(reply.body()) {
        Some(encoded) => body.0 = encoded.as_bytes().len(),
        None if serde_json::to_writer(&mut body, reply.body()).is_err() => return usize::MAX,
        None => {}
    }
    let metadata = reply.metadata().iter().map(|(key, value)| key.len() + value.len());
    size_of::<Reply<Res>>() + body.0 + metadata.sum::<usize>()
}
