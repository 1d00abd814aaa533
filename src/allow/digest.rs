use std::{
    fmt,
    io::{self, Read},
    str::FromStr,
    time::Duration,
};

use sha2::Digest;
use subtle::ConstantTimeEq;

use crate::{
    error::{Error, Kind},
    time,
};

/// SHA-256 of a file. As text it is 64 hexadecimal digits, in lower case when written.
///
/// # Example
/// ```
/// use tower_upstream::allow::Sha256;
///
/// let hash = Sha256::of("test");
/// let text = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
/// assert_eq!(hash.to_string(), text);
/// assert_eq!(text.parse::<Sha256>()?, hash);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone, Copy, Eq)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// Computes the hash of bytes that are in memory.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Of all that is read, at most `most` bytes, within `limit`. Blocks meanwhile.
    pub(super) fn of_reader(mut from: impl Read, most: u64, limit: Duration) -> io::Result<Self> {
        let until = time::later(time::now(), limit);
        let (mut hash, mut left) = (sha2::Sha256::new(), most);
        let mut buffer = vec![0; 64 << 10];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(Self(hash.finalize().into())),
                Ok(count) if count as u64 > left => {
                    return Err(io::Error::other(format!("it has more than {most} bytes")));
                }
                Ok(count) => {
                    hash.update(&buffer[..count]);
                    left -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if time::now() >= until {
                let took = format!("it cannot be read within {limit:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, took));
            }
        }
    }
}

impl PartialEq for Sha256 {
    /// In a time that does not tell where two differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl FromStr for Sha256 {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut bytes = [0; 32];
        let pairs = text.as_bytes().chunks(2);
        let is_hash = text.len() == 64
            && pairs.zip(&mut bytes).all(|(pair, byte)| {
                let digit = |at: usize| char::from(pair[at]).to_digit(16);
                let value = digit(0).zip(digit(1)).map(|(high, low)| high * 16 + low);
                *byte = value.and_then(|value| u8::try_from(value).ok()).unwrap_or_default();
                value.is_some()
            });
        let problem = "a SHA-256 has 64 hexadecimal digits";
        is_hash
            .then_some(Self(bytes))
            .ok_or_else(|| Error::not_sent(Kind::InvalidConfig).message(problem))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_bytes_are_hashed() {
        let limit = Duration::from_secs(9);
        let of = |most| Sha256::of_reader(&[7_u8; 100][..], most, limit).ok();
        assert_eq!((of(100), of(99)), (Some(Sha256::of([7; 100])), None));
        let late = Sha256::of_reader(&[7_u8; 100][..], 100, Duration::ZERO).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn only_64_digits_are_a_hash() {
        let text = "0a".repeat(32);
        assert_eq!(text.parse::<Sha256>().unwrap().to_string(), text);
        assert_eq!(text.to_uppercase().parse::<Sha256>().unwrap().to_string(), text);
        for wrong in ["", "0a", &"0g".repeat(32), &"0a".repeat(33), &"é".repeat(32)] {
            assert!(wrong.parse::<Sha256>().is_err(), "{wrong}");
        }
    }
}
