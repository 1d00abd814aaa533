//! One request, and as much of the answer as the verdict needs.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use tokio::time::timeout;

use super::target::Place;
use crate::{dial::Dialer, error::BoxError, health::probe::limit};

/// What is read of an answer's head, at most.
const MAX_HEAD: usize = 16 << 10;
/// What is read of its body, at most, where there is something to look for in it.
const MAX_BODY: usize = 64 << 10;
/// And where there is not: a server that is cut off in a short answer may complain.
const MAX_DRAINED: usize = 4 << 10;
/// How long that may take: the verdict is known.
const DRAIN: Duration = Duration::from_millis(100);

/// What the answer was.
pub(super) enum Answer {
    Expected,
    Status(u16),
    OtherBody,
}

pub(super) struct Exchange<'a> {
    pub(super) place: &'a Place,
    pub(super) dialer: &'a Dialer,
    pub(super) wanted: Option<&'a [u8]>,
}

impl Exchange<'_> {
    /// On a connection of its own, which ends with this.
    pub(super) async fn run(
        self,
        request: Request<Full<Bytes>>,
        expects: impl Fn(u16) -> bool,
    ) -> Result<Answer, BoxError> {
        // The time of the check bounds it.
        let stream = self.dialer.connect(&self.place.way, false, limit()).await?;
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(MAX_HEAD).handshake(stream).await?;
        let conversation = pin!(async move {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let mut body = response.into_body();
            match self.wanted {
                _ if !expects(status) => {
                    drain(&mut body).await;
                    Ok(Answer::Status(status))
                }
                Some(wanted) if holds(&mut body, wanted).await? => Ok(Answer::Expected),
                Some(_) => Ok(Answer::OtherBody),
                None => {
                    drain(&mut body).await;
                    Ok(Answer::Expected)
                }
            }
        });
        match select(conversation, pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            // The connection is over, so the rest is there, or why there is none.
            Either::Right((_, conversation)) => conversation.await,
        }
    }
}

/// Whether the start of `body` holds `wanted`. Reads no further than to the end of that.
async fn holds(body: &mut Incoming, wanted: &[u8]) -> Result<bool, BoxError> {
    let mut start = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        // From where a text that is split between two reads may begin.
        let from = start.len().saturating_sub(wanted.len());
        let room = MAX_BODY - start.len();
        start.extend_from_slice(&data[..data.len().min(room)]);
        if start[from..].windows(wanted.len().max(1)).any(|part| part == wanted) {
            return Ok(true);
        }
        if data.len() >= room {
            break;
        }
    }
    Ok(false)
}

async fn drain(body: &mut Incoming) {
    let read = async {
        let mut left = MAX_DRAINED;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // Late or broken makes no difference any more.
    let _ = timeout(DRAIN, read).await;
}
