//! What the watch stream has told of one service, until it is taken over.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    keys::KeyRange,
    messages::{DELETED, Event, Header},
};
use crate::{error::Error, sync::lock};

/// The last that is known of a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// `None`: it was deleted.
    pub(super) value: Option<Bytes>,
    pub(super) revision: i64,
}

/// Changes of several keys, which hold from `revision` on.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) by_key: HashMap<Bytes, Change>,
    pub(super) revision: i64,
}

#[derive(Debug)]
pub(super) enum News {
    /// The watch is there, at a member that is at this revision.
    Created(Header),
    Changed(Changes),
    /// Nothing has changed up to there.
    Progress(i64),
    /// What was asked for is not kept any more.
    Compacted,
    Ended(Error),
}

/// Most keys, and bytes of values, that wait to be taken over.
const MAX_KEYS: usize = 100_000;
const MAX_BYTES: usize = 64 << 20;

pub(super) struct Inbox {
    pub(super) range: KeyRange,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    /// The revision from which on a watch has to begin so that nothing is missed.
    next: i64,
    created: Option<Header>,
    /// Of keys that changed several times, the last change.
    changes: Changes,
    bytes: usize,
    /// The rest of a revision is on its way.
    is_partial: bool,
    progress: Option<i64>,
    is_compacted: bool,
    ended: Option<Error>,
}

impl Inbox {
    pub(super) fn new(range: KeyRange, next: i64) -> Arc<Self> {
        let state = Mutex::new(State { next, ..State::default() });
        Arc::new(Self { range, state, news: Notify::new() })
    }

    pub(super) fn next_revision(&self) -> i64 {
        lock(&self.state).next
    }

    pub(super) fn created(&self, header: Header) {
        self.tell(|state| state.created = Some(header));
    }

    /// Takes in what changed. `is_partial`: more of the same revision follows.
    ///
    /// What a header tells is where the store is, which may be ahead of the events that have come, so only the
    /// events themselves tell from where to go on.
    pub(super) fn changed(&self, events: Vec<Event>, is_partial: bool) -> Result<(), &'static str> {
        let mut outcome = Ok(());
        self.tell(|state| outcome = state.take_in(events, is_partial));
        outcome
    }

    pub(super) fn progressed(&self, revision: i64) {
        self.tell(|state| {
            state.next = state.next.max(revision.saturating_add(1));
            state.progress = Some(revision);
        });
    }

    pub(super) fn compacted(&self) {
        self.tell(|state| state.is_compacted = true);
    }

    pub(super) fn end(&self, error: &Error) {
        self.tell(|state| {
            state.ended.get_or_insert_with(|| error.clone());
        });
    }

    fn tell(&self, what: impl FnOnce(&mut State)) {
        what(&mut lock(&self.state));
        self.news.notify_one();
    }

    /// The next news. There is one reader.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&self) -> News {
        loop {
            let news = lock(&self.state).next_news();
            match news {
                Some(news) => return news,
                None => self.news.notified().await,
            }
        }
    }
}

impl State {
    fn take_in(&mut self, events: Vec<Event>, is_partial: bool) -> Result<(), &'static str> {
        for Event { kind, kv } in events {
            let kv = kv.ok_or("an event without a key")?;
            if kv.mod_revision <= 0 {
                return Err("an event without a revision");
            }
            let value = (kind != DELETED).then_some(kv.value);
            let length = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
            self.bytes += kv.key.len() + length(&value);
            let change = Change { value, revision: kv.mod_revision };
            self.changes.revision = self.changes.revision.max(kv.mod_revision);
            let key_length = kv.key.len();
            if let Some(before) = self.changes.by_key.insert(kv.key, change) {
                self.bytes -= key_length + length(&before.value);
            }
        }
        if self.bytes > MAX_BYTES || self.changes.by_key.len() > MAX_KEYS {
            return Err("more than 64 MiB or 100,000 keys have changed at once");
        }
        self.is_partial = is_partial;
        if !is_partial {
            self.next = self.next.max(self.changes.revision.saturating_add(1));
        }
        Ok(())
    }

    fn next_news(&mut self) -> Option<News> {
        if let Some(header) = self.created.take() {
            return Some(News::Created(header));
        }
        if !self.is_partial && !self.changes.by_key.is_empty() {
            self.bytes = 0;
            return Some(News::Changed(std::mem::take(&mut self.changes)));
        }
        if self.is_compacted {
            return Some(News::Compacted);
        }
        if let Some(error) = self.ended.clone() {
            return Some(News::Ended(error));
        }
        self.progress.take().map(News::Progress)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::messages::KeyValue, *};

    fn inbox() -> Arc<Inbox> {
        Inbox::new(KeyRange::default(), 5)
    }

    fn event(kind: i32, key: &'static str, value: &'static str, mod_revision: i64) -> Event {
        let (key, value) = (Bytes::from(key), Bytes::from(value));
        Event { kind, kv: Some(KeyValue { key, value, mod_revision, ..KeyValue::default() }) }
    }

    fn taken(inbox: &Inbox) -> Option<Changes> {
        match lock(&inbox.state).next_news() {
            Some(News::Changed(changes)) => Some(changes),
            other => {
                assert!(other.is_none(), "{other:?}");
                None
            }
        }
    }

    #[test]
    fn the_last_change_of_a_key_is_what_counts() {
        let inbox = inbox();
        inbox.changed(vec![event(0, "a", "1", 5), event(0, "b", "1", 6)], false).unwrap();
        inbox.changed(vec![event(DELETED, "a", "", 7)], false).unwrap();
        let changes = taken(&inbox).unwrap();
        assert_eq!((changes.revision, changes.by_key.len()), (7, 2));
        assert_eq!(changes.by_key[&b"a"[..]], Change { value: None, revision: 7 });
        assert_eq!((taken(&inbox), inbox.next_revision()), (None, 8));
    }

    #[test]
    fn a_revision_that_comes_in_fragments_counts_when_it_is_whole() {
        let inbox = inbox();
        inbox.changed(vec![event(0, "a", "1", 5)], true).unwrap();
        assert_eq!((taken(&inbox), inbox.next_revision()), (None, 5));
        inbox.changed(vec![event(0, "b", "1", 5)], false).unwrap();
        assert_eq!((taken(&inbox).unwrap().by_key.len(), inbox.next_revision()), (2, 6));
    }

    #[test]
    fn what_waits_is_bounded() {
        let inbox = inbox();
        let value = Bytes::from(vec![b'x'; 1 << 20]);
        let mut outcomes = (0..70).map(|number: u32| {
            let mut event = event(0, "a", "", 5);
            let kv = event.kv.as_mut().unwrap();
            (kv.key, kv.value) = (Bytes::from(number.to_string()), value.clone());
            inbox.changed(vec![event], false)
        });
        assert!(outcomes.any(|outcome| outcome.is_err_and(|why| why.contains("64 MiB"))));
        // The same key again takes the place of what waits.
        let inbox = self::inbox();
        for _ in 0..1_000 {
            inbox.changed(vec![event(0, "a", "0123456789", 5)], false).unwrap();
        }
        assert_eq!(lock(&inbox.state).bytes, 11);
        for wrong in [Event::default(), event(0, "a", "", -1)] {
            assert!(inbox.changed(vec![wrong], false).is_err());
        }
    }
}
