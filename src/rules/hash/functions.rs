use md5::{Digest, Md5};

/// Returns the xxHash64 of `bytes`, with which Envoy, gRPC and Skipper place keys and endpoints (`seed` 0).
///
/// Source: the xxHash specification, by Yann Collet.
///
/// ```
/// use tower_upstream::rules::hash::xxh64;
/// assert_eq!(xxh64(b"", 0), 0xef46db3751d8e999);
/// ```
#[inline]
pub fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    twox_hash::XxHash64::oneshot(seed, bytes)
}

/// Returns the MurmurHash64A of `bytes` with the seed of GNU's `std::hash`, which Envoy offers for the points of its
/// ring.
///
/// ```
/// use tower_upstream::rules::hash::murmur2;
/// assert_eq!(murmur2(b"hello"), murmur2(b"hello"));
/// assert_ne!(murmur2(b"hello"), murmur2(b"hellp"));
/// ```
pub fn murmur2(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xc70f_6907;
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    let mixed = |word: u64| word ^ (word >> 47);
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let little_endian = |of: &[u8]| of.iter().rfold(0, |word, &byte| word << 8 | u64::from(byte));
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    for word in words {
        let word = mixed(little_endian(word).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        hash = (hash ^ little_endian(rest)).wrapping_mul(FACTOR);
    }
    mixed(mixed(hash).wrapping_mul(FACTOR))
}

/// Returns the 32-bit FNV-1a hash of `bytes`, of which the Go plugin manager takes the remainder.
///
/// ```
/// use tower_upstream::rules::hash::fnv1a_32;
/// assert_eq!(fnv1a_32(b"user-1"), 4_115_888_500);
/// ```
pub fn fnv1a_32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Returns the CRC-32 of `bytes` (ISO-HDLC), with which nginx places keys.
///
/// ```
/// use tower_upstream::rules::hash::crc32;
/// assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
/// ```
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Returns the hash of a key in libketama and libmemcached: the first four bytes of its MD5.
///
/// ```
/// use tower_upstream::rules::hash::ketama;
/// assert_eq!(ketama(b"12345"), 248_216_706);
/// ```
pub fn ketama(bytes: &[u8]) -> u32 {
    md5_words(bytes)[0]
}

pub(super) fn md5_words(bytes: &[u8]) -> [u32; 4] {
    let digest: [u8; 16] = Md5::digest(bytes).into();
    let word = |at: usize| [digest[at], digest[at + 1], digest[at + 2], digest[at + 3]];
    [0, 4, 8, 12].map(|at| u32::from_le_bytes(word(at)))
}
