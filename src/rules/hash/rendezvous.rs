use super::functions::xxh64;
use crate::sync::{weighed, wyrand};

/// The endpoint with the highest number for a key: of those that are left, each keeps its keys.
///
/// No table: a lookup computes a number for each endpoint, so it is meant for a few dozen of them. Source: Thaler
/// and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates" (1998); with weights, Schindelhauer
/// and Schomaker, "Weighted Distributed Hash Tables" (2005).
///
/// ```
/// use tower_upstream::rules::hash::{Rendezvous, xxh64};
/// let of = Rendezvous::new(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 1), ("10.0.0.3:80", 1)]);
/// let first = of.get(xxh64(b"user-1", 0), |_| true);
/// let second = of.get(xxh64(b"user-1", 0), |index| Some(index) != first);
/// assert_ne!(first, second);
/// ```
#[derive(Debug, Clone)]
pub struct Rendezvous {
    /// The hash of each, and its weight.
    endpoints: Box<[(u64, u32)]>,
    is_even: bool,
}

impl Rendezvous {
    /// Creates the rule for hosts as they are written, with weights. Of weight 0 gets nothing, unless all
    /// are.
    pub fn new<S: AsRef<str>>(hosts: &[(S, u32)]) -> Self {
        let hash = |host: &S| xxh64(host.as_ref().as_bytes(), 0);
        let is_even = hosts.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let endpoints = hosts.iter().map(|(host, weight)| (hash(host), *weight)).collect();
        Self { endpoints, is_even }
    }

    /// Returns the endpoint that `hash` goes to, of those that `may_be`, by its index.
    ///
    /// ```
    /// use tower_upstream::rules::hash::Rendezvous;
    /// assert_eq!(Rendezvous::new(&[("a:80", 1)]).get(7, |_| true), Some(0));
    /// assert_eq!(Rendezvous::new(&[("a:80", 1)]).get(7, |_| false), None);
    /// ```
    pub fn get(&self, hash: u64, may_be: impl Fn(usize) -> bool) -> Option<usize> {
        let number = |&(of, weight): &(u64, u32)| {
            let (_, number) = wyrand(of ^ hash);
            if self.is_even {
                return number as f64;
            }
            weighed(number, f64::from(weight))
        };
        let numbers = self.endpoints.iter().enumerate().filter(|(index, _)| may_be(*index));
        let numbers = numbers.map(|(index, endpoint)| (number(endpoint), index));
        numbers.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(weights: &[u32]) -> Vec<(String, u32)> {
        weights
            .iter()
            .enumerate()
            .map(|(index, &weight)| (format!("10.0.0.{index}:80"), weight))
            .collect()
    }

    #[test]
    fn each_gets_the_share_of_its_weight() {
        for weights in [[1, 1, 1, 1], [1, 2, 0, 5]] {
            let of = Rendezvous::new(&hosts(&weights));
            let mut counts = [0_u32; 4];
            for key in 0..80_000_u64 {
                counts[of.get(xxh64(&key.to_le_bytes(), 0), |_| true).unwrap()] += 1;
            }
            let total: u32 = weights.iter().sum();
            for (count, weight) in counts.into_iter().zip(weights) {
                assert!(count.abs_diff(80_000 * weight / total) < 800, "{counts:?}");
            }
        }
    }

    #[test]
    fn one_that_leaves_moves_its_own_keys_alone() {
        let of = Rendezvous::new(&hosts(&[1, 3, 2, 2]));
        for key in (0..10_000_u64).map(|key| xxh64(&key.to_le_bytes(), 0)) {
            let (before, after) = (of.get(key, |_| true), of.get(key, |index| index != 2));
            assert!(before == Some(2) || before == after);
        }
    }
}
