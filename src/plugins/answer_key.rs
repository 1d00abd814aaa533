//! Which calls have the same answer, for a `cached` fallback, and how much an answer takes.

use std::{
    any::Any,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    io,
    sync::OnceLock,
};

use super::body::{Request, Response};
use crate::plugin::{Call, Encoded, Format, Reply};

/// Headers that name a call rather than its caller.
const OF_ONE_CALL: [&str; 4] = ["traceparent", "tracestate", "baggage", "x-request-id"];

const JSON: u8 = 0;
const PROTOBUF: u8 = 1;
const OF_CALLER: u8 = 2;

/// The bytes of the body, and what tells callers apart: calls with other credentials or headers have answers
/// of their own.
pub(super) fn of_call<Req: Request>(call: &Call<Req>) -> Option<Vec<u8>> {
    // First what the bytes are, and whether more than those of the body follow: bytes of one kind are no key of
    // another.
    let mut key = vec![JSON];
    match encoded(call.body()) {
        Some(body) => {
            key[0] = if body.format() == Format::Json { JSON } else { PROTOBUF };
            key.extend_from_slice(body.as_bytes());
        }
        None => serde_json::to_writer(&mut key, call.body()).ok()?,
    }
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
        key[0] |= OF_CALLER;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_one_kind_are_no_key_of_another() {
        let json = Call::new(Encoded::json("7").unwrap());
        let message = Call::new(Encoded::protobuf(&b"7"[..]));
        let key = |call: &Call<Encoded>| of_call(call).unwrap();
        assert_eq!(key(&json), of_call(&Call::new(7)).unwrap(), "the same JSON");
        assert_ne!(key(&json), key(&message));
        let told = json.clone().with_header("x-tenant", "blue");
        assert_eq!((key(&told)[0], &key(&told)[1..2]), (JSON | OF_CALLER, &b"7"[..]));
        // Nor is a body that looks like that of a caller.
        let forged = Call::new(Encoded::protobuf(key(&told)[1..].to_vec()));
        assert_ne!(key(&forged), key(&told));
    }
}
