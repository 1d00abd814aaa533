//! Messages in and out, within bounds.

use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use prost::Message;
use tonic::{
    Status,
    codec::{self, DecodeBuf, EncodeBuf},
};

/// Most bytes of a message.
pub(super) const MAX_MESSAGE: usize = 4 << 20;
/// Most fields of a message. Two bytes make an event, which takes a hundred times as many in memory.
const MAX_FIELDS: usize = 65_536;

/// The codec of one method: what is asked, and what is answered.
pub(super) struct Codec<Q, A>(PhantomData<fn(Q) -> A>);

impl<Q, A> Codec<Q, A> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Q: Message + 'static, A: Message + Default + 'static> codec::Codec for Codec<Q, A> {
    type Encode = Q;
    type Decode = A;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::new()
    }

    fn decoder(&mut self) -> Self {
        Self::new()
    }
}

impl<Q: Message, A> codec::Encoder for Codec<Q, A> {
    type Item = Q;
    type Error = Status;

    fn encode(&mut self, message: Q, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(to).map_err(|error| Status::internal(error.to_string()))
    }
}

impl<Q, A: Message + Default> codec::Decoder for Codec<Q, A> {
    type Item = A;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<A>, Status> {
        // All of it is there, so nothing is copied.
        decode(from.copy_to_bytes(from.remaining())).map(Some)
    }
}

/// Reads a message that has no more fields than one of etcd.
pub(super) fn decode<A: Message + Default>(bytes: Bytes) -> Result<A, Status> {
    let fields = fields(&bytes).ok_or_else(|| Status::internal("the message is malformed"))?;
    if fields > MAX_FIELDS {
        return Err(Status::out_of_range(format!(
            "a message of {fields} fields, of which at most {MAX_FIELDS} are read"
        )));
    }
    A::decode(bytes).map_err(|error| Status::internal(error.to_string()))
}

/// How many fields a message has at its outermost level. `None`: it is none.
fn fields(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !bytes.is_empty() {
        let skipped = match varint(&mut bytes)? & 7 {
            0 => {
                varint(&mut bytes)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            5 => 4,
            _ => return None,
        };
        bytes = bytes.get(skipped..)?;
        count += 1;
    }
    Some(count)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::messages::{Event, KeyValue, WatchResponse},
        *,
    };

    #[test]
    fn events_are_counted_before_they_are_read() {
        for (count, more) in [(0, 0), (1, 1), (70_000, 1)] {
            let events = vec![Event::default(); count];
            let response = WatchResponse { events, watch_id: more, ..Default::default() };
            let expected = count + usize::from(more != 0);
            assert_eq!(fields(&response.encode_to_vec()), Some(expected));
        }
        for malformed in [
            &b"\x0a"[..],
            b"\x0a\x05abc",
            b"\x0b\x0c",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(fields(malformed), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_well_formed(key in prop::collection::vec(any::<u8>(), 0..9), lease: i64) {
            let kv = KeyValue { key: key.into(), lease, version: 1, ..Default::default() };
            prop_assert!(fields(&kv.encode_to_vec()).is_some_and(|count| count <= 3));
        }

        #[test]
        fn no_bytes_panic_and_none_that_prost_reads_are_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let is_group = |byte: &u8| matches!(byte & 7, 3 | 4);
            if WatchResponse::decode(&*bytes).is_ok() && !bytes.iter().any(is_group) {
                prop_assert!(fields(&bytes).is_some());
            }
        }
    }
}
