/// The first numbers of the Mersenne Twister MT19937, as C++'s `std::mt19937` has them.
///
/// Source: Matsumoto and Nishimura, "Mersenne Twister" (1998).
pub(super) struct Mt19937 {
    state: [u32; N],
    next: usize,
}

const N: usize = 624;
const M: usize = 397;

impl Mt19937 {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        let mut last = seed;
        for (index, word) in (0_u32..).zip(&mut state).skip(1) {
            last = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(index);
            *word = last;
        }
        Self { state, next: 0 }
    }

    pub(super) fn next_u32(&mut self) -> u32 {
        let at = self.next;
        self.next = (at + 1) % N;
        let joined = self.state[at] & 0x8000_0000 | self.state[self.next] & 0x7fff_ffff;
        let twist = if joined & 1 == 0 { 0 } else { 0x9908_b0df };
        let mut word = self.state[(at + M) % N] ^ (joined >> 1) ^ twist;
        self.state[at] = word;
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_thousandth_number_is_that_of_the_standard() {
        // [rand.predef] of C++.
        let mut numbers = Mt19937::new(5_489);
        assert_eq!((0..10_000).map(|_| numbers.next_u32()).last(), Some(4_123_659_995));
    }
}
