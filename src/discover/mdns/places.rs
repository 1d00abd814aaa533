//! Which of the addresses of a host to use.

use std::net::{IpAddr, Ipv6Addr};

use super::super::ip::is_of_a_host;

/// An address that a host announced, and where that was heard.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub(super) ip: IpAddr,
    /// Name of the interface that an IPv6 address of the link belongs to.
    pub(super) scope: Option<String>,
    /// Addresses of this host on the interfaces where it was heard. Empty: not known.
    pub(super) heard_at: Vec<IpAddr>,
}

impl Place {
    /// What the host is called in an address.
    pub(super) fn host(&self) -> String {
        match (self.ip, &self.scope) {
            (IpAddr::V4(ip), _) => ip.to_string(),
            (IpAddr::V6(ip), Some(scope)) if is_of_link(ip) => format!("[{ip}%25{scope}]"),
            (IpAddr::V6(ip), _) => format!("[{ip}]"),
        }
    }

    /// The lower the better. `None`: it cannot be used.
    fn rank(&self) -> Option<u8> {
        // What another host says of its own loopback leads to this host.
        if self.ip.is_loopback() && !self.heard_at.iter().any(IpAddr::is_loopback) {
            return None;
        }
        match self.ip {
            ip if !is_of_a_host(ip) => None,
            IpAddr::V4(ip) => Some(if ip.is_link_local() { 2 } else { 0 }),
            IpAddr::V6(ip) if is_of_link(ip) => self.scope.as_ref().map(|_| 3),
            IpAddr::V6(_) => Some(1),
        }
    }

    /// How many bits it shares with the nearest address of this host (as RFC 6724 §5, rule 9).
    fn nearness(&self) -> u32 {
        let shared = |own: &IpAddr| match (self.ip, own) {
            (IpAddr::V4(ip), IpAddr::V4(own)) => (ip.to_bits() ^ own.to_bits()).leading_zeros(),
            (IpAddr::V6(ip), IpAddr::V6(own)) => (ip.to_bits() ^ own.to_bits()).leading_zeros(),
            _ => 0,
        };
        self.heard_at.iter().map(shared).max().unwrap_or(0)
    }
}

fn is_of_link(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

/// The best: IPv4 before IPv6, those of the link last, and the nearest of equals. The same for the same set,
/// in whatever order it comes.
pub(super) fn best(places: &[Place], ipv6: bool) -> Option<&Place> {
    let usable = places.iter().filter(|place| ipv6 || place.ip.is_ipv4());
    let ranked = usable.filter_map(|place| Some((place.rank()?, place)));
    let order = |(rank, place): &(u8, &Place)| {
        (*rank, u32::MAX - place.nearness(), place.ip, place.scope.clone())
    };
    ranked.min_by_key(order).map(|(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(ip: &str, scope: Option<&str>, heard_at: &[&str]) -> Place {
        Place {
            ip: ip.parse().unwrap(),
            scope: scope.map(str::to_owned),
            heard_at: heard_at.iter().map(|ip| ip.parse().unwrap()).collect(),
        }
    }

    fn chosen(places: &[Place], ipv6: bool) -> Option<String> {
        let mut turned = places.to_vec();
        turned.reverse();
        assert_eq!(best(places, ipv6), best(&turned, ipv6));
        best(places, ipv6).map(Place::host)
    }

    #[test]
    fn an_address_that_can_be_reached_is_chosen_in_one_order() {
        let all = [
            place("fe80::2", Some("eth0"), &[]),
            place("169.254.0.2", None, &[]),
            place("2001:db8::2", None, &[]),
            place("172.17.0.1", None, &["10.0.0.1"]),
            place("10.0.0.2", None, &["10.0.0.1"]),
        ];
        assert_eq!(chosen(&all, true).as_deref(), Some("10.0.0.2"));
        assert_eq!(chosen(&all[..3], true).as_deref(), Some("[2001:db8::2]"));
        assert_eq!(chosen(&all[..3], false).as_deref(), Some("169.254.0.2"));
        assert_eq!(chosen(&all[..1], true).as_deref(), Some("[fe80::2%25eth0]"));
        assert_eq!(chosen(&all[..1], false), None);
    }

    #[test]
    fn an_address_of_the_link_needs_its_interface() {
        assert_eq!(chosen(&[place("fe80::2", None, &[])], true), None);
    }

    #[test]
    fn another_host_cannot_lead_to_the_loopback_of_this_one() {
        assert_eq!(chosen(&[place("127.0.0.1", None, &["10.0.0.1"])], true), None);
        assert_eq!(chosen(&[place("::1", None, &[])], true), None);
        let own = place("127.0.0.1", None, &["127.0.0.1"]);
        assert_eq!(chosen(&[own], true).as_deref(), Some("127.0.0.1"));
        for ip in ["0.0.0.0", "255.255.255.255", "224.0.0.251", "ff02::fb", "::"] {
            assert_eq!(chosen(&[place(ip, None, &[])], true), None);
        }
    }
}
