use crate::rules::hash::{RingSize, crc32, fnv1a_32, ketama, xxh64};

/// How keys are placed on endpoints.
///
/// Each places a key where the system does that it is named for, if the key is text and endpoints are written
/// alike: by the `host:port` of their address, or the path of a Unix socket, in the order of their keys. So callers
/// may move from one to the other without a cache going cold. Where two endpoints would be called alike, these two
/// go by their keys.
///
/// ```
/// use tower_upstream::{balance::{ConsistentHash, HashScheme}, Call};
/// let strategy = ConsistentHash::by_key(|call: &Call<u64>| *call.body())
///     .with_scheme(HashScheme::Skipper { points: 100 });
/// # let _ = strategy;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashScheme {
    /// The table of Envoy, with this many places: a prime number. Another number is taken for the default.
    Maglev {
        /// Default: 65,537.
        size: usize,
    },
    /// The ring of Envoy, and of gRPC with its size.
    Ring(RingSize),
    /// The ring of libketama, known as Ketama; weights are the memory of its servers.
    Libketama,
    /// The ring of [libmemcached](crate::rules::hash::Ring::libmemcached) with `KETAMA_WEIGHTED`, of PHP's
    /// `LIBKETAMA_COMPATIBLE`, and of twemproxy with `hash: md5`.
    Libmemcached,
    /// The ring of nginx's `hash ... consistent`, and of pingora but for IPv6, which that writes without brackets.
    ///
    /// A server of nginx without a port is one whose address has none, as in `http://10.0.0.1`.
    ///
    /// To share keys with nginx, a key must be the same text. `hash $request_uri` is the path and query as the client
    /// sent them, `uri().path_and_query()`. `hash $uri` is the path once nginx has decoded `%41`, resolved `..` and
    /// joined slashes, and so is `uri().path()` only where there is none of these.
    ///
    /// Requests of which the key is empty go to any server there: give them none, by
    /// [`key::optional`](crate::key::optional). Here, an empty text is a key.
    Nginx,
    /// The ring of Skipper, whose routes have endpoints as `http://host:port`. A call goes on along the ring while an
    /// endpoint has more than the [mean](crate::rules::hash::BoundedLoad::mean). Weights do not count.
    Skipper {
        /// Points of each endpoint: 100 in Skipper. Since March 2026 it has 10,000 divided by the number of all
        /// endpoints, also of those that are out of use; 0 is that, with the endpoints of one priority. All endpoints
        /// together have at most 16,777,216 points.
        points: u32,
    },
    /// The highest of a number for each endpoint. Each choice computes all of them.
    Rendezvous,
    /// The remainder of the FNV-1a hash, as in the Go plugin manager. An endpoint that joins or leaves moves
    /// nearly all keys; there to compare. Weights do not count.
    Modulo,
}

impl Default for HashScheme {
    fn default() -> Self {
        Self::Maglev { size: crate::rules::hash::Maglev::DEFAULT_SIZE }
    }
}

impl HashScheme {
    /// The hash of a key.
    #[inline]
    pub(super) fn hash(self, key: &[u8]) -> u64 {
        match self {
            // Also of a ring whose points another function places.
            Self::Maglev { .. } | Self::Ring(_) | Self::Skipper { .. } | Self::Rendezvous => {
                xxh64(key, 0)
            }
            Self::Libketama | Self::Libmemcached => ketama(key).into(),
            Self::Nginx => crc32(key).into(),
            Self::Modulo => fnv1a_32(key).into(),
        }
    }

    /// Whether an endpoint owns its part whatever others there are: one that is out of use is passed by, and
    /// what it has is not placed anew.
    pub(super) fn is_ring(self) -> bool {
        match self {
            Self::Maglev { .. } | Self::Rendezvous | Self::Modulo => false,
            Self::Ring(_) | Self::Libketama | Self::Libmemcached => true,
            Self::Nginx | Self::Skipper { .. } => true,
        }
    }
}
