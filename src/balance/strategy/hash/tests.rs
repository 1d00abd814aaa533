use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    super::{
        Candidates, Pick, Strategy,
        tests::{obeys, of},
    },
    *,
};
use crate::{
    choose::Tried,
    endpoint::{Endpoint, Status},
    member::Member,
    rules::hash::{
        BoundedLoad, FadeIn, HashFunction, Maglev, Ring, RingSize, crc32, ketama, xxh64,
    },
    time,
};

const SCHEMES: [HashScheme; 8] = [
    HashScheme::Maglev { size: 65_537 },
    HashScheme::Ring(RingSize { min: 1_024, max: 8 << 20, function: HashFunction::Murmur2 }),
    HashScheme::Libketama,
    HashScheme::Libmemcached,
    HashScheme::Nginx,
    HashScheme::Skipper { points: 100 },
    HashScheme::Rendezvous,
    HashScheme::Modulo,
];

pub(super) fn endpoints(range: std::ops::Range<usize>) -> Vec<Arc<Member>> {
    of(range.map(|index| {
        Endpoint::new(format!("10.0.0.{index:03}:80").replace(".0.0.0", ".0.0.")).unwrap()
    }))
}

pub(super) fn choose<K>(
    strategy: &ConsistentHash<K>,
    table: &ConsistentHashTable,
    members: &[Arc<Member>],
    key: u64,
) -> usize
where
    ConsistentHash<K>: Pick<u64, Table = ConsistentHashTable>,
{
    let tried = Tried::default();
    strategy.pick(table, Candidates::new(members, u64::MAX, &tried), &key).unwrap()
}

#[test]
fn each_scheme_obeys() {
    let tiny = HashScheme::Ring(RingSize { min: 1, max: 2, ..RingSize::default() });
    for scheme in SCHEMES.into_iter().chain([tiny]) {
        obeys(&ConsistentHash::by_key(|_: &()| "key").with_scheme(scheme));
        obeys(
            &ConsistentHash::by_key(crate::key::optional(|_: &()| None::<u8>)).with_scheme(scheme),
        );
    }
}

#[test]
fn a_key_stays_where_it_is_and_keys_of_one_that_leaves_alone_move() {
    for scheme in SCHEMES {
        let strategy = ConsistentHash::by_key(|key: &u64| *key).with_scheme(scheme);
        let all = endpoints(1..21);
        let table = strategy.table(&all, None);
        let left: Vec<_> =
            all.iter().filter(|member| !member.key().contains("007")).cloned().collect();
        let out = strategy.table_among(&left, &all, Some(&table));
        let gone = strategy.table(&left, Some(&out));
        let (mut moved, mut others) = (0, 0);
        for key in 0..10_000 {
            let before = choose(&strategy, &table, &all, key);
            assert_eq!(choose(&strategy, &table, &all, key), before);
            let after = choose(&strategy, &out, &left, key);
            let depends_on_all = matches!(
                scheme,
                HashScheme::Libketama | HashScheme::Libmemcached | HashScheme::Ring(_)
            );
            if !depends_on_all {
                assert_eq!(choose(&strategy, &gone, &left, key), after, "{scheme:?}");
            }
            if before == 6 {
                moved += 1;
            } else {
                others += usize::from(!Arc::ptr_eq(&all[before], &left[after]));
            }
        }
        assert!((200..1_000).contains(&moved), "{scheme:?}: {moved}");
        let most = match scheme {
            HashScheme::Modulo => 10_000,
            HashScheme::Maglev { .. } => 60,
            _ => 0,
        };
        assert!(others <= most, "{scheme:?}: {others}");
    }
}

type Hash = fn(&[u8]) -> u64;
type Peer = Box<dyn Fn(&[u8]) -> Option<usize>>;

