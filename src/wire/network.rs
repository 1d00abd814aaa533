//! Networks of addresses, such as those of proxies that are trusted.

use std::net::{IpAddr, Ipv4Addr};

/// The addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().ok()?;
        // Addresses are canonical when they are looked for. The bits before an IPv4 one are no part of it.
        let address = written.to_canonical();
        let before = if address == written { 0 } else { 96 };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.checked_sub(before))?;
        (bits <= most).then_some(Self { address, bits })
    }

    pub(crate) fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let masked = |v4: Ipv4Addr| masked(u128::from(v4.to_bits()) << 96, self.bits);
                masked(own) == masked(other)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                masked(own.to_bits(), self.bits) == masked(other.to_bits(), self.bits)
            }
            _ => false,
        }
    }
}

/// The first `bits` of an address, and zeros.
pub(crate) fn masked(address: u128, bits: u8) -> u128 {
    address & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}
