use std::{collections::HashSet, sync::Arc};

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
    ///
    /// To share keys with nginx, a key must be the same text. `hash $request_uri` is the path and query as the client
    /// sent them, `uri().path_and_query()`. `hash $uri` is the path once nginx has decoded `%41`, resolved `..` and
    /// joined slashes, and so is `uri().path()` only where there is none of these.
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

/// What other systems call each: `host:port` as it is written, if no other has the same, or else its key. All by
/// their keys if that makes two alike; with its weight.
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
    let alike = repeated(&names);
    for (name, (member, _)) in names.iter_mut().zip(members) {
        if alike.contains(name) {
            member.key().clone_into(name);
        }
    }
    if !alike.is_empty() && !repeated(&names).is_empty() {
        names = members.iter().map(|(member, _)| member.key().to_owned()).collect();
    }
    let is_nothing = members.iter().all(|(_, weight)| *weight == 0);
    let weight = |&(_, weight): &(_, u32)| if is_nothing { 1 } else { weight };
    names.into_iter().zip(members.iter().map(weight)).collect()
}

/// Those that more than one has.
fn repeated(names: &[String]) -> HashSet<String> {
    let mut sorted: Vec<_> = names.iter().collect();
    sorted.sort_unstable();
    let pairs = sorted.windows(2).filter(|pair| pair[0] == pair[1]);
    pairs.map(|pair| pair[0].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::super::tests::of, *};
    use crate::endpoint::Endpoint;

    fn named(endpoints: &[(&str, &str)]) -> Vec<String> {
        let endpoint =
            |&(key, address): &(&str, &str)| Endpoint::new(address).unwrap().with_key(key);
        let members = of(endpoints.iter().map(endpoint));
        let weighted: Vec<_> = members.into_iter().map(|member| (member, 1)).collect();
        names(&weighted).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn those_that_share_an_address_go_by_their_keys_and_leave_the_others_alone() {
        let (one, two, twin) =
            (("k1", "http://a:80"), ("k2", "http://b:80"), ("k3", "https://b:80"));
        assert_eq!(named(&[one, two]), ["a:80", "b:80"]);
        assert_eq!(named(&[one, two, twin]), ["a:80", "k2", "k3"]);
        // A key that is the address of another.
        assert_eq!(named(&[one, two, ("a:80", "https://b:80")]), ["k1", "k2", "a:80"]);
    }

    #[test]
    fn one_of_weight_0_keeps_it_unless_all_have() {
        let members = of([0, 0].into_iter().enumerate().map(|(index, weight)| {
            Endpoint::new(format!("a:{}", index + 1)).unwrap().with_weight(weight)
        }));
        let weights = |weights: [u32; 2]| {
            let weighted: Vec<_> = members.iter().cloned().zip(weights).collect();
            names(&weighted).into_iter().map(|(_, weight)| weight).collect::<Vec<_>>()
        };
        assert_eq!((weights([0, 0]), weights([0, 3])), (vec![1, 1], vec![0, 3]));
    }
}
