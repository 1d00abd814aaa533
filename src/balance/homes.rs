//! Which of the groups that share the load a call goes to: a rule over the load of each.

use std::mem;

use crate::sync::{weighed, wyrand};

/// A group by its id, with the load of it and all before it.
type Until = ((u32, u32), u32);

/// That of a number below the load of all.
pub(super) fn drawn(number: u32, mut groups: impl Iterator<Item = Until>) -> usize {
    groups.position(|(_, until)| number < until).unwrap_or(0)
}

/// That of all calls with this hash. Each group has calls in proportion to its load, and if that changes, only
/// the difference goes elsewhere.
pub(super) fn at_home(hash: u64, groups: impl Iterator<Item = Until>) -> usize {
    // Not the hash itself, which decides on the candidate in the group.
    let (_, hash) = wyrand(hash);
    let mut before = 0;
    let numbers = groups.map(|((tier, zone), until)| {
        let load = until - mem::replace(&mut before, until);
        let (_, id) = wyrand(u64::from(tier) << 32 | u64::from(zone));
        weighed(wyrand(hash ^ id).1, f64::from(load))
    });
    let highest = numbers.enumerate().max_by(|one, other| one.1.total_cmp(&other.1));
    highest.map_or(0, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The homes of some keys, where the groups are those of `loads` with their numbers as ids.
    fn homes(loads: &[u32]) -> Vec<usize> {
        let until = |number: usize| loads[..=number].iter().sum();
        let groups = || (0..loads.len()).map(|number| ((0, number as u32), until(number)));
        (0..2_000).map(|hash| at_home(hash, groups())).collect()
    }

    proptest! {
        #[test]
        fn each_group_has_its_share_and_one_that_changes_moves_the_difference_alone(
            mut loads in prop::collection::vec(1_u32..100, 2..6),
            changed: prop::sample::Index,
            now in 0_u32..100,
        ) {
            let before = homes(&loads);
            let all: u32 = loads.iter().sum();
            for (group, load) in loads.iter().enumerate() {
                let share = before.iter().filter(|home| **home == group).count() as f64 / 2_000.0;
                prop_assert!((share - f64::from(*load) / f64::from(all)).abs() < 0.06, "{share}");
            }
            let changed = changed.index(loads.len());
            let is_less = now < loads[changed];
            loads[changed] = now;
            for (before, after) in before.into_iter().zip(homes(&loads)) {
                let moved = if is_less { before == changed } else { after == changed };
                prop_assert!(before == after || moved);
            }
        }
    }
}
