//! What records mean, as arithmetic.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    net::IpAddr,
};

use super::{super::ip::is_of_a_host, name::ServiceName};
use crate::{endpoint::Endpoint, error::Error};

/// A host that serves, with its addresses.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) port: u16,
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) addresses: Vec<IpAddr>,
}

impl Target {
    pub(super) fn is_there(&self) -> bool {
        !self.addresses.is_empty()
    }
}

/// All numbers up to 6 divide it, so that a target with as many addresses is split evenly.
const PARTS: u32 = 60;
/// The weight of a target beside one of weight 0, which RFC 2782 gives "a very small chance".
const BESIDE_ZERO: u32 = 100;

/// One endpoint for each address, whatever the order of the records. The addresses of a target share its weight; an
/// address that several targets have belongs to the one of the best priority, and of these to the heaviest.
pub(super) fn endpoints(
    name: &ServiceName,
    mut targets: Vec<Target>,
) -> Result<Vec<Endpoint>, Error> {
    for target in &mut targets {
        target.addresses.sort_unstable();
    }
    // Servers turn their answers around, so that each comes first at times.
    targets
        .sort_by_cached_key(|of| (of.priority, Reverse(of.weight), of.port, of.addresses.clone()));
    let mut seen = HashSet::new();
    for target in &mut targets {
        let port = target.port;
        target.addresses.retain(|ip| port != 0 && is_usable(*ip) && seen.insert((*ip, port)));
    }
    targets.retain(Target::is_there);
    let mut of_priority = BTreeMap::<u16, Vec<&Target>>::new();
    for target in &targets {
        of_priority.entry(target.priority).or_default().push(target);
    }
    let mut found = Vec::new();
    for (priority, targets) in of_priority {
        let weights = weights(&targets);
        for (target, weight) in targets.into_iter().zip(weights) {
            for ip in &target.addresses {
                let endpoint = name.endpoint(*ip, target.port)?;
                found.push(endpoint.with_priority(priority.into()).with_weight(weight));
            }
        }
    }
    Ok(found)
}

/// A resolver that blocks a name answers with an address to listen at. Of an address of the link, DNS does not tell which.
fn is_usable(ip: IpAddr) -> bool {
    is_of_a_host(ip) && !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// The weight of each address of each target.
fn weights(targets: &[&Target]) -> Vec<u32> {
    let (zero, all_zero) = (
        targets.iter().any(|target| target.weight == 0),
        targets.iter().all(|target| target.weight == 0),
    );
    let unit = if zero { BESIDE_ZERO } else { 1 };
    let of = |target: &&Target| {
        let whole = match target.weight {
            0 => 1,
            weight if all_zero => weight.into(),
            weight => u32::from(weight) * unit,
        };
        let count = u32::try_from(target.addresses.len()).unwrap_or(u32::MAX);
        (whole * PARTS / count).max(1)
    };
    let weights: Vec<u32> = targets.iter().map(of).collect();
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    weights.into_iter().map(|weight| weight / divisor).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(port: u16, priority: u16, weight: u16, addresses: &[&str]) -> Target {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        Target { port, priority, weight, addresses }
    }

    fn found(targets: Vec<Target>) -> Vec<(String, u32, u32)> {
        let name = ServiceName::parse("_http._tcp.tax").unwrap();
        let endpoints = endpoints(&name, targets).unwrap();
        let told = |of: &Endpoint| (of.key().to_owned(), of.priority(), of.weight());
        let mut found: Vec<_> = endpoints.iter().map(told).collect();
        found.sort_unstable();
        found
    }

    fn expected(of: &[(&str, u32, u32)]) -> Vec<(String, u32, u32)> {
        of.iter().map(|(key, priority, weight)| ((*key).to_owned(), *priority, *weight)).collect()
    }

    #[test]
    fn weights_are_those_of_targets_however_many_addresses_they_have() {
        let targets = vec![
            target(80, 10, 20, &["10.0.0.1", "10.0.0.2"]),
            target(81, 10, 30, &["10.0.0.3"]),
            target(80, 20, 7, &["fd00::1"]),
        ];
        let all = [("10.0.0.1:80", 10, 1), ("10.0.0.2:80", 10, 1), ("10.0.0.3:81", 10, 3)];
        let mut all = all.to_vec();
        all.push(("[fd00::1]:80", 20, 1));
        assert_eq!(found(targets), expected(&all));
    }

    #[test]
    fn weight_zero_is_a_very_small_chance_and_all_zero_is_even() {
        let targets = vec![target(1, 0, 0, &["10.0.0.1"]), target(2, 0, 5, &["10.0.0.1"])];
        assert_eq!(found(targets), expected(&[("10.0.0.1:1", 0, 1), ("10.0.0.1:2", 0, 500)]));
        let targets = vec![target(1, 0, 0, &["10.0.0.1"]), target(2, 0, 0, &["10.0.0.1"])];
        assert_eq!(found(targets), expected(&[("10.0.0.1:1", 0, 1), ("10.0.0.1:2", 0, 1)]));
    }

    #[test]
    fn an_address_of_several_targets_belongs_to_the_best() {
        let targets = vec![
            target(1, 5, 9, &["10.0.0.1", "10.0.0.1"]),
            target(1, 0, 3, &["10.0.0.1"]),
            target(0, 0, 3, &["10.0.0.2"]),
        ];
        assert_eq!(found(targets), expected(&[("10.0.0.1:1", 0, 1)]));
    }

    #[test]
    fn what_is_no_address_of_a_host_takes_no_share() {
        let none = ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1", "fe80::1"];
        let targets =
            vec![target(1, 0, 1, &["0.0.0.0", "10.0.0.1", "fe80::1"]), target(2, 0, 1, &none)];
        assert_eq!(found(targets), expected(&[("10.0.0.1:1", 0, 1)]));
    }

    proptest! {
        #[test]
        fn the_order_of_records_changes_nothing(
            (all, turned) in prop::collection::vec(
                (80_u16..82, 0_u16..2, 0_u16..3, prop::collection::vec(0_u8..4, 0..4)),
                0..6,
            ).prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            let found = |all: Vec<(u16, u16, u16, Vec<u8>)>| {
                let targets = all.into_iter().map(|(port, priority, weight, hosts)| {
                    let addresses = hosts.into_iter().map(|of| [10, 0, 0, of].into()).collect();
                    Target { port, priority, weight, addresses }
                });
                found(targets.collect())
            };
            prop_assert_eq!(found(all), found(turned));
        }

        #[test]
        fn shares_are_those_of_the_targets(
            weights in prop::collection::vec((1_u16.., 1_usize..7), 1..8),
        ) {
            let targets: Vec<_> = weights.iter().zip(1_u16..).map(|((weight, count), port)| {
                let addresses = (0..*count).map(|n| IpAddr::from([10, 0, 0, n as u8])).collect();
                Target { port, priority: 0, weight: *weight, addresses }
            }).collect();
            let found = found(targets);
            let sum: f64 = found.iter().map(|(.., weight)| f64::from(*weight)).sum();
            let total: f64 = weights.iter().map(|(weight, _)| f64::from(*weight)).sum();
            for ((weight, _), port) in weights.iter().zip(1..) {
                let suffix = format!(":{port}");
                let of_target = found.iter().filter(|(key, ..)| key.ends_with(&suffix));
                let share: f64 = of_target.map(|(.., weight)| f64::from(*weight)).sum::<f64>() / sum;
                prop_assert!((share - f64::from(*weight) / total).abs() < 1e-9);
            }
        }
    }
}
