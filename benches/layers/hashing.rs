//! Choosing by keys of 16 bytes, each another one.

use std::cell::Cell;

use tower_upstream::{
    balance::{ConsistentHash, HashScheme},
    rules::hash::{BoundedLoad, Maglev, RingSize},
};

use crate::{cases::balance, harness::Case};

/// Points that make 10,000 endpoints a ring of a million.
const POINTS: u32 = 100;

pub(crate) fn all() -> Vec<Case> {
    let maglev = |size| HashScheme::Maglev { size };
    let (small, large) = (maglev(Maglev::DEFAULT_SIZE), maglev(1_000_003));
    let ring = HashScheme::Skipper { points: POINTS };
    let envoy = HashScheme::Ring(RingSize::default());
    let unbounded = |members, scheme| move || balance(members, by_key(scheme, None));
    let bounded =
        |members, scheme| move || balance(members, by_key(scheme, Some(BoundedLoad::default())));
    vec![
        Case::ok("hash/maglev/10", unbounded(10, small)),
        Case::ok("hash/maglev, bounded/10", bounded(10, small)),
        Case::ok("hash/maglev/10000", unbounded(10_000, large)),
        Case::ok("hash/maglev, bounded/10000", bounded(10_000, large)),
        Case::ok("hash/ring of Envoy/10", unbounded(10, envoy)),
        Case::ok("hash/ring of a million/10000", unbounded(10_000, ring)),
        Case::ok("hash/ring of a million, bounded/10000", bounded(10_000, ring)),
        Case::ok("hash/rendezvous/10", unbounded(10, HashScheme::Rendezvous)),
    ]
}

fn by_key(
    scheme: HashScheme,
    bound: Option<BoundedLoad>,
) -> ConsistentHash<impl Fn(&u64) -> u128 + Clone + Send + Sync + 'static> {
    thread_local!(static NEXT: Cell<u128> = const { Cell::new(0) });
    let key = |_: &u64| {
        NEXT.with(|next| {
            next.set(next.get().wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
            next.get()
        })
    };
    ConsistentHash::by_key(key).with_scheme(scheme).with_bounded_load(bound)
}
