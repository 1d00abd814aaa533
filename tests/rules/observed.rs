//! Where programs sent keys that were asked over loopback, against the rules that say where they would.

use md5::{Digest, Md5};
use serde_json::Value;
use tower_upstream::rules::hash::{
    BoundedLoad, HashFunction, Maglev, Ring, RingSize, crc32, ketama, xxh64,
};

use super::*;

type Lookup = Box<dyn Fn(&[u8]) -> Option<usize>>;

/// The server that a key goes to by the rule of this dialect.
fn lookup(case: &Value, servers: &[(String, u32)]) -> Lookup {
    let by_xxh64 = |ring: Ring| -> Lookup { Box::new(move |key| ring.get(xxh64(key, 0))) };
    let by_crc32 = |ring: Ring| -> Lookup { Box::new(move |key| ring.get(crc32(key).into())) };
    let by_md5 = |ring: Ring| -> Lookup { Box::new(move |key| ring.get(ketama(key).into())) };
    match text(&case["dialect"]) {
        "maglev" => {
            let size = case["size"].as_u64().map_or(Maglev::DEFAULT_SIZE, |size| size as usize);
            let table = Maglev::with_size(servers, size).unwrap();
            Box::new(move |key| table.get(xxh64(key, 0)))
        }
        "ring" => {
            let function = match case["murmur"] == true {
                true => HashFunction::Murmur2,
                false => HashFunction::XxHash64,
            };
            let (min, max) = (number(&case["min"]) as u32, number(&case["max"]) as u32);
            by_xxh64(Ring::envoy(servers, RingSize { min, max, function }))
        }
        "nginx" => by_crc32(Ring::nginx(servers)),
        "resty" => by_crc32(Ring::resty(servers)),
        "libketama" => by_md5(Ring::libketama(servers)),
        "libmemcached" => by_md5(Ring::libmemcached(servers)),
        "skipper" => {
            let names: Vec<_> = servers.iter().map(|(name, _)| name).collect();
            by_xxh64(Ring::skipper(&names, 100))
        }
        other => panic!("{other} is no dialect"),
    }
}

fn servers(case: &Value) -> Vec<(String, u32)> {
    let server = |of: &Value| (text(&of[0]).to_owned(), number(&of[1]) as u32);
    list(&case["servers"]).iter().map(server).collect()
}

/// Of the keys `key-0`, `key-1` and so on, or the numbers from 1 on, where that was seen.
fn keys(case: &Value) -> Vec<String> {
    match (case["keys"].as_u64(), case["numbers"].as_u64()) {
        (Some(keys), _) => (0..keys).map(|key| format!("key-{key}")).collect(),
        (None, Some(numbers)) => (1..=numbers).map(|number| number.to_string()).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn keys_go_where_the_programs_sent_them() {
    for case in cases(include_str!("../vectors/hash_observed.json")) {
        let name = format!("{} {} {}", case["program"], case["dialect"], case["name"]);
        let servers = servers(&case);
        let lookup = lookup(&case, &servers);
        let keys = keys(&case);
        let picks: Vec<_> = keys.iter().map(|key| lookup(key.as_bytes()).unwrap()).collect();
        if !case["counts"].is_null() {
            let found = counts(servers.len(), picks.iter().copied());
            assert_eq!(found, numbers(&case["counts"]), "{name}");
        }
        if !case["md5"].is_null() {
            let lines: String = picks.iter().map(|pick| format!("{pick}\n")).collect();
            let digest = Md5::digest(lines);
            let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, text(&case["md5"]), "{name}");
        }
        assert!(!keys.is_empty() || !list(&case["also"]).is_empty(), "{name} compares nothing");
        for pair in case["also"].as_array().into_iter().flatten() {
            let key = text(&pair[0]).repeat(pair[2].as_u64().unwrap_or(1) as usize);
            let found = lookup(key.as_bytes());
            assert_eq!(found, Some(number(&pair[1]) as usize), "{name}: {}", pair[0]);
        }
    }
}

#[test]
fn calls_that_are_held_spill_where_envoy_sent_them() {
    let (mut spilled, mut all) = (0, 0);
    for case in cases(include_str!("../vectors/hash_observed_bounded.json")) {
        let servers = servers(&case);
        let lookup = lookup(&case, &servers);
        let bound = BoundedLoad::of_percent(number(&case["percent"]) as u32).unwrap().unwrap();
        let total: f64 = servers.iter().map(|(_, weight)| f64::from(*weight)).sum();
        for (at, pick) in list(&case["picks"]).iter().enumerate() {
            let (key, loads) = (format!("key-{}", pick[0]), numbers(&pick[1]));
            let active = loads.iter().sum();
            let overload = |index: usize| {
                let slots = bound.slots(active, f64::from(servers[index].1) / total);
                loads[index] as f64 / f64::from(slots)
            };
            let first = lookup(key.as_bytes()).unwrap();
            let hash = xxh64(key.as_bytes(), 0);
            let found = BoundedLoad::choose(hash, first, servers.len(), overload);
            assert_eq!(found as u64, number(&pick[2]), "{} {at}: {pick}", case["name"]);
            spilled += usize::from(found != first);
            all += 1;
        }
    }
    assert!(spilled * 5 > all, "{spilled} of {all} tell little");
}
