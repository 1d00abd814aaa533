//! Where other systems place the points of their rings.

use super::{
    functions::{murmur2, xxh64},
    ring::Ring,
};

/// How many points Envoy and gRPC place.
///
/// ```
/// use tower_upstream::rules::hash::{HashFunction, RingSize};
/// let size = RingSize { function: HashFunction::Murmur2, ..RingSize::default() };
/// assert_eq!((size.min, size.max), (1_024, 8 << 20));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingSize {
    /// Fewest points; 0 is taken for 1. Default: 1,024.
    pub min: u32,
    /// Most points. The default is that of Envoy; that of gRPC is 4,096. Default: 8,388,608.
    pub max: u32,
    /// What places the points; keys are placed by [`xxh64`] with either. Default: [`HashFunction::XxHash64`].
    pub function: HashFunction,
}

impl Default for RingSize {
    fn default() -> Self {
        Self { min: 1_024, max: 8 << 20, function: HashFunction::default() }
    }
}

/// A hash function that places the points of Envoy's ring.
///
/// ```
/// use tower_upstream::rules::hash::{HashFunction, xxh64};
/// assert_eq!(HashFunction::default().hash(b"a"), xxh64(b"a", 0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashFunction {
    /// [`xxh64`] with the seed 0.
    #[default]
    XxHash64,
    /// [`murmur2`].
    Murmur2,
}

impl HashFunction {
    /// Returns the hash of `bytes`.
    ///
    /// ```
    /// use tower_upstream::rules::hash::{HashFunction, murmur2};
    /// assert_eq!(HashFunction::Murmur2.hash(b"a"), murmur2(b"a"));
    /// ```
    pub fn hash(self, bytes: &[u8]) -> u64 {
        match self {
            Self::XxHash64 => xxh64(bytes, 0),
            Self::Murmur2 => murmur2(bytes),
        }
    }
}

/// Points that nginx, lua-resty-chash and pingora place for each unit of weight.
const NGINX_POINTS: u32 = 160;
/// Points that Skipper places, since it has a bound to them.
const SKIPPER_POINTS: u32 = 10_000;
/// Points of a ring at most.
pub(super) const MAX_POINTS: u32 = 16 << 20;

impl Ring {
    /// Creates the ring of Envoy, and of gRPC with its [`RingSize`]: of hosts as they are written, with
    /// weights.
    ///
    /// A host has points in proportion to its weight, the lightest at least a whole number: the hashes of
    /// `<host>_0`, `<host>_1` and so on. Hosts of weight 0 have none. A key is placed by [`xxh64`], whatever
    /// places the points.
    ///
    /// Where weights differ, which host has one point more depends on the order of `hosts`: in Envoy it is that in
    /// which it knows them, in gRPC that of their addresses.
    ///
    /// ```
    /// use tower_upstream::rules::hash::{Ring, RingSize};
    /// let ring = Ring::envoy(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 1)], RingSize::default());
    /// assert_eq!(ring.points().len(), 1_024);
    /// ```
    pub fn envoy<S: AsRef<str>>(hosts: &[(S, u32)], size: RingSize) -> Self {
        let total: f64 = hosts.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let weights = hosts.iter().map(|(_, weight)| f64::from(*weight) / total);
        let least = weights.clone().filter(|weight| *weight > 0.0).fold(1.0, f64::min);
        let max = f64::from(size.max.clamp(1, MAX_POINTS));
        let scale = ((least * f64::from(size.min.max(1))).ceil() / least).min(max);
        let mut points = Vec::with_capacity(if total > 0.0 { scale.ceil() as usize } else { 0 });
        let (mut placed, mut due) = (0.0, 0.0);
        let mut text = String::new();
        for (index, ((host, weight), share)) in (0_u32..).zip(hosts.iter().zip(weights)) {
            if *weight == 0 {
                continue;
            }
            due += scale * share;
            text.clear();
            text.push_str(host.as_ref());
            text.push('_');
            for number in 0_u32.. {
                if placed >= due {
                    break;
                }
                points.push((size.function.hash(numbered(&mut text, number)), index));
                placed += 1.0;
            }
        }
        Self::of(points, 64)
    }

    /// Creates the ring of nginx's `hash ... consistent`, and of pingora: of servers as they are written,
    /// with weights.
    ///
    /// 160 points for each unit of weight: the CRC-32 of the host, a zero byte, the port, and the point
    /// before. A key is placed by [`crc32`](super::crc32). Pingora writes IPv6 addresses without
    /// brackets. Weights that would make more than 16,777,216 points are scaled down, and keys are not where
    /// nginx has them.
    ///
    /// ```
    /// use tower_upstream::rules::hash::{Ring, crc32};
    /// let ring = Ring::nginx(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 2)]);
    /// assert!(ring.get(crc32(b"user-1").into()).is_some());
    /// ```
    pub fn nginx<S: AsRef<str>>(servers: &[(S, u32)]) -> Self {
        let id = |server: &str| {
            let unix = server.get(..5).filter(|prefix| prefix.eq_ignore_ascii_case("unix:"));
            let (host, port) = match unix {
                Some(_) => (&server[5..], None),
                None => host_and_port(server),
            };
            format!("{host}\0{}", port.unwrap_or_default())
        };
        let ids: Vec<_> = servers.iter().map(|(of, weight)| (id(of.as_ref()), *weight)).collect();
        chained(&ids)
    }

