use std::sync::Arc;

use crate::{
    member::Member,
    rules::hash::{HashFunction, RingSize, crc32, fnv1a_32, ketama, xxh64},
};

/// How keys are placed on endpoints.
///
/// Each places a key where the system does that it is named for, if the key is text and endpoints are written
/// alike: by the `host:port` of their address, in the order of their keys. So callers may move from one to the
/// other without a cache going cold.
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
    /// The ring of libketama; weights are the memory of its servers.
    Libketama,
    /// The ring of nginx's `hash ... consistent`, and of pingora.
    Nginx,
    /// The ring of Skipper. A call goes on along the ring while an endpoint has more than the
    /// [mean](crate::rules::hash::BoundedLoad::mean). Weights do not count.
    Skipper {
        /// Points of each endpoint; Skipper has 100.
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
            Self::Maglev { .. } | Self::Skipper { .. } | Self::Rendezvous => xxh64(key, 0),
            Self::Ring(RingSize { function: HashFunction::XxHash64, .. }) => xxh64(key, 0),
            Self::Ring(RingSize { function, .. }) => function.hash(key),
            Self::Libketama => ketama(key).into(),
            Self::Nginx => crc32(key).into(),
            Self::Modulo => fnv1a_32(key).into(),
        }
    }

    /// Whether an endpoint owns its part whatever others there are: one that is out of use is passed by, and
    /// what it has is not placed anew.
    pub(super) fn is_ring(self) -> bool {
        matches!(self, Self::Ring(_) | Self::Libketama | Self::Nginx | Self::Skipper { .. })
    }
}

/// What other systems call each: `host:port` as it is written, if no other has the same; with its weight.
pub(super) fn names(members: &[(Arc<Member>, u32)]) -> Vec<(String, u32)> {
    let authority = |(member, _): &(Arc<Member>, u32)| {
        let endpoint = member.endpoint();
        let address = endpoint.address();
        match address.authority() {
            "" => address.as_str().to_owned(),
            authority => authority.to_owned(),
        }
    };
    let mut names: Vec<_> = members.iter().map(authority).collect();
    let mut sorted: Vec<_> = names.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        names = members.iter().map(|(member, _)| member.key().to_owned()).collect();
    }
    let is_nothing = members.iter().all(|(_, weight)| *weight == 0);
    let weight = |&(_, weight): &(_, u32)| if is_nothing { 1 } else { weight };
    names.into_iter().zip(members.iter().map(weight)).collect()
}
