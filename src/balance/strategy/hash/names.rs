//! What other systems call endpoints: what their points and places are computed from.

use std::{collections::HashSet, sync::Arc};

use super::scheme::HashScheme;
use crate::{endpoint::Address, member::Member};

/// What the system that the scheme is named for calls each, if no other has the same, or else its key. All by their
/// keys if that makes two alike; with its weight.
pub(super) fn names(scheme: HashScheme, members: &[(Arc<Member>, u32)]) -> Vec<(String, u32)> {
    let of_member = |(member, _): &(Arc<Member>, u32)| name(scheme, member.endpoint().address());
    let mut names: Vec<_> = members.iter().map(of_member).collect();
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

/// `host:port` as it is written, the path of a socket, or what the system makes of these.
fn name(scheme: HashScheme, address: &Address) -> String {
    match (scheme, socket(address)) {
        (HashScheme::Nginx, Some(path)) => format!("unix:{path}"),
        // Its port is 0 there.
        (HashScheme::Libmemcached, Some(path)) => format!("{path}:0"),
        (_, Some(path)) => path,
        (HashScheme::Skipper { .. }, None) if !address.authority().is_empty() => {
            format!("{}://{}", address.scheme().unwrap_or("http"), address.authority())
        }
        _ => match (address.authority(), address.default_port()) {
            ("", _) => address.as_str().to_owned(),
            (host, Some(port)) if is_of_envoy(scheme) && address.port().is_none() => {
                format!("{host}:{port}")
            }
            (authority, _) => authority.to_owned(),
        },
    }
}

/// Whether it is that of Envoy and gRPC, which know no address without a port.
fn is_of_envoy(scheme: HashScheme) -> bool {
    matches!(scheme, HashScheme::Maglev { .. } | HashScheme::Ring(_))
}

/// The path of the Unix socket that an address leads to.
fn socket(address: &Address) -> Option<String> {
    let plain = || address.as_str().starts_with("unix:").then(|| address.path().to_owned());
    address.socket_path().or_else(plain)
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
    use crate::{endpoint::Endpoint, rules::hash::RingSize};

    fn named(endpoints: &[(&str, &str)]) -> Vec<String> {
        let endpoint =
            |&(key, address): &(&str, &str)| Endpoint::new(address).unwrap().with_key(key);
        let members = of(endpoints.iter().map(endpoint));
        let weighted: Vec<_> = members.into_iter().map(|member| (member, 1)).collect();
        names(HashScheme::default(), &weighted).into_iter().map(|(name, _)| name).collect()
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
            names(HashScheme::default(), &weighted)
                .into_iter()
                .map(|(_, weight)| weight)
                .collect::<Vec<_>>()
        };
        assert_eq!((weights([0, 0]), weights([0, 3])), (vec![1, 1], vec![0, 3]));
    }

    #[test]
    fn each_is_called_as_the_system_calls_it_that_the_scheme_is_named_for() {
        let called = |scheme, address: &str| name(scheme, &address.parse().unwrap());
        let (envoy, skipper) = (HashScheme::default(), HashScheme::Skipper { points: 100 });
        for (address, plain, of_skipper) in [
            ("http://10.0.0.1:80", "10.0.0.1:80", "http://10.0.0.1:80"),
            ("https://a.example/base", "a.example", "https://a.example"),
            ("10.0.0.1:8080", "10.0.0.1:8080", "http://10.0.0.1:8080"),
            ("http://[::1]:8080/", "[::1]:8080", "http://[::1]:8080"),
        ] {
            for scheme in [HashScheme::Nginx, HashScheme::Libketama, HashScheme::Libmemcached] {
                assert_eq!(called(scheme, address), plain, "{scheme:?}");
            }
            let of_envoy = plain.replace("a.example", "a.example:443");
            assert_eq!(called(envoy, address), of_envoy);
            assert_eq!(called(HashScheme::Ring(RingSize::default()), address), of_envoy);
            assert_eq!(called(skipper, address), of_skipper);
        }
        for address in ["unix:/run/a.sock", "unix:///run/a.sock", "http+unix://%2Frun%2Fa.sock/rpc"]
        {
            assert_eq!(called(envoy, address), "/run/a.sock");
            assert_eq!(called(HashScheme::Nginx, address), "unix:/run/a.sock");
            assert_eq!(called(HashScheme::Libmemcached, address), "/run/a.sock:0");
        }
        assert_eq!(called(envoy, "exec:/usr/bin/tax"), "exec:/usr/bin/tax");
    }
}
