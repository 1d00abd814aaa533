use std::{cmp::Ordering, collections::BinaryHeap};

/// Weighted round robin by earliest deadline first, as in Envoy: weights may be fractions, and may change
/// from pick to pick.
///
/// Each entry has a deadline. The earliest is picked, the scheduler's time advances to it, and the entry
/// goes back with the deadline `time + 1 / weight`, with the weight that it has then. O(log n) per pick.
///
/// Source: Envoy, `edf_scheduler.h`. Of equal deadlines the lighter entry goes first, and entries of the same
/// weight in their order. Envoy gets this by adding 1e-13 to the weights at the start, which rounding takes
/// away from weights of ten or more; here the first deadline is `(1 - 1e-7) / weight`, so that it holds for
/// all weights, also for a third that is written as 0.333333333. Both give every sequence of Envoy's own tests.
///
/// # Bounds
/// A weight that is not above 0 (or is NaN) keeps an entry out of the schedule. Others are clamped to
/// 1e-6..=1e12.
///
/// ```
/// use tower_upstream::rules::Edf;
/// let weights = [2.0, 1.0, 3.0];
/// let mut turns = Edf::new(&weights);
/// let picks: Vec<_> = (0..6).filter_map(|_| turns.pick(|index| weights[index])).collect();
/// assert_eq!(picks, [2, 0, 2, 1, 0, 2]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Edf {
    heap: BinaryHeap<Entry>,
    time: f64,
    /// Of the next entry that is put in.
    order: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    deadline: f64,
    order: u64,
    index: usize,
}

/// What the first deadlines are earlier by, as a share.
const EARLY: f64 = 1e-7;

/// Beyond this time, deadlines are counted from 0 again, so that they stay exact for ever.
const REBASE_AT: f64 = 1e6;

impl Edf {
    /// Schedules entries `0..weights.len()`.
    pub fn new(weights: &[f64]) -> Self {
        Self::with_picks(weights, 0)
    }

    /// Like [`new`](Self::new), after `picks` picks. With a random number of them, many clients that start
    /// together do not all pick the same first.
    ///
    /// O(n log n), whatever the number of picks.
    ///
    /// ```
    /// use tower_upstream::rules::Edf;
    /// let mut turns = Edf::with_picks(&[1.0, 2.0], 1_000_000);
    /// assert_eq!(turns.pick(|_| 1.0), Some(0));
    /// ```
    pub fn with_picks(weights: &[f64], picks: u32) -> Self {
        let total: f64 = weights.iter().filter_map(|&weight| usable(weight)).sum();
        let (target, mut done) = (f64::from(picks), 0.0);
        let mut edf = Self { order: weights.len() as u64, ..Self::default() };
        // First what each has been picked for certain, then the rest, one after the other.
        for (index, weight) in weights.iter().enumerate() {
            let Some(weight) = usable(*weight) else { continue };
            let mut times = (weight / total * target).floor();
            if times > 0.0 && times / weight >= target / total {
                times -= 1.0;
            }
            let deadline = (times + 1.0 - EARLY) / weight;
            edf.heap.push(Entry { deadline, order: index as u64, index });
            if times > 0.0 {
                edf.time = edf.time.max((times - EARLY) / weight);
            }
            done += times;
        }
        while done < target
            && edf.pick(|index| weights.get(index).copied().unwrap_or(0.0)).is_some()
        {
            done += 1.0;
        }
        edf
    }

    /// Picks the next entry, and puts it back with the weight that `weight` returns for it. If that is not
    /// above 0, the entry leaves the schedule.
    pub fn pick(&mut self, weight: impl FnOnce(usize) -> f64) -> Option<usize> {
        let Entry { deadline, index, .. } = self.heap.pop()?;
        self.time = self.time.max(deadline);
        self.push(index, weight(index));
        Some(index)
    }

    /// Returns the entry that [`pick`](Self::pick) would return.
    pub fn peek(&self) -> Option<usize> {
        self.heap.peek().map(|entry| entry.index)
    }

