//! What an instance says of itself in the local network.

use std::net::IpAddr;

use tower_upstream::{discover::Mdns, error::Kind};

/// The strings of a TXT record.
pub fn txt(bytes: &[u8]) {
    let ip: IpAddr = [10, 0, 0, 1].into();
    match Mdns::read("tax-1", bytes, &[ip], 8080) {
        Ok(endpoint) => {
            // Whatever it says, it leads to where it was announced.
            let address = endpoint.address();
            assert_eq!((address.host(), address.port()), ("10.0.0.1", Some(8080)));
            assert!(!endpoint.key().is_empty() && endpoint.key().len() <= 255);
            assert!(endpoint.tags().iter().all(|tag| !tag.is_empty() && !tag.contains(',')));
            assert!(endpoint.metadata().len() <= 2 + bytes.len() / 2);
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::InvalidConfig);
            assert!(error.to_string().len() < 1_024);
        }
    }
}