#[test]
fn a_text_goes_where_other_systems_send_it() {
    let members = endpoints(1..26);
    let hosts: Vec<_> = members.iter().map(|member| (member.key().to_owned(), 1)).collect();
    let urls: Vec<_> = members.iter().map(|member| format!("http://{}", member.key())).collect();
    let murmur = RingSize { function: HashFunction::Murmur2, ..RingSize::default() };
    let maglev = Maglev::new(&hosts);
    let by_xxh64: Hash = |key| xxh64(key, 0);
    let by_crc32: Hash = |key| crc32(key).into();
    let by_md5: Hash = |key| ketama(key).into();
    let ring = |ring: Ring, hash: Hash| -> Peer { Box::new(move |key| ring.get(hash(key))) };
    let peers = [
        (HashScheme::default(), Box::new(move |key: &[u8]| maglev.get(by_xxh64(key))) as Peer),
        (HashScheme::Ring(murmur), ring(Ring::envoy(&hosts, murmur), by_xxh64)),
        (HashScheme::Libketama, ring(Ring::libketama(&hosts), by_md5)),
        (HashScheme::Libmemcached, ring(Ring::libmemcached(&hosts), by_md5)),
        (HashScheme::Nginx, ring(Ring::nginx(&hosts), by_crc32)),
        (HashScheme::Skipper { points: 100 }, ring(Ring::skipper(&urls, 100), by_xxh64)),
    ];
    for (scheme, peer) in peers {
        let strategy =
            ConsistentHash::by_key(|key: &u64| format!("user-{key}")).with_scheme(scheme);
        let table = strategy.table(&members, None);
        for key in 0..1_000 {
            let expected = peer(format!("user-{key}").as_bytes());
            let chosen = choose(&strategy, &table, &members, key);
            assert_eq!(Some(chosen), expected, "{scheme:?}: {key}");
        }
    }
}

