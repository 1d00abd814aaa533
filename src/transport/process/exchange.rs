//! One question and its answer, bounded in time.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep_until},
};

use super::{
    plugin::Plugin,
    seat::{Asking, Ticket, seat},
};
use crate::{
    error::{Code, Error, Kind},
    time::{self, Instant},
    transport::limit::TimeLimit,
};

pin_project! {
    pub(super) struct Exchange {
        asking: Asking,
        // `None` once it is on its way, which it is at the first poll: that is inside a runtime.
        ticket: Option<Ticket>,
        // Made at the first poll that has to wait.
        #[pin]
        timer: Option<Sleep>,
        timeout: Duration,
        limit: TimeLimit,
        plugin: Arc<Plugin>,
        permit: Option<OwnedSemaphorePermit>,
    }
}

impl Exchange {
    /// Begins to ask `line`, which is that of the call with this `id`, unless its deadline has passed.
    pub(super) fn begin(
        plugin: Arc<Plugin>,
        id: String,
        deadline: Option<Instant>,
        line: Vec<u8>,
        timeout: Duration,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Self, Error> {
        plugin.shared.path()?;
        let limit = TimeLimit::new(time::now(), deadline, timeout)?;
        let (asking, ticket) = seat(id, line);
        Ok(Self { asking, ticket: Some(ticket), timer: None, timeout, limit, plugin, permit })
    }

    pub(super) fn id(&self) -> &str {
        self.asking.id()
    }

    pub(super) fn poll_exchange(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Bytes, Error>> {
        let mut this = self.project();
        if let Some(ticket) = this.ticket.take() {
            if Handle::try_current().is_err() {
                return Poll::Ready(Err(Error::not_sent(Kind::Unavailable)));
            }
            if let Err(error) = this.plugin.send(ticket) {
                return Poll::Ready(Err(error));
            }
        }
        let result = match this.asking.poll(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                if this.timer.is_none() {
                    this.timer.set(Some(sleep_until(this.limit.until)));
                }
                if let Some(timer) = this.timer.as_pin_mut() {
                    ready!(timer.poll(cx));
                }
                Err(out_of_time(this.asking.leave(), *this.limit, *this.timeout, this.plugin))
            }
        };
        *this.permit = None;
        Poll::Ready(result)
    }
}

#[cold]
fn out_of_time(was_sent: bool, limit: TimeLimit, timeout: Duration, plugin: &Plugin) -> Error {
    let error = Error::failed(Kind::Timeout);
    let error = if was_sent { error } else { error.never_sent() };
    let error = limit.passed(error, "subprocess", timeout, false);
    if plugin.shared.is_new() {
        let what = format!("handshake timeout: {}", error.what());
        return error.coded(Some(Code::RPC_2002)).message(what);
    }
    error
}