    /// Puts the entry `index` in, or moves it to where this weight has it. O(n).
    ///
    /// ```
    /// use tower_upstream::rules::Edf;
    /// let mut turns = Edf::new(&[1.0]);
    /// turns.insert(1, 4.0);
    /// assert_eq!(turns.peek(), Some(1));
    /// turns.remove(1);
    /// assert_eq!((turns.peek(), turns.len()), (Some(0), 1));
    /// ```
    pub fn insert(&mut self, index: usize, weight: f64) {
        self.remove(index);
        self.push(index, weight);
    }

    /// Takes the entry `index` out. O(n).
    pub fn remove(&mut self, index: usize) {
        self.heap.retain(|entry| entry.index != index);
    }

    /// Returns the number of entries in the schedule.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Returns whether the schedule has no entry.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    fn push(&mut self, index: usize, weight: f64) {
        let Some(weight) = usable(weight) else { return };
        if self.time > REBASE_AT {
            let start = std::mem::take(&mut self.time);
            let entries = std::mem::take(&mut self.heap).into_iter();
            self.heap =
                entries.map(|entry| Entry { deadline: entry.deadline - start, ..entry }).collect();
        }
        let (deadline, order) = (self.time + 1.0 / weight, self.order);
        self.order += 1;
        self.heap.push(Entry { deadline, order, index });
    }
}

fn usable(weight: f64) -> Option<f64> {
    (weight > 0.0).then(|| weight.clamp(1e-6, 1e12))
}

impl Ord for Entry {
    /// The greatest is the earliest, then the first.
    fn cmp(&self, other: &Self) -> Ordering {
        let deadlines = other.deadline.total_cmp(&self.deadline);
        deadlines.then_with(|| other.order.cmp(&self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn picks(edf: &mut Edf, weights: &[f64], number: usize) -> Vec<usize> {
        (0..number).filter_map(|_| edf.pick(|index| weights[index])).collect()
    }

    #[test]
    fn absurd_weights_do_no_harm() {
        assert_eq!(Edf::new(&[]).pick(|_| 1.0), None);
        let weights = [f64::NAN, -1.0, 0.0, f64::INFINITY, f64::MIN_POSITIVE];
        let mut edf = Edf::with_picks(&weights, u32::MAX);
        assert_eq!(edf.len(), 2);
        assert!(picks(&mut edf, &weights, 1_000).iter().all(|&index| index == 3));
        assert_eq!(edf.pick(|_| f64::NAN), Some(3));
        assert_eq!((edf.pick(|_| 1.0), edf.len()), (Some(4), 1));
    }

    #[test]
    fn it_stays_exact_when_time_begins_anew() {
        let weights = [1e-3, 2e-3];
        let mut edf = Edf::new(&weights);
        let counts = picks(&mut edf, &weights, 9_000).iter().filter(|&&index| index == 0).count();
        assert!(edf.time < REBASE_AT && (2_999..=3_001).contains(&counts), "{counts}");
    }

    proptest! {
        /// The model looks for the least with exact fractions: of equal deadlines the lighter, then the
        /// first that was put in.
        #[test]
        fn it_is_the_earliest_deadline(weights in prop::collection::vec(1_u64..12, 1..6)) {
            let floats: Vec<_> = weights.iter().map(|&weight| weight as f64).collect();
            let scale: u64 = weights.iter().product();
            let mut due: Vec<_> = weights.iter().map(|weight| scale / weight).collect();
            let mut order: Vec<_> = (0..weights.len()).collect();
            let mut edf = Edf::new(&floats);
            for turn in 0..200 {
                let next = (0..weights.len()).min_by_key(|&i| (due[i], weights[i], order[i])).unwrap();
                prop_assert_eq!(edf.pick(|index| floats[index]), Some(next));
                due[next] += scale / weights[next];
                order[next] = weights.len() + turn;
            }
        }

        #[test]
        fn picks_beforehand_are_picks(
            weights in prop::collection::vec(1_u64..12, 1..6),
            picked in 0_u32..300,
        ) {
            let weights: Vec<_> = weights.iter().map(|&weight| weight as f64).collect();
            let mut one = Edf::new(&weights);
            picks(&mut one, &weights, picked as usize);
            let mut other = Edf::with_picks(&weights, picked);
            prop_assert_eq!(picks(&mut one, &weights, 100), picks(&mut other, &weights, 100));
        }
    }
}
