//! `Health/Watch`: tells a caller the health of the plugin, and each change of it.

use std::{
    future::pending,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use ::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;
use futures_util::{
    future::{Either, select},
    stream::unfold,
};
use http_body::Frame;
use prost::Message;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tonic::Status;

use super::{answer, body::GrpcBody};
use crate::{
    grpc::{
        frame::framed,
        messages::{HealthCheckResponse, NOT_SERVING, SERVICE_UNKNOWN, SERVING},
    },
    plugin::HealthStatus,
    serve::endless::Endless,
    time::{self, Instant},
    wire::{GRPC_MESSAGE, GRPC_STATUS},
};

/// Most callers that watch at once.
const MAX_WATCHES: usize = 1_024;
/// Longest time that the health closure may take.
const LONGEST_CHECK: Duration = Duration::from_secs(5);

/// Calls the health closure.
pub(super) type Ask = Box<dyn FnMut() -> Pin<Box<dyn Future<Output = HealthStatus> + Send>> + Send>;

pub(super) fn ask<H, R>(health: H) -> Ask
where
    H: Fn() -> R + Send + 'static,
    R: Future<Output = HealthStatus> + Send + 'static,
{
    Box::new(move || Box::pin(health()))
}

/// What all that watch have in common.
#[derive(Debug, Clone)]
pub(super) struct Watches {
    pub(super) interval: Duration,
    places: Arc<Semaphore>,
    /// The last answer of the closure, and when it came: however many watch, it is called once for all.
    last: Arc<Mutex<Option<(Instant, i32)>>>,
}

impl Default for Watches {
    fn default() -> Self {
        let (places, last) = (Arc::new(Semaphore::new(MAX_WATCHES)), Arc::default());
        Self { interval: Duration::from_secs(1), places, last }
    }
}

impl Watches {
    /// Begins to tell a caller of the health that `ask` asks for, or that there is no such service.
    pub(super) fn begin(&self, ask: Option<Ask>) -> Response<GrpcBody> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return answer::status(Status::resource_exhausted(format!(
                "{MAX_WATCHES} callers watch the health already"
            )));
        };
        let endless = Endless::default();
        let (of, stop) = (self.clone(), endless.clone());
        let watch = Watch { of, ask, stop, told: None, is_over: false, _place: place };
        let mut response = answer::of_grpc(GrpcBody::streaming(unfold(watch, Watch::next)));
        response.extensions_mut().insert(endless);
        response
    }

    async fn latest(&self, ask: &mut Ask) -> i32 {
        let mut last = self.last.lock().await;
        let is_new = |at| time::now().saturating_duration_since(at) < self.interval;
        if let Some((_, status)) = last.filter(|(at, _)| is_new(*at)) {
            return status;
        }
        let health = timeout(LONGEST_CHECK, ask()).await;
        let is_well = health.is_ok_and(|health| health.status.is_usable());
        let status = if is_well { SERVING } else { NOT_SERVING };
        *last = Some((time::now(), status));
        status
    }
}

/// One caller that watches.
struct Watch {
    of: Watches,
    /// `None` for a service that there is not.
    ask: Option<Ask>,
    stop: Endless,
    told: Option<i32>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    async fn next(mut self) -> Option<(Frame<Bytes>, Self)> {
        if self.is_over {
            return None;
        }
        let stopped = self.stop.clone().stopped();
        let changed = match select(pin!(stopped), pin!(self.changed())).await {
            Either::Left(_) => None,
            Either::Right((status, _)) => Some(status),
        };
        let knows = self.ask.is_none() || self.told == Some(NOT_SERVING);
        if changed.is_none() && knows {
            self.is_over = true;
            return Some((Frame::trailers(stops()), self));
        }
        // A caller that hears that the server stops asks elsewhere.
        let status = changed.unwrap_or(NOT_SERVING);
        self.told = Some(status);
        let message = HealthCheckResponse { status }.encode_to_vec();
        Some((Frame::data(framed(&message)), self))
    }

    /// The next status that the caller does not know yet.
    async fn changed(&mut self) -> i32 {
        let Some(ask) = &mut self.ask else {
            return if self.told.is_none() { SERVICE_UNKNOWN } else { pending().await };
        };
        if self.told.is_some() {
            sleep(self.of.interval).await;
        }
        loop {
            let status = self.of.latest(ask).await;
            if self.told != Some(status) {
                return status;
            }
            sleep(self.of.interval).await;
        }
    }
}

/// The last word, which is a status.
fn stops() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("14"));
    trailers.insert(GRPC_MESSAGE, HeaderValue::from_static("the server stops"));
    trailers
}
