//! One watch stream: which watches are on it, and what it tells of each.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::sync::mpsc;

use super::{
    failure::{is_denied, of_reason},
    inbox::Inbox,
    keys::KeyRange,
    messages::{
        Asked, Header, WatchCancelRequest, WatchCreateRequest, WatchRequest, WatchResponse,
    },
};
use crate::error::Error;

/// A service that is watched. Whatever becomes of the stream, it hears that it is over.
pub(super) struct Served {
    pub(super) number: u64,
    pub(super) inbox: Arc<Inbox>,
    /// Its watch was refused once already, with a token that might have been over.
    pub(super) was_denied: bool,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.inbox.end(&Error::unsent("the watch stream of etcd is over"));
    }
}

/// What to do when a message was read.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Go,
    /// The token may be over: open the stream anew with another.
    Renew,
}

/// The watches of one stream. etcd answers requests for watches in their order.
pub(super) struct Session {
    url: String,
    has_token: bool,
    requests: mpsc::UnboundedSender<WatchRequest>,
    asked: VecDeque<Served>,
    by_id: HashMap<i64, Served>,
    /// Of watches that are not needed any more, and that were not there yet when that was said.
    unwanted: Vec<u64>,
}

impl Session {
    pub(super) fn new(
        url: String,
        has_token: bool,
        requests: mpsc::UnboundedSender<WatchRequest>,
    ) -> Self {
        let (asked, by_id, unwanted) = Default::default();
        Self { url, has_token, requests, asked, by_id, unwanted }
    }

    /// Asks for a watch.
    pub(super) fn watch(&mut self, served: Served) {
        let KeyRange { first, end } = served.inbox.range.clone();
        let create = WatchCreateRequest {
            key: first,
            range_end: end,
            start_revision: served.inbox.next_revision(),
            progress_notify: true,
            fragment: true,
        };
        self.say(Asked::Create(create));
        self.asked.push_back(served);
    }

    /// A service is not watched any more.
    pub(super) fn unwatch(&mut self, number: u64) {
        let of_number = self.by_id.iter().find(|(_, served)| served.number == number);
        match of_number.map(|(id, _)| *id) {
            Some(id) => self.cancel(id),
            None if self.asked.iter().any(|served| served.number == number) => {
                self.unwanted.push(number);
            }
            None => {}
        }
    }

    fn cancel(&mut self, watch_id: i64) {
        self.by_id.remove(&watch_id);
        self.say(Asked::Cancel(WatchCancelRequest { watch_id }));
    }

    fn say(&self, asked: Asked) {
        // If the stream is over, what is read of it tells so.
        let _ = self.requests.send(WatchRequest { asked: Some(asked) });
    }

    /// Whether an answer is due.
    pub(super) fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// All that are watched, for the next stream.
    pub(super) fn into_served(self) -> Vec<Served> {
        let unwanted = self.unwanted;
        let all = self.asked.into_iter().chain(self.by_id.into_values());
        all.filter(|served| !unwanted.contains(&served.number)).collect()
    }

    /// Takes in what the stream tells.
    pub(super) fn take(&mut self, told: WatchResponse) -> Result<Next, &'static str> {
        let WatchResponse { header, watch_id, created, canceled, compact_revision, .. } = told;
        let header = header.unwrap_or_default();
        if header.revision < 0 || compact_revision < 0 {
            return Err("a negative revision");
        }
        if created {
            let served = self.asked.pop_front().ok_or("a watch that was not asked for")?;
            return self.created(served, watch_id, header, canceled, &told.cancel_reason);
        }
        if canceled {
            // Also the answer to a request to cancel it.
            if let Some(served) = self.by_id.remove(&watch_id) {
                match compact_revision {
                    0 => served.inbox.end(&of_reason(&self.url, &told.cancel_reason)),
                    _ => served.inbox.compacted(),
                }
            }
            return Ok(Next::Go);
        }
        match self.by_id.get(&watch_id) {
            // It was cancelled, and the answer is on its way.
            None => {}
            Some(served) if told.events.is_empty() && !told.fragment => {
                served.inbox.progressed(header.revision);
            }
            Some(served) => served.inbox.changed(told.events, told.fragment)?,
        }
        Ok(Next::Go)
    }

    fn created(
        &mut self,
        mut served: Served,
        watch_id: i64,
        header: Header,
        is_refused: bool,
        reason: &str,
    ) -> Result<Next, &'static str> {
        if let Some(at) = self.unwanted.iter().position(|number| *number == served.number) {
            self.unwanted.swap_remove(at);
            if !is_refused {
                self.cancel(watch_id);
            }
            return Ok(Next::Go);
        }
        if !is_refused {
            served.was_denied = false;
            served.inbox.created(header);
            return match self.by_id.insert(watch_id, served) {
                None => Ok(Next::Go),
                Some(_) => Err("two watches with one number"),
            };
        }
        if self.has_token && !served.was_denied && is_denied(reason) {
            served.was_denied = true;
            self.asked.push_front(served);
            return Ok(Next::Renew);
        }
        served.inbox.end(&of_reason(&self.url, reason));
        Ok(Next::Go)
    }
}
