//! Where clients of memcached place the points of their rings.

use super::{
    dialects::{MAX_POINTS, host_and_port, numbered},
    functions::md5_words,
    ring::Ring,
};

/// Points of a server, on average.
const POINTS: u32 = 160;
/// The port that libmemcached and twemproxy leave out.
const DEFAULT_PORT: &str = "11211";

impl Ring {
    /// Creates the ring of libketama: of servers as they are written, with their memory.
    ///
    /// Four points for each MD5 of `<server>-0`, `<server>-1` and so on; a server has 40 of these for its
    /// share of all memory times the number of servers. A key is placed by [`ketama`](super::ketama).
    ///
    /// ```
    /// use tower_upstream::rules::hash::{Ring, ketama};
    /// let ring = Ring::libketama(&[("10.0.1.1:11211", 600), ("10.0.1.2:11211", 300)]);
    /// assert!(ring.get(ketama(b"user-1").into()).is_some());
    /// ```
    pub fn libketama<S: AsRef<str>>(servers: &[(S, u32)]) -> Self {
        // In the precision of the original.
        let groups = |share: f32, count: usize| (f64::from(share) * 40.0 * count as f64) as f32;
        hung(servers, str::to_owned, groups)
    }

    /// Creates the ring of libmemcached's `KETAMA_WEIGHTED`, which PHP calls `LIBKETAMA_COMPATIBLE`, and of
    /// twemproxy with `hash: md5`: of servers with weights.
    ///
    /// As [`libketama`](Self::libketama), but a server is written without its port if that is 11211, and an IPv6
    /// address without brackets: `10.0.1.1-0`, `10.0.1.1:11212-0`, `::1:11212-0`. Shares are rounded otherwise, so
    /// that rings of 25 servers differ even if all have other ports. A Unix socket is its path with the port 0. A key is
    /// placed by [`ketama`](super::ketama). A server of weight 0 has no points; libmemcached takes 0 for 1.
    ///
    /// ```
    /// use tower_upstream::rules::hash::Ring;
    /// let ring = Ring::libmemcached(&[("10.0.1.1:11211", 1), ("[::1]:11212", 2)]);
    /// assert_eq!(ring.points(), Ring::libketama(&[("10.0.1.1", 1), ("::1:11212", 2)]).points());
    /// ```
    pub fn libmemcached<S: AsRef<str>>(servers: &[(S, u32)]) -> Self {
        let name = |server: &str| {
            let (host, port) = host_and_port(server);
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let host = bare.unwrap_or(host);
            match port.filter(|port| *port != DEFAULT_PORT) {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            }
        };
        // In the precision of the original, and in its order.
        let groups = |share: f32, count: usize| {
            (f64::from(share * POINTS as f32 / 4.0 * count as f32) + 1e-10) as f32
        };
        hung(servers, name, groups)
    }
}

/// A ring of groups of four points, as many as `groups` tells of a share and the number of servers.
fn hung<S: AsRef<str>>(
    servers: &[(S, u32)],
    name: impl Fn(&str) -> String,
    groups: impl Fn(f32, usize) -> f32,
) -> Ring {
    let total: u64 = servers.iter().map(|(_, memory)| u64::from(*memory)).sum();
    let count = servers.len().min((MAX_POINTS / POINTS) as usize);
    let mut points = Vec::with_capacity(count * POINTS as usize);
    for (index, (server, memory)) in (0_u32..).zip(&servers[..count]) {
        let mut text = name(server.as_ref());
        text.push('-');
        let groups = groups(*memory as f32 / total as f32, count).floor() as u32;
        for number in 0..groups {
            let words = md5_words(numbered(&mut text, number));
            points.extend(words.map(|word| (word.into(), index)));
        }
    }
    Ring::of(points, 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups_of(ring: &Ring, of: u32) -> usize {
        ring.points().iter().filter(|(_, owner)| *owner == of).count() / 4
    }

    #[test]
    fn a_share_is_rounded_as_each_does() {
        let even = |count: u32| (0..count).map(|of| (format!("h{of}:1"), 1)).collect::<Vec<_>>();
        // What these were seen to place.
        for (count, libketama, libmemcached) in
            [(24, 40, 40), (25, 40, 39), (47, 40, 39), (61, 39, 39)]
        {
            let servers = even(count);
            let found = [Ring::libketama(&servers), Ring::libmemcached(&servers)];
            assert_eq!(found.map(|ring| groups_of(&ring, 0)), [libketama, libmemcached], "{count}");
        }
    }

    #[test]
    fn whatever_memory_there_is_a_ring_has_a_bound_and_may_be_empty() {
        let servers = [("a:80", u32::MAX), ("b:80", 1), ("c:80", 0)];
        for ring in [Ring::libketama(&servers), Ring::libmemcached(&servers)] {
            assert!((100..=120).contains(&groups_of(&ring, 0)), "{ring:?}");
        }
        for ring in [Ring::libketama(&[("a:80", 0)]), Ring::libmemcached(&[("a:80", 0)])] {
            assert_eq!((ring.get(7), ring.points().len()), (None, 0));
        }
    }
}
