//! `google.rpc.Status` with a `RetryInfo`, as gRPC servers send it beside a status, in Protocol Buffers.
//! Four messages of two fields each, so written here.

use std::time::Duration;

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// Details of a status that say when to try again.
#[cfg(any(test, feature = "grpc"))]
pub(crate) fn with_retry_info(code: u8, message: &str, wait: Duration) -> Vec<u8> {
    let (mut delay, mut info, mut any, mut status) = (vec![], vec![], vec![], vec![]);
    write_number(&mut delay, 1, wait.as_secs());
    write_number(&mut delay, 2, wait.subsec_nanos().into());
    write_bytes(&mut info, 1, &delay);
    write_bytes(&mut any, 1, RETRY_INFO.as_bytes());
    write_bytes(&mut any, 2, &info);
    write_number(&mut status, 1, code.into());
    write_bytes(&mut status, 2, message.as_bytes());
    write_bytes(&mut status, 3, &any);
    status
}

/// When to try again, if the details of a status say so.
pub(crate) fn retry_delay(details: &[u8]) -> Option<Duration> {
    let info = Fields(details).filter_map(|field| match field {
        (3, Value::Bytes(any)) if bytes(any, 1) == Some(RETRY_INFO.as_bytes()) => bytes(any, 2),
        _ => None,
    });
    let delay = info.filter_map(|info| bytes(info, 1)).next()?;
    let number = |wanted| {
        let found = Fields(delay).filter_map(|(field, value)| match value {
            Value::Number(number) if field == wanted => Some(number),
            _ => None,
        });
        // Below zero it has more than 63 bits.
        Some(found.last().unwrap_or(0)).filter(|&number| number <= i64::MAX as u64)
    };
    let nanos = u32::try_from(number(2)?).ok().filter(|&nanos| nanos < 1_000_000_000)?;
    Some(Duration::new(number(1)?, nanos))
}

/// The last field of this number that holds bytes.
fn bytes(message: &[u8], wanted: u64) -> Option<&[u8]> {
    Fields(message)
        .filter_map(|(field, value)| match value {
            Value::Bytes(bytes) if field == wanted => Some(bytes),
            _ => None,
        })
        .last()
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message, with their numbers, up to the first that makes no sense.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for (at, &byte) in self.0.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length.try_into().ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        field
    }
}

#[cfg(any(test, feature = "grpc"))]
fn write_number(message: &mut Vec<u8>, field: u8, number: u64) {
    // Zero is not written.
    if number > 0 {
        message.push(field << 3);
        write_varint(message, number);
    }
}

#[cfg(any(test, feature = "grpc"))]
fn write_bytes(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | 2);
    write_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

#[cfg(any(test, feature = "grpc"))]
fn write_varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_protocol_buffers() {
        let wait = Duration::from_millis(1_500);
        let written = with_retry_info(8, "slow", wait);
        let mut expected = b"\x08\x08\x12\x04slow\x1a\x36\x0a\x28".to_vec();
        expected.extend_from_slice(RETRY_INFO.as_bytes());
        expected.extend_from_slice(b"\x12\x0a\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01");
        assert_eq!(written, expected);
        assert_eq!(retry_delay(&written), Some(wait));
    }

    #[test]
    fn what_is_no_wait_is_none() {
        let delay = |delay: &[u8]| {
            let (mut info, mut any, mut status) = (vec![], vec![], vec![]);
            write_bytes(&mut info, 1, delay);
            write_bytes(&mut any, 1, RETRY_INFO.as_bytes());
            write_bytes(&mut any, 2, &info);
            write_bytes(&mut status, 3, b"\x0a\x05other");
            write_bytes(&mut status, 3, &any);
            retry_delay(&status)
        };
        assert_eq!(delay(b"\x08\x03"), Some(Duration::from_secs(3)));
        assert_eq!(delay(b""), Some(Duration::ZERO));
        // One below zero, and more nanoseconds than a second has.
        assert_eq!(delay(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), None);
        assert_eq!(delay(b"\x10\x80\x94\xeb\xdc\x03"), None);
        assert_eq!(retry_delay(b""), None);
        assert_eq!(retry_delay(b"\x1a\xff"), None);
    }

    proptest! {
        #[test]
        fn each_wait_is_read_as_it_was_written(seconds: u64, nanos in 0..1_000_000_000_u32) {
            let wait = Duration::new(seconds >> 1, nanos);
            prop_assert_eq!(retry_delay(&with_retry_info(14, "", wait)), Some(wait));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = retry_delay(&bytes);
        }
    }
}
