//! The task that reads the watch stream for all services, and ends with the last one.

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::stream;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{
    client::{Client, Token},
    failure::nonsense,
    inbox::Inbox,
    keys::KeyRange,
    link::Link,
    messages::{WatchRequest, WatchResponse},
    session::{Next, Served, Session},
};
use crate::{
    error::Error,
    sync::lock,
    time::{self, Instant},
};

/// What a service asks of the task.
enum Ask {
    Watch {
        served: Served,
        /// Stays until the task has it too.
        _link: Arc<Link>,
    },
    Unwatch(u64),
}

/// What was asked, and how many have not left yet: also those whose watch is over, which may ask for another.
struct Asks {
    receiver: mpsc::UnboundedReceiver<Ask>,
    users: usize,
}

impl Asks {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ask> {
        // The task has a sender itself, so there is no end.
        match self.receiver.poll_recv(cx) {
            Poll::Ready(Some(ask)) => Poll::Ready(self.counted(ask)),
            _ => Poll::Pending,
        }
    }

    fn waiting(&mut self) -> Option<Ask> {
        let ask = self.receiver.try_recv().ok()?;
        Some(self.counted(ask))
    }

    fn counted(&mut self, ask: Ask) -> Ask {
        match ask {
            Ask::Watch { .. } => self.users += 1,
            Ask::Unwatch(_) => self.users = self.users.saturating_sub(1),
        }
        ask
    }
}

/// The way to the task, of which there is one at a time.
pub(super) struct Feed {
    client: Arc<Client>,
    asks: Mutex<Option<mpsc::UnboundedSender<Ask>>>,
    count: AtomicU64,
}

/// A watch, which ends when this is dropped.
pub(super) struct Subscription {
    pub(super) inbox: Arc<Inbox>,
    number: u64,
    asks: mpsc::UnboundedSender<Ask>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let _ = self.asks.send(Ask::Unwatch(self.number));
    }
}

impl Feed {
    pub(super) fn new(client: Arc<Client>) -> Arc<Self> {
        Arc::new(Self { client, asks: Mutex::default(), count: AtomicU64::new(0) })
    }

    /// Watches keys from a revision on. Inside a runtime.
    pub(super) fn watch(
        self: &Arc<Self>,
        range: KeyRange,
        from: i64,
        link: Arc<Link>,
    ) -> Subscription {
        let inbox = Inbox::new(range, from);
        // Relaxed: the numbers only have to differ.
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let served = Served { number, inbox: inbox.clone(), was_denied: false };
        let mut ask = Ask::Watch { served, _link: link };
        let mut current = lock(&self.asks);
        if let Some(asks) = &*current {
            match asks.send(ask) {
                Ok(()) => return Subscription { inbox, number, asks: asks.clone() },
                // Its runtime has ended.
                Err(mpsc::error::SendError(again)) => ask = again,
            }
        }
        let (asks, receiver) = mpsc::unbounded_channel();
        // Cannot fail: the receiver is here.
        let _ = asks.send(ask);
        *current = Some(asks.clone());
        drop(current);
        tokio::spawn(self.clone().run(asks.clone(), Asks { receiver, users: 0 }));
        Subscription { inbox, number, asks }
    }

