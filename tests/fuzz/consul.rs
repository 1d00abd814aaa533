//! What Consul says of a service.

use tower_upstream::{
    discover::{Consul, ConsulConfig, ConsulQuery, ConsulService, Source, Watched},
    error::Error,
};

use crate::replies::Replies;

thread_local! {
    static AGENT: (Replies, Watched<ConsulService>) = {
        let replies = Replies::start();
        let config = ConsulConfig::default().with_address(replies.address.to_string());
        let config = config.with_max_response_bytes(64 << 10);
        let query = ConsulQuery::default().with_tagged_address("wan");
        let service = Consul::new(config).unwrap().service_with("web", query).unwrap();
        (replies, service)
    };
}

/// The list of instances: each that is used has an address and a key of its own.
pub fn instances(bytes: &[u8]) {
    let head = "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nConnection: close\r\nContent-Length: ";
    let head = format!("{head}{}\r\n\r\n", bytes.len());
    answer([head.as_bytes(), bytes].concat());
}

/// The whole answer.
pub fn answer(bytes: Vec<u8>) {
    AGENT.with(|(replies, service)| {
        replies.are(bytes);
        let mut state = <ConsulService as Source>::State::default();
        if let Err(error) = replies.runtime.block_on(service.source().observe(&mut state)) {
            let text = format!("{:#}", Error::from_service(error));
            assert!(text.len() < 4_096, "{text}");
        }
    });
}