    /// Creates the ring of lua-resty-chash: as that of nginx, of ids that are taken as they are written.
    ///
    /// ```
    /// use tower_upstream::rules::hash::Ring;
    /// let (resty, nginx) = (Ring::resty(&[("a\080", 1)]), Ring::nginx(&[("a:80", 1)]));
    /// assert_eq!(resty.points(), nginx.points());
    /// ```
    pub fn resty<S: AsRef<str>>(ids: &[(S, u32)]) -> Self {
        chained(ids)
    }

    /// Creates the ring of Skipper: of endpoints as its routes have them, with `points` for each.
    ///
    /// The [`xxh64`] of `http://<host:port>-0`, `http://<host:port>-1` and so on, by which a key is placed, too.
    /// Skipper has 100 points for each, and since March 2026 10,000 divided by their number: `points` 0 is that.
    ///
    /// ```
    /// use tower_upstream::rules::hash::Ring;
    /// let endpoints = ["http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80"];
    /// assert_eq!(Ring::skipper(&endpoints, 100).points().len(), 300);
    /// assert_eq!(Ring::skipper(&endpoints, 0).points().len(), 9_999);
    /// ```
    pub fn skipper<S: AsRef<str>>(endpoints: &[S], points: u32) -> Self {
        let part = |of: u32| of / (endpoints.len().clamp(1, MAX_POINTS as usize) as u32);
        let each = match points {
            0 => part(SKIPPER_POINTS).max(1),
            points => points,
        };
        let each = each.min(part(MAX_POINTS));
        let mut text = String::new();
        let mut placed = Vec::with_capacity(endpoints.len() * each as usize);
        for (index, endpoint) in (0_u32..).zip(endpoints) {
            text.clear();
            text.push_str(endpoint.as_ref());
            text.push('-');
            placed.extend((0..each).map(|number| (xxh64(numbered(&mut text, number), 0), index)));
        }
        Self::of(placed, 64)
    }
}

/// The host of a server, and what stands behind its last colon, if that is a port.
pub(super) fn host_and_port(server: &str) -> (&str, Option<&str>) {
    match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (server, None),
    }
}

/// `text` with `number` behind it. `text` keeps what it was up to its last separator.
pub(super) fn numbered(text: &mut String, number: u32) -> &[u8] {
    use std::fmt::Write;

    let end = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    if number > 0 {
        text.truncate(end);
    }
    // Writing to a text never fails.
    let _ = write!(text, "{number}");
    text.as_bytes()
}

/// Points of which each is the CRC-32 of an id and the point before.
fn chained<S: AsRef<str>>(ids: &[(S, u32)]) -> Ring {
    let mut points = Vec::new();
    let counts = counts(ids.iter().map(|(_, weight)| *weight));
    for (index, ((id, _), count)) in (0_u32..).zip(ids.iter().zip(counts)) {
        let mut base = crc32fast::Hasher::new();
        base.update(id.as_ref().as_bytes());
        let mut before = 0_u32;
        points.extend((0..count).map(|_| {
            let mut hasher = base.clone();
            hasher.update(&before.to_le_bytes());
            before = hasher.finalize();
            (u64::from(before), index)
        }));
    }
    points.sort_unstable();
    points.dedup_by_key(|(point, _)| *point);
    Ring::of(points, 32)
}

/// How many points nginx places for each weight; where that is more than a ring may have, its share of those, and at
/// least one.
fn counts(weights: impl Iterator<Item = u32> + Clone) -> impl Iterator<Item = u64> {
    let due = |weight: u32| u64::from(NGINX_POINTS) * u64::from(weight);
    let (total, most) = (weights.clone().map(due).fold(0, u64::saturating_add), MAX_POINTS.into());
    let scaled = move |due: u64| (u128::from(due) * u128::from(most) / u128::from(total)) as u64;
    weights.map(due).map(move |due| match total > most {
        true if due > 0 => scaled(due).max(1),
        _ => due,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_share_of_the_most_points_where_weights_would_make_more() {
        let of = |weights: &[u32]| counts(weights.iter().copied()).collect::<Vec<_>>();
        assert_eq!(of(&[1, 0, 3]), [160, 0, 480]);
        assert_eq!(of(&[104_857]), [16_777_120], "just below");
        let most = u64::from(MAX_POINTS);
        assert_eq!(of(&[150_000, 150_000]), [most / 2, most / 2]);
        assert_eq!(of(&[u32::MAX, 0, 1]), [most - 1, 0, 1]);
    }

    #[test]
    fn whatever_weights_there_are_a_ring_has_a_bound_and_may_be_empty() {
        let hosts = [("a:80", u32::MAX), ("b:80", 1), ("c:80", 0)];
        let size = RingSize { max: 4_096, ..RingSize::default() };
        let owned = |ring: &Ring| ring.points().iter().filter(|(_, owner)| *owner == 0).count();
        let envoy = Ring::envoy(&hosts, size);
        assert_eq!((owned(&envoy), envoy.points().len()), (4_096, 4_096));
        let none = [("a:80", 0)];
        for ring in [Ring::envoy(&none, size), Ring::nginx(&none)] {
            assert_eq!((ring.get(7), ring.points().len()), (None, 0));
        }
    }
}
