use super::rng::Rng;

/// How many entries a choice of the least loaded looks at.
///
/// Source: gRFC A48. More than two gain little and cost more; all of them would send a herd to the least
/// loaded.
///
/// # Bounds
/// From 2 to 10. Default: 2.
///
/// ```
/// use tower_upstream::rules::Choices;
/// assert_eq!(Choices::new(1), None);
/// assert_eq!(Choices::new(50), Choices::new(10));
/// assert_eq!(Choices::default().get(), 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choices(u32);

impl Choices {
    pub(crate) const TWO: Self = Self(2);

    /// Creates a number of choices; more than 10 become 10. `None` below 2, which would be no choice.
    pub const fn new(choices: u32) -> Option<Self> {
        match choices {
            0 | 1 => None,
            2..=10 => Some(Self(choices)),
            _ => Some(Self(10)),
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for Choices {
    fn default() -> Self {
        Self::TWO
    }
}

/// Weight of an entry of which `active` requests are in flight: `weight / (active + 1)^bias`.
///
/// Source: Envoy's least request with unequal weights; use it as the weight of an [`Edf`](super::Edf). A bias
/// of 0 ignores the load, 1 divides by it. A bias that is negative or NaN counts as 1, as in Envoy.
///
/// ```
/// use tower_upstream::rules::least_request_weight;
/// assert_eq!(least_request_weight(2.0, 4, 1.0), 0.4);
/// assert_eq!(least_request_weight(2.0, 4, 0.0), 2.0);
/// ```
pub fn least_request_weight(weight: f64, active: u64, bias: f64) -> f64 {
    let load = active.saturating_add(1) as f64;
    match bias {
        0.0 => weight,
        bias if bias > 0.0 && bias != 1.0 => weight / load.powf(bias),
        _ => weight / load,
    }
}

/// Picks the entry with the least load among those drawn; of equal ones, the one drawn first.
///
/// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001), and Envoy, which
/// draws with replacement. A load that is NaN counts as the largest.
///
/// ```
/// use tower_upstream::rules::fewest;
/// let loads = [4.0, 3.0, 2.0, 1.0];
/// assert_eq!(fewest([0, 3, 0, 3, 2], |index| loads[index]), Some(3));
/// assert_eq!(fewest([], |index| loads[index]), None);
/// ```
pub fn fewest(
    drawn: impl IntoIterator<Item = usize>,
    mut load: impl FnMut(usize) -> f64,
) -> Option<usize> {
    let loads = drawn.into_iter().map(|index| (index, load(index)));
    let least = loads.reduce(|best, next| {
        if next.1 < best.1 || best.1.is_nan() && !next.1.is_nan() { next } else { best }
    });
    least.map(|(index, _)| index)
}

/// Picks the entry with the least load of all; each of equal ones with the same chance.
///
/// Source: Envoy's `FULL_SCAN`, which samples the ties from a reservoir. O(n).
///
/// ```
/// use tower_upstream::rules::{Rng, full_scan};
/// assert_eq!(full_scan([4.0, 3.0, 2.0, 1.0], &mut Rng::new(1)), Some(3));
/// ```
pub fn full_scan(loads: impl IntoIterator<Item = f64>, rng: &mut Rng) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    let mut ties = 1;
    for (index, load) in loads.into_iter().enumerate() {
        let Some((_, least)) = best else {
            best = Some((index, load));
            continue;
        };
        if load < least || least.is_nan() && !load.is_nan() {
            (best, ties) = (Some((index, load)), 1);
        } else if load == least {
            ties += 1;
            if rng.below(ties) == 0 {
                best = Some((index, load));
            }
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rng;
    use proptest::prelude::*;

    #[test]
    fn absurd_loads_do_no_harm() {
        let mut rng = Rng::new(1);
        let loads = [f64::NAN, f64::INFINITY, 2.0, f64::NAN];
        assert_eq!(fewest(0..4, |index| loads[index]), Some(2));
        assert_eq!(full_scan(loads, &mut rng), Some(2));
        assert_eq!(full_scan([f64::NAN], &mut rng), Some(0));
        assert_eq!(full_scan([], &mut rng), None);
        for bias in [-1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(least_request_weight(1.0, 1, bias), 0.5);
        }
        assert_eq!(least_request_weight(1.0, u64::MAX, f64::INFINITY), 0.0);
    }

    proptest! {
        #[test]
        fn the_fewest_is_a_least_and_the_first_drawn(
            loads in prop::collection::vec(0_u8..5, 1..10),
            draws in prop::collection::vec(any::<prop::sample::Index>(), 1..10),
            seed: u64,
        ) {
            let draws: Vec<_> = draws.iter().map(|draw| draw.index(loads.len())).collect();
            let first = draws.iter().copied().min_by_key(|&index| loads[index]);
            prop_assert_eq!(fewest(draws, |index| f64::from(loads[index])), first);
            let best = full_scan(loads.iter().copied().map(f64::from), &mut Rng::new(seed)).unwrap();
            prop_assert_eq!(loads[best], *loads.iter().min().unwrap());
        }
    }
}
