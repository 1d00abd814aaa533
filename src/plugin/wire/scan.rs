//! Looks for bytes, eight at a time: most texts have none of those that are special.

/// Where the first byte of `bytes` is that is one of `wanted`.
pub(super) fn position<const N: usize>(bytes: &[u8], wanted: [u8; N]) -> Option<usize> {
    let words = bytes.chunks_exact(8).map_while(|word| word.first_chunk().copied());
    let words = words.map(u64::from_ne_bytes);
    let is_without = |word: &u64| wanted.iter().all(|&byte| !holds(*word, byte));
    let start = words.take_while(is_without).count() * 8;
    let rest = bytes.get(start..).unwrap_or_default();
    rest.iter().position(|byte| wanted.contains(byte)).map(|index| start + index)
}

/// Whether one of the eight bytes of `word` is `byte`: then that one of the difference is zero, and the
/// subtraction takes from its highest bit what it did not have.
fn holds(word: u64, byte: u8) -> bool {
    const LOWEST: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHEST: u64 = u64::from_ne_bytes([0x80; 8]);
    let difference = word ^ u64::from_ne_bytes([byte; 8]);
    difference.wrapping_sub(LOWEST) & !difference & HIGHEST != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_where_it_would_be_found_one_by_one(
            bytes in proptest::collection::vec(
                prop_oneof![9 => Just(b'x'), 1 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'!')],
                0..60,
            ),
            other in any::<u8>(),
        ) {
            let wanted = [other, b'"'];
            let found = bytes.iter().position(|byte| wanted.contains(byte));
            prop_assert_eq!(position(&bytes, wanted), found);
        }
    }
}
