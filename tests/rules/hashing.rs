//! Keys that stay at their endpoint: Maglev, libketama, bounded load.

use std::fmt::Write;

use md5::{Digest, Md5};
use serde_json::Value;
use tower_upstream::rules::hash::{BoundedLoad, Maglev, MaglevTurns, ProbeOrder, Ring, ketama};

use super::*;

fn hosts(value: &Value) -> Vec<(String, u32)> {
    let of = |host: &Value| (text(&host["key"]).to_owned(), number(&host["weight"]) as u32);
    list(value).iter().map(of).collect()
}

fn owners(table: &Maglev) -> impl Iterator<Item = usize> + '_ {
    table.slots().iter().map(|&owner| owner as usize)
}

fn filled(counts: &[u64]) -> (u64, u64) {
    (*counts.iter().min().unwrap(), *counts.iter().max().unwrap())
}

#[test]
fn maglev() {
    let cases = cases(include_str!("../vectors/maglev.json"));
    for case in &cases {
        let (name, expect) = (text(&case["name"]), &case["expect"]);
        let size = case["table_size"].as_u64().unwrap_or(0) as usize;
        match text(&case["kind"]) {
            "table" => {
                let hosts = hosts(&case["hosts"]);
                let table = Maglev::with_size(&hosts, size).unwrap();
                let found: Vec<_> = owners(&table).collect();
                assert_eq!(found, indices(&case["expect_table"]), "{name}");
                if !case["counts"].is_null() {
                    assert_eq!(counts(hosts.len(), found), numbers(&case["counts"]), "{name}");
                }
            }
            "lookup" => {
                let of = cases.iter().find(|of| of["name"] == case["table_of"]).unwrap();
                let table = Maglev::with_size(&hosts(&of["hosts"]), 7).unwrap();
                for pair in list(expect) {
                    let found = table.get(number(&pair["hash"]));
                    assert_eq!(found, Some(number(&pair["host_index"]) as usize), "{name}");
                }
            }
            "counts" if case["hosts"].is_null() => {
                assert_eq!(case["hosts_rule"], "one host weight 127, 1023 hosts sharing weight 1");
                let light =
                    (0..1_023).map(|index| (format!("10.1.{}.{}:80", index / 256, index % 256), 1));
                let hosts: Vec<_> =
                    std::iter::once(("10.0.0.1:80".to_owned(), 127 * 1_023)).chain(light).collect();
                let table = Maglev::with_size(&hosts, size).unwrap();
                let counts = counts(hosts.len(), owners(&table));
                assert_eq!(counts[0], number(&expect["heavy"]), "{name}");
                let light = number(&expect["light_each"]);
                assert!(counts[1..].iter().all(|count| *count == light), "{name}");
            }
            "counts" => {
                let hosts = hosts(&case["hosts"]);
                let table = Maglev::with_size(&hosts, size).unwrap();
                assert_eq!(counts(hosts.len(), owners(&table)), numbers(expect), "{name}");
            }
            "rule" => {
                assert_eq!(Maglev::DEFAULT_SIZE as u64, number(&expect["default"]), "{name}");
                for size in indices(&expect["rejected"]) {
                    assert!(Maglev::with_size(&[("a:80", 1)], size).is_err(), "{name}");
                }
            }
            "populate" => {
                let orders: Vec<_> = list(&case["permutations"]).iter().map(indices).collect();
                let of_living = |dead: &[usize]| {
                    let weight = |index| u32::from(!dead.contains(&index));
                    let weights: Vec<_> = (0..orders.len()).map(weight).collect();
                    let table = Maglev::populate(&orders, &weights, MaglevTurns::default());
                    owners(&table).collect::<Vec<_>>()
                };
                let dead = case["dead"].as_array().map(|_| indices(&case["dead"]));
                let found = of_living(&dead.unwrap_or_default());
                assert_eq!(found, indices(&case["expect_table"]), "{name}");
                if !case["after_removing_B1"].is_null() {
                    assert_eq!(of_living(&[1]), indices(&case["after_removing_B1"]), "{name}");
                }
            }
            "spread" => {
                let reals: Vec<_> =
                    (0..number(&case["reals"])).map(|of| (format!("r{of}"), 1)).collect();
                let table = Maglev::with_size(&reals, size).unwrap();
                let (least, most) = filled(&counts(reals.len(), owners(&table)));
                assert!(most - least <= number(&expect["max_minus_min"]), "{name}");
            }
            "counts_alg" => {
                let orders: Vec<_> =
                    (0..2).map(|of| (0..7).map(|at| (at * (of + 2)) % 7).collect()).collect();
                let found = |turns| {
                    let orders: &Vec<Vec<usize>> = &orders;
                    counts(2, owners(&Maglev::populate(orders, &[2, 1], turns)))
                };
                assert_eq!(found(MaglevTurns::FirstRound), numbers(&expect["maglev_v1"]), "{name}");
                assert_eq!(found(MaglevTurns::AddedUp), numbers(&expect["maglev_v2"]), "{name}");
            }
            "disruption_reference" => {
                let (count, size) =
                    (number(&expect["hosts"]), number(&expect["table_size"]) as usize);
                let hosts: Vec<_> = (0..count).map(|of| (format!("10.0.0.{of}:80"), 1)).collect();
                let left = hosts.len() - number(&expect["removed"]) as usize;
                let before = Maglev::with_size(&hosts, size).unwrap();
                let after = Maglev::with_size(&hosts[..left], size).unwrap();
                let (least, most) = filled(&counts(hosts.len(), owners(&before)));
                assert_eq!(
                    (least, most),
                    (number(&expect["min_entries"]), number(&expect["max_entries"])),
                    "{name}"
                );
                let pairs = || owners(&before).zip(owners(&after));
                let lost = pairs().filter(|(before, _)| *before >= left).count();
                let moved =
                    pairs().filter(|(before, after)| *before < left && before != after).count();
                assert_eq!(lost as u64, number(&expect["lost_slots"]), "{name}");
                assert_eq!(moved as u64, number(&expect["extra_moved_slots"]), "{name}");
            }
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn libketama() {
    let text_of_file = include_str!("../vectors/ketama_libketama.json");
    let file: Value = serde_json::from_str(text_of_file).unwrap();
    let servers: Vec<_> = list(&file["servers"])
        .iter()
        .map(|server| (text(&server["addr"]), number(&server["memory"]) as u32))
        .collect();
    let ring = Ring::libketama(&servers);
    assert_eq!(ring.points().len() as u64, number(&file["ring_points"]));
    let mut points = counts(servers.len(), ring.points().iter().map(|(_, owner)| *owner as usize));
    points.iter_mut().for_each(|count| *count /= 4);
    let groups: Vec<_> =
        list(&file["servers"]).iter().map(|server| number(&server["ks"])).collect();
    assert_eq!(points, groups);
    for (expected, &(point, owner)) in list(&file["first_points"]).iter().zip(ring.points()) {
        assert_eq!(point, number(&expected["point"]));
        assert_eq!(servers[owner as usize].0, text(&expected["server"]));
    }
    let find = |hash: u32| {
        let point = ring.points().partition_point(|(point, _)| *point < u64::from(hash));
        let (point, owner) = ring.points().get(point).unwrap_or(&ring.points()[0]);
        assert_eq!(ring.get(hash.into()), Some(*owner as usize));
        (*point, servers[*owner as usize].0)
    };
    for case in cases(text_of_file) {
        let hash = ketama(text(&case["key"]).as_bytes());
        assert_eq!(u64::from(hash), number(&case["hash"]), "{case}");
        assert_eq!(find(hash), (number(&case["point"]), text(&case["server"])), "{case}");
    }
    // What the project's own test prints and hashes.
    let (mut digest, mut lines) = (Md5::new(), String::from("\n"));
    let mut counts = std::collections::BTreeMap::<_, u64>::new();
    for key in 0..1_000_000 {
        let hash = ketama(key.to_string().as_bytes());
        let (point, server) = find(hash);
        *counts.entry(server).or_default() += 1;
        writeln!(lines, "{hash} {point} {server}").unwrap();
        if lines.len() > 1 << 16 {
            digest.update(&lines);
            lines.clear();
        }
    }
    digest.update(&lines);
    let found = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(found, text(&file["expect_md5"]));
    for (server, count) in counts {
        assert_eq!(count, number(&file["expect_counts"][server]), "{server}");
    }
}

#[test]
fn bounded_load() {
    for case in cases(include_str!("../vectors/bounded_load.json")) {
        let (name, expect) = (text(&case["name"]), &case["expect"]);
        match text(&case["kind"]) {
            "probe_order" => {
                let order = ProbeOrder::new(number(&case["hash"]), number(&case["hosts"]) as usize);
                assert_eq!(order.collect::<Vec<_>>(), indices(expect), "{name}");
            }
            "pick" => {
                let overload = floats(&case["overload_factor"]);
                let (hash, first) = (number(&case["hash"]), number(&case["first_choice"]) as usize);
                let found =
                    BoundedLoad::choose(hash, first, overload.len(), |index| overload[index]);
                assert_eq!(found as u64, number(expect), "{name}");
            }
            "slots" => {
                let percent = number(&case["hash_balance_factor"]) as u32;
                let bound = BoundedLoad::of_percent(percent).unwrap().unwrap();
                let share = float(&case["normalized_weight"]);
                let slots = bound.slots(number(&case["cluster_active"]), share);
                assert_eq!(u64::from(slots), number(expect), "{name}");
            }
            "rule" => {
                let min = number(&expect["envoy_min"]) as u32;
                assert!(BoundedLoad::of_percent(min).unwrap().is_some(), "{name}");
                assert!(BoundedLoad::of_percent(min - 1).is_err(), "{name}");
                let off = number(&expect["haproxy_off"]) as u32;
                assert_eq!(BoundedLoad::of_percent(off).unwrap(), None, "{name}");
                for percent in numbers(&expect["haproxy_typical"]) {
                    let bound = BoundedLoad::of_percent(percent as u32).unwrap().unwrap();
                    assert_eq!(bound.factor(), percent as f64 / 100.0, "{name}");
                }
            }
            other => panic!("{name}: {other}"),
        }
    }
}
