//! One message in a body: a byte that tells whether it is compressed, four for its length, and its bytes.

use std::{error::Error, fmt};

use bytes::Bytes;

/// Bytes before a message.
pub(crate) const PREFIX: usize = 5;

/// A message that `write` writes, with what goes before it.
pub(crate) fn frame<E>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Bytes, E> {
    let mut framed = Vec::with_capacity(128);
    framed.extend_from_slice(&[0; PREFIX]);
    write(&mut framed)?;
    // A message that is longer is refused by its bound.
    let length = u32::try_from(framed.len() - PREFIX).unwrap_or(u32::MAX);
    framed[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    Ok(framed.into())
}

/// A message that is written already.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    framed.push(0);
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

/// Why a body is not one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOne {
    Missing,
    More,
    Cut,
    Compressed,
    Foreign,
}

impl fmt::Display for NotOne {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "it has no message",
            Self::More => "it has more than one message",
            Self::Cut => "its message is cut",
            Self::Compressed => "its message is compressed, which was not asked for",
            Self::Foreign => "it is not framed as gRPC",
        })
    }
}

impl Error for NotOne {}

/// The one message of a body, or why it is not one.
pub(crate) fn unframe(mut body: Bytes) -> Result<Bytes, NotOne> {
    let Some((prefix, rest)) = body.split_first_chunk::<PREFIX>() else {
        return Err(if body.is_empty() { NotOne::Missing } else { NotOne::Cut });
    };
    let &[compressed, a, b, c, d] = prefix;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    match rest.len().checked_sub(length) {
        _ if compressed > 1 => Err(NotOne::Foreign),
        None => Err(NotOne::Cut),
        Some(1..) => Err(NotOne::More),
        Some(0) if compressed == 1 => Err(NotOne::Compressed),
        Some(0) => Ok(body.split_off(PREFIX)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_one_whole_message_is_one() {
        assert_eq!(framed(b"abc"), &b"\0\0\0\0\x03abc"[..]);
        for (body, problem) in [
            (&b""[..], NotOne::Missing),
            (b"\0\0", NotOne::Cut),
            (b"\0\0\0\0\x04abc", NotOne::Cut),
            (b"\0\0\0\0\x02abc", NotOne::More),
            (b"\x01\0\0\0\x03abc", NotOne::Compressed),
            (b"\0\xff\xff\xff\xffabc", NotOne::Cut),
            (b"HTTP/1.1 400 Bad Request", NotOne::Foreign),
        ] {
            assert_eq!(unframe(Bytes::copy_from_slice(body)), Err(problem));
        }
    }

    proptest! {
        #[test]
        fn what_was_framed_is_found(message in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(unframe(framed(&message)).unwrap(), &message);
            let written = frame(|framed| {
                framed.extend_from_slice(&message);
                Ok::<_, ()>(())
            });
            prop_assert_eq!(written.unwrap(), framed(&message));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = unframe(bytes.into());
        }
    }
}