#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn newcomers_get_their_keys_little_by_little_and_none_comes_back() {
    for scheme in SCHEMES.into_iter().filter(|scheme| *scheme != HashScheme::Modulo) {
        let fade_in = FadeIn { window: Duration::from_secs(32), exponent: 1.0 };
        let strategy = ConsistentHash::by_key(|key: &u64| *key)
            .with_scheme(scheme)
            .with_bounded_load(None)
            .with_fade_in(fade_in);
        let all = endpoints(1..13);
        let mut table = strategy.table(&[], None);
        table = strategy.table(&all[..8], Some(&table));
        assert_eq!(strategy.renew_after(&table), None, "the first are no newcomers");
        let old: Vec<_> = (0..4_000).map(|key| choose(&strategy, &table, &all[..8], key)).collect();
        tokio::time::advance(fade_in.window).await;
        table = strategy.table(&all[..10], Some(&table));
        let start = time::now();
        let mut homes: HashMap<u64, Vec<usize>> = HashMap::new();
        let (mut len, mut came_back) = (10, 0);
        for step in 0..60 {
            assert_eq!(strategy.renew_after(&table), Some(Duration::from_secs(1)), "{step}");
            if step == 16 {
                len = 12;
            }
            table = strategy.table(&all[..len], Some(&table));
            let mut new = [0; 12];
            for key in 0..4_000 {
                let at = choose(&strategy, &table, &all[..len], key);
                new[at] += 1;
                let homes = homes.entry(key).or_insert_with(|| vec![old[key as usize]]);
                if homes.last() != Some(&at) {
                    came_back += usize::from(homes.contains(&at));
                    homes.push(at);
                }
            }
            let elapsed = time::now() - start;
            let first: usize = new[8..10].iter().sum();
            let all_of_theirs = 4_000 * 2 / len;
            if step == 0 {
                assert_eq!(first, 0, "{scheme:?}");
            } else if step == 15 {
                let share = first as f64 / all_of_theirs as f64;
                assert!((0.3..0.65).contains(&share), "{scheme:?}: {share} after {elapsed:?}");
            } else if step == 40 {
                let second: usize = new[10..].iter().sum();
                assert!(second * 3 < first * 3 && second > 100, "{scheme:?}: {new:?}");
            }
            if strategy.renew_after(&table).is_none() {
                break;
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(strategy.renew_after(&table), None, "{scheme:?}: it has an end");
        // Where the places of others depend on how many there are, some of them move, too.
        let most = match scheme {
            HashScheme::Maglev { .. } => 40,
            HashScheme::Ring(_) => 100,
            _ => 0,
        };
        assert!(came_back <= most, "{scheme:?}: {came_back}");
        let fresh = strategy.table(&all, None);
        for key in 0..4_000 {
            let at = choose(&strategy, &table, &all, key);
            assert_eq!(at, choose(&strategy, &fresh, &all, key), "its final place");
        }
    }
}

#[test]
fn no_endpoint_has_more_than_its_bound_and_a_spilled_key_spills_to_the_same() {
    for scheme in SCHEMES {
        let bound = BoundedLoad::new(1.5);
        let strategy =
            ConsistentHash::by_key(|key: &u64| *key).with_scheme(scheme).with_bounded_load(bound);
        let members = endpoints(1..6);
        let table = strategy.table(&members, None);
        let first = choose(&strategy, &table, &members, 7);
        let hash = Pick::affinity(&strategy, &7).unwrap();
        let urls: Vec<_> =
            members.iter().map(|member| format!("http://{}", member.key())).collect();
        let mut flights = Vec::new();
        let mut counts = [0_u32; 5];
        for call in 1..=50_u32 {
            let at = choose(&strategy, &table, &members, 7);
            let active = u64::from(call) - 1;
            let expected = match scheme {
                HashScheme::Skipper { points } => {
                    let mean = bound.mean(active, 5);
                    let has_room = |of: &usize| f64::from(counts[*of]) <= mean;
                    Ring::skipper(&urls, points).walk(hash).find(has_room).unwrap()
                }
                _ => BoundedLoad::choose(hash, first, 5, |of| {
                    f64::from(counts[of]) / f64::from(bound.slots(active, 0.2))
                }),
            };
            assert_eq!(at, expected, "{scheme:?}: call {call}, {counts:?}");
            counts[at] += 1;
            flights.push(members[at].begin());
            let most = (f64::from(call) * 1.5 / 5.0).ceil() + 1.0;
            assert!(counts.iter().all(|count| f64::from(*count) <= most), "{scheme:?}: {counts:?}");
        }
        drop(flights);
        assert_eq!(choose(&strategy, &table, &members, 7), first, "{scheme:?}: it comes home");
    }
}

#[test]
fn what_was_added_up_before_a_burst_holds_no_call_up_and_piles_none_up() {
    for scheme in [HashScheme::default(), HashScheme::Skipper { points: 100 }] {
        let strategy = ConsistentHash::by_key(|key: &u64| *key).with_scheme(scheme);
        let members = endpoints(1..401);
        let table = strategy.table(&members, None);
        // The task of the set has no time to look.
        let _flights: Vec<_> = (0..6_000)
            .map(|key| members[choose(&strategy, &table, &members, key % 50)].begin())
            .collect();
        let loads: Vec<_> = members.iter().map(|member| member.in_flight()).collect();
        let most = BoundedLoad::default().slots(6_000, 1.0 / 400.0) + 1;
        assert!(loads.iter().all(|load| *load <= most), "{scheme:?}: {loads:?}");
    }
}

#[test]
fn weights_are_those_of_discovery_or_an_operator_and_none_is_left_without_keys() {
    let schemes = SCHEMES
        .into_iter()
        .filter(|scheme| !matches!(scheme, HashScheme::Skipper { .. } | HashScheme::Modulo));
    for scheme in schemes {
        let strategy = ConsistentHash::by_key(|key: &u64| *key).with_scheme(scheme);
        let endpoint = |index: usize| {
            let endpoint = Endpoint::new(format!("10.0.{index}.1:80")).unwrap();
            endpoint.with_weight(if index < 3 { 0 } else { 1 })
        };
        let all = of((0..6).map(endpoint));
        let counts = |members: &[Arc<Member>], all: &[Arc<Member>]| {
            let table = strategy.table_among(members, all, None);
            let mut counts = vec![0; members.len()];
            (0..3_000).for_each(|key| counts[choose(&strategy, &table, members, key)] += 1);
            counts
        };
        // Those that have weight are out of use.
        let left = counts(&all[..3], &all);
        assert!(left.iter().all(|count| *count > 600), "{scheme:?}: {left:?}");
        all[5].set_own_weight(Some(4));
        let weighted = counts(&all[3..], &all);
        assert!(weighted[2] > 1_700 && weighted[2] < 2_300, "{scheme:?}: {weighted:?}");
        assert!(weighted[0] > 250 && weighted[1] > 250, "{scheme:?}: {weighted:?}");
    }
}

#[test]
fn a_key_stays_where_none_has_room_by_a_sum_that_is_older_than_the_calls() {
    let strategy = ConsistentHash::by_key(|key: &u64| *key);
    let members = endpoints(1..1_001);
    for key in 0..20 {
        let table = strategy.table(&members, None);
        let home = choose(&strategy, &table, &members, key);
        let mut flights = vec![members[home].begin(), members[home].begin()];
        choose(&strategy, &table, &members, key);
        flights.push(members[home].begin());
        flights.extend(members.iter().flat_map(|member| [member.begin(), member.begin()]));
        // 3 of 2,001 calls are below 1.5 thousandths of them and one more, as soon as they are counted.
        drop(flights.drain(..2));
        assert_eq!(choose(&strategy, &table, &members, key), home, "{key}");
    }
}

#[test]
fn one_that_is_out_of_use_moves_its_own_keys_alone_where_points_depend_on_all_weights() {
    let schemes =
        [HashScheme::Libketama, HashScheme::Libmemcached, HashScheme::Ring(RingSize::default())];
    for scheme in schemes {
        let strategy = ConsistentHash::by_key(|key: &u64| *key).with_scheme(scheme);
        let endpoint = |index: u32| {
            let endpoint = Endpoint::new(format!("10.0.{index}.1:80")).unwrap();
            endpoint.with_weight(1 + index * index)
        };
        let all = of((0..8).map(endpoint));
        let left = &all[1..7];
        let table = strategy.table(&all, None);
        let out = strategy.table_among(left, &all, Some(&table));
        for key in 0..3_000 {
            let before = choose(&strategy, &table, &all, key);
            let after = choose(&strategy, &out, left, key);
            assert!(!(1..7).contains(&before) || after == before - 1, "{scheme:?}: {key}");
        }
    }
}

#[test]
fn one_that_discovery_warns_of_has_its_keys_beside_others_of_its_priority_in_a_panic() {
    for scheme in SCHEMES {
        let strategy = ConsistentHash::by_key(|key: &u64| *key).with_scheme(scheme);
        for warned in 0..4 {
            let all = of((0..4).map(|index| {
                let status = if index == warned { Status::Warning } else { Status::Passing };
                Endpoint::new(format!("10.0.0.{index}:80")).unwrap().with_status(status)
            }));
            let table = strategy.table(&all, None);
            let mut counts = [0; 4];
            (0..1_000).for_each(|key| counts[choose(&strategy, &table, &all, key)] += 1);
            assert!(counts.iter().all(|count| *count > 100), "{scheme:?}: {counts:?}");
        }
    }
}

#[test]
fn a_ring_that_is_to_have_no_points_has_some() {
    let size = RingSize { min: 0, ..RingSize::default() };
    for scheme in [HashScheme::Ring(size), HashScheme::Skipper { points: 0 }] {
        let strategy = ConsistentHash::by_key(|key: &u64| *key).with_scheme(scheme);
        let all = endpoints(1..6);
        let table = strategy.table(&all, None);
        let chosen = |key| choose(&strategy, &table, &all, key);
        assert!((0..100).any(|key| chosen(key) != chosen(0)), "{scheme:?}");
    }
}
