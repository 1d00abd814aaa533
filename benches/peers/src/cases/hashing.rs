//! One of many, by a key of 16 bytes, another one for each call.

use tower_upstream::{
    balance::{ConsistentHash, HashScheme},
    rules::hash::BoundedLoad,
};

use super::balance::{EQUAL, ours};
use crate::{
    harness::{Contender, Workload},
    inner::Inner,
    ketama::Ketama,
    traffic::Good,
};

pub(crate) fn all() -> Vec<Workload> {
    vec![
        by_key("hash, by a key over 10", 10),
        by_key("hash, by a key over 1,000", 1_000),
        by_key("hash, by a key over 10,000", 10_000),
    ]
}

/// pingora's ring, ours of the same points, and the table that is our default. The bound is ours alone.
fn by_key(name: &'static str, members: usize) -> Workload {
    let strategy = move |scheme, bound: Option<BoundedLoad>| {
        let strategy = ConsistentHash::by_key(key as fn(&u64) -> u128);
        ours(members, EQUAL, strategy.with_scheme(scheme).with_bounded_load(bound))
    };
    // A hundred places for each.
    let size = if members > 655 { 1_000_003 } else { 65_537 };
    let (ring, table) = (HashScheme::Nginx, HashScheme::Maglev { size });
    let bound = Some(BoundedLoad::default());
    let contenders = vec![
        Contender::bare("inner").both(Good, || Inner),
        Contender::peer("pingora-ketama").both(Good, move || Ketama::new(Inner, members, key)),
        Contender::ours("tower-upstream, its ring").both(Good, move || strategy(ring, None)),
        Contender::ours("tower-upstream, its ring, bounded")
            .both(Good, move || strategy(ring, bound)),
        Contender::ours("tower-upstream, Maglev").both(Good, move || strategy(table, None)),
        Contender::ours("tower-upstream, Maglev, bounded")
            .both(Good, move || strategy(table, bound)),
    ];
    Workload { name, contenders }
}

fn key(number: &u64) -> u128 {
    u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}
