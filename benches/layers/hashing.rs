//! Choosing by keys of 16 bytes, each another one, and making what that takes.

use std::{
    cell::Cell,
    hint::black_box,
    time::{Duration, Instant},
};

use tower_upstream::{
    balance::{ConsistentHash, HashScheme, Random},
    rules::hash::{BoundedLoad, Maglev, Rendezvous, Ring, RingSize},
};

use crate::{
    cases::{COLD, balance},
    floors::SharedSlots,
    harness::Case,
    services::InTurn,
};

/// Points that make 10,000 endpoints a ring of a million.
const POINTS: u32 = 100;

/// So many calls that nearly all of a table has been read.
const WARMING: u64 = 400_000;

pub(crate) fn all() -> Vec<Case> {
    let maglev = |size| HashScheme::Maglev { size };
    let (small, large) = (maglev(Maglev::DEFAULT_SIZE), maglev(1_000_003));
    let ring = HashScheme::Skipper { points: POINTS };
    let envoy = HashScheme::Ring(RingSize::default());
    let unbounded = |members, scheme| move || balance(members, by_key(scheme, None));
    let bounded =
        |members, scheme| move || balance(members, by_key(scheme, Some(BoundedLoad::default())));
    let few = vec![
        Case::ok("hash/maglev/10", unbounded(10, small)),
        Case::ok("hash/maglev, bounded/10", bounded(10, small)),
        Case::ok("hash/ring of Envoy/10", unbounded(10, envoy)),
        Case::ok("hash/rendezvous/10", unbounded(10, HashScheme::Rendezvous)),
    ];
    // What each reads at random: 20 kB, 131 kB, 2 MB, 8 MB.
    let floor = |slots| move || SharedSlots::new(slots, 10_000);
    let many = [
        Case::ok("floor: hash, a slot of 10,000/10000", floor(10_000)),
        Case::ok("floor: hash, a slot of 65,537/10000", floor(65_537)),
        Case::ok("floor: hash, a slot of 1,000,003/10000", floor(1_000_003)),
        Case::ok("floor: hash, a slot of 4,194,304/10000", floor(1 << 22)),
        Case::ok("hash/no table: random/10000", || balance(10_000, Random::new())),
        Case::ok("hash/maglev/10000", unbounded(10_000, small)).at_most(60.0),
        Case::ok("hash/maglev, bounded/10000", bounded(10_000, small)).at_most(60.0),
        Case::ok("hash/maglev of a million/10000", unbounded(10_000, large)).at_most(60.0),
        Case::ok("hash/maglev of a million, bounded/10000", bounded(10_000, large)).at_most(60.0),
        Case::ok("hash/ring of a million/10000", unbounded(10_000, ring)).at_most(60.0),
        Case::ok("hash/ring of a million, bounded/10000", bounded(10_000, ring)).at_most(60.0),
    ];
    let cold = [
        Case::ok("floor: hash, a slot of 1,000,003, cold/10000", move || {
            InTurn::new(COLD, floor(1_000_003))
        }),
        Case::ok("hash/maglev of a million, cold/10000", move || {
            InTurn::new(COLD, unbounded(10_000, large))
        }),
    ];
    let many = many.into_iter().map(|case| case.warmed_by(WARMING));
    few.into_iter().chain(many).chain(cold).collect()
}

/// How long it takes to make each table and ring anew, if the command line asks for it.
pub(crate) fn rebuilds() {
    if !std::env::args().any(|arg| arg == "rebuild") {
        return;
    }
    let hosts = |count: u32| -> Vec<_> {
        (0..count).map(|n| (format!("10.{}.{}.1:80", n / 256, n % 256), 1)).collect()
    };
    let (few, many) = (hosts(10), hosts(10_000));
    let names: Vec<_> = many.iter().map(|(host, _)| host).collect();
    print_rebuild("maglev of 65,537/10", || Maglev::new(&few));
    print_rebuild("maglev of 1,000,003/10000", || Maglev::with_size(&many, 1_000_003));
    print_rebuild("ring of Envoy/10", || Ring::envoy(&few, RingSize::default()));
    print_rebuild("ring of Skipper, a million/10000", || Ring::skipper(&names, POINTS));
    print_rebuild("ring of nginx, 1,600,000/10000", || Ring::nginx(&many));
    print_rebuild("ring of libketama, 1,600,000/10000", || Ring::libketama(&many));
    print_rebuild("rendezvous/10000", || Rendezvous::new(&many));
}

/// The quickest of some, since others are at work, too.
fn print_rebuild<T>(name: &str, make: impl Fn() -> T) {
    let took = |_| {
        let start = Instant::now();
        black_box(make());
        start.elapsed()
    };
    let took = (0..7).map(took).min().unwrap_or(Duration::ZERO);
    println!("rebuild/{name:<36} {:>10.3} ms", took.as_secs_f64() * 1e3);
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