    async fn run(self: Arc<Self>, own: mpsc::UnboundedSender<Ask>, mut asks: Asks) {
        let mut served = Vec::new();
        let error = loop {
            match self.stream(&mut asks, &mut served).await {
                Ok(()) if self.ends(&own, &asks) => return,
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        // A service that asks from now on has a task of its own.
        self.close(&own);
        while let Some(ask) = asks.waiting() {
            if let Ask::Watch { served: of, .. } = ask {
                served.push(of);
            }
        }
        for of in served {
            of.inbox.end(&error);
        }
    }

    /// Whether there is no user. Then nothing can be asked of this task any more.
    fn ends(&self, own: &mpsc::UnboundedSender<Ask>, asks: &Asks) -> bool {
        let mut current = lock(&self.asks);
        let ends = asks.receiver.is_empty() && asks.users == 0;
        if ends && current.as_ref().is_some_and(|current| current.same_channel(own)) {
            *current = None;
        }
        ends
    }

    fn close(&self, own: &mpsc::UnboundedSender<Ask>) {
        let mut current = lock(&self.asks);
        if current.as_ref().is_some_and(|current| current.same_channel(own)) {
            *current = None;
        }
    }

    /// Runs one stream until there is no user, or another is to be opened for `served`.
    async fn stream(&self, asks: &mut Asks, served: &mut Vec<Served>) -> Result<(), Error> {
        // A member answers to the first request.
        while served.is_empty() {
            match poll_fn(|cx| asks.poll(cx)).await {
                Ask::Watch { served: of, .. } => served.push(of),
                Ask::Unwatch(_) if asks.users == 0 => return Ok(()),
                Ask::Unwatch(_) => {}
            }
        }
        let link = self.client.link().await?;
        let token = self.client.token(&link).await?;
        let (requests, mut receiver) = mpsc::unbounded_channel::<WatchRequest>();
        let mut session = Session::new(link.url.clone(), token.is_some(), requests);
        for of in served.drain(..) {
            session.watch(of);
        }
        let requests = stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let path = "/etcdserverpb.Watch/Watch";
        let opening = link.converse(path, requests, token.as_deref());
        let ended = match self.client.in_time(&link, opening).await {
            Ok(Ok(told)) => self.read(&link, token.as_ref(), told, asks, &mut session).await,
            Ok(Err(status)) => Err(self.client.failed(&link, status)),
            Err(error) => Err(error),
        };
        *served = session.into_served();
        ended
    }

    async fn read(
        &self,
        link: &Arc<Link>,
        token: Option<&Token>,
        mut told: Streaming<WatchResponse>,
        asks: &mut Asks,
        session: &mut Session,
    ) -> Result<(), Error> {
        let limit = self.client.config.request_timeout;
        let mut due = None;
        while asks.users > 0 {
            due = match session.is_waiting() {
                true => due.or_else(|| Some(time::later(time::now(), limit))),
                false => None,
            };
            let answer = match wake(asks, &mut told, due).await {
                Wake::Asked(ask) => {
                    put(session, ask);
                    continue;
                }
                Wake::Told(answer) => answer,
                Wake::Due => {
                    self.client.leave(link);
                    return Err(nonsense(&link.url, "it does not answer that it watches"));
                }
            };
            let answer = match answer {
                Some(Ok(answer)) => answer,
                Some(Err(status)) => return Err(self.client.failed(link, status)),
                None => {
                    self.client.leave(link);
                    return Err(nonsense(&link.url, "the watch stream has ended"));
                }
            };
            // Each answer is waited for anew.
            due = due.filter(|_| !answer.created);
            match session.take(answer) {
                Ok(Next::Go) => {}
                Ok(Next::Renew) => {
                    token.into_iter().for_each(|token| self.client.forget(token));
                    return Ok(());
                }
                Err(what) => {
                    self.client.leave(link);
                    return Err(nonsense(&link.url, what));
                }
            }
        }
        Ok(())
    }
}

fn put(session: &mut Session, ask: Ask) {
    match ask {
        Ask::Watch { served, .. } => session.watch(served),
        Ask::Unwatch(number) => session.unwatch(number),
    }
}

enum Wake {
    Asked(Ask),
    Told(Option<Result<WatchResponse, Status>>),
    Due,
}

async fn wake(asks: &mut Asks, told: &mut Streaming<WatchResponse>, due: Option<Instant>) -> Wake {
    let mut timer = pin!(due.map(tokio::time::sleep_until));
    poll_fn(|cx| {
        if let Poll::Ready(ask) = asks.poll(cx) {
            return Poll::Ready(Wake::Asked(ask));
        }
        if let Poll::Ready(answer) = Pin::new(&mut *told).poll_next(cx) {
            return Poll::Ready(Wake::Told(answer));
        }
        match timer.as_mut().as_pin_mut().map(|timer| timer.poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Wake::Due),
            _ => Poll::Pending,
        }
    })
    .await
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_running = lock(&self.asks).is_some();
        f.debug_struct("Feed").field("is_running", &is_running).finish()
    }
}
