//! What etcd may tell: values of keys, and messages of a watch stream.

use bytes::Bytes;
use tower_upstream::{discover::Instance, error::Kind};

#[path = "../../src/discover/etcd/codec.rs"]
mod codec;
#[path = "../../src/discover/etcd/inbox.rs"]
mod inbox;
#[path = "../../src/discover/etcd/messages.rs"]
mod messages;

/// What an inbox is for.
mod keys {
    #[derive(Clone, Debug, Default)]
    pub(super) struct KeyRange;
}

use self::{
    inbox::{Inbox, News},
    messages::WatchResponse,
};

/// The message, and then the same again: what is told twice changes nothing.
pub fn watch(bytes: &[u8]) {
    let Ok(told) = codec::decode::<WatchResponse>(Bytes::copy_from_slice(bytes)) else { return };
    assert!(told.events.len() <= 65_536);
    let inbox = Inbox::new(keys::KeyRange, 1);
    let mut before = inbox.next_revision();
    for _ in 0..2 {
        let taken = inbox.changed(told.events.clone(), told.fragment);
        assert!(inbox.next_revision() >= before);
        before = inbox.next_revision();
        if taken.is_err() {
            return;
        }
        if told.events.is_empty() || told.fragment {
            continue;
        }
        let Some(News::Changed(changes)) = now(&inbox) else { panic!("nothing is told") };
        assert!(changes.by_key.len() <= told.events.len());
        assert!(changes.by_key.values().all(|of| (1..=changes.revision).contains(&of.revision)));
    }
}

fn now(inbox: &Inbox) -> Option<News> {
    futures::FutureExt::now_or_never(inbox.next())
}

/// An instance is read as it is written, or refused in words.
pub fn value(bytes: &[u8]) {
    match Instance::from_json(bytes) {
        Ok(read) => {
            let again = Instance::from_json(read.to_json().as_bytes()).unwrap();
            assert_eq!((again.id(), again.service()), (read.id(), read.service()));
            assert_eq!(again.endpoint().address(), read.endpoint().address());
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::InvalidConfig);
            assert!(error.to_string().len() < 2_048);
        }
    }
}
