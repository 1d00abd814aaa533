//! What Eureka says of a registry.

use tower_upstream::{
    discover::{Eureka, EurekaConfig, EurekaService, Source, Watched},
    error::Error,
};

use crate::replies::Replies;

thread_local! {
    static SERVER: (Replies, Watched<EurekaService>) = {
        let replies = Replies::start();
        let config = EurekaConfig::default().with_max_response_bytes(64 << 10);
        let config = config.with_urls([format!("http://{}", replies.address)]);
        let service = Eureka::new(config).unwrap().vip("tax").unwrap();
        (replies, service)
    };
}

/// All applications: each instance that is used has an address and a key of its own.
pub fn applications(bytes: &[u8]) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ";
    let head = format!("{head}{}\r\n\r\n", bytes.len());
    SERVER.with(|(replies, service)| {
        replies.are([head.as_bytes(), bytes].concat());
        let mut state = <EurekaService as Source>::State::default();
        if let Err(error) = replies.runtime.block_on(service.source().observe(&mut state)) {
            let text = format!("{:#}", Error::from_service(error));
            assert!(text.len() < 4_096, "{text}");
        }
    });
}
