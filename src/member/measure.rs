use std::time::Duration;

use crate::rules::PeakEwma;

/// How a member estimates its latency. Set by a strategy; a member of none does as [`PeakEwma::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measure {
    pub(crate) decay: Duration,
    pub(crate) classic: bool,
    /// Whether the age of the oldest call is known: it costs a call that waits two atomic updates.
    pub(crate) ages: bool,
    /// Whether the time that calls take is added up, for two more.
    pub(crate) works: bool,
}

impl Measure {
    pub(crate) const DEFAULT: Self =
        Self { decay: Duration::from_secs(10), classic: false, ages: false, works: false };

    pub(crate) fn rule(self) -> PeakEwma {
        let rule = if self.classic { PeakEwma::classic() } else { PeakEwma::new() };
        rule.with_decay(self.decay)
    }

    /// The decay in nanoseconds above three bits: 73 years.
    pub(super) fn pack(self) -> u64 {
        let decay = crate::time::nanos(self.decay).min(u64::MAX >> 3);
        let bits = [self.classic, self.ages, self.works];
        bits.into_iter().fold(decay, |word, bit| word << 1 | u64::from(bit))
    }

    pub(super) fn unpack(word: u64) -> Self {
        let decay = Duration::from_nanos(word >> 3);
        Self { decay, classic: word & 4 != 0, ages: word & 2 != 0, works: word & 1 != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_is_a_word() {
        for bits in 0..8 {
            let [classic, ages, works] = [1, 2, 4].map(|bit| bits & bit != 0);
            let measure = Measure { decay: Duration::from_nanos(12_345), classic, ages, works };
            assert_eq!(Measure::unpack(measure.pack()), measure);
        }
    }
}
