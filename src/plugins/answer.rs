use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use serde_json::Value;

use super::{
    answer_key::{of_call, weight},
    body::{Request, Response},
};
use crate::{
    boxed::BoxUpstream,
    config::FallbackConfig,
    error::{Code, Error, Kind},
    fallback::{Backup, BackupFuture, Cached, Substitute},
    plugin::{Call, Reply},
    time::Instant,
};

/// What answers in place of a plugin, by its `fallback` section.
///
/// The reply has `fallback: true` among its metadata. Its attempts and its duration are those of the call that gets
/// it. A default and a kept reply come from no [endpoint](Reply::endpoint).
///
/// With `cached` it is the last good answer to a call with the same body, headers and
/// [credentials](Call::with_credentials), so that no caller gets what was meant for another one. The headers
/// `traceparent`, `tracestate`, `baggage` and `x-request-id`, and the metadata, make no difference.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     BoxError, Call, Reply, config::FallbackConfig, fallback::FallbackLayer, plugins::Answer,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let config = FallbackConfig::new("default").with_default_response(7);
/// let service = ServiceBuilder::new()
///     .layer(FallbackLayer::new(Answer::<u64, u64>::of(&config, None)?))
///     .service(service_fn(async |_: Call<u64>| Err::<Reply<u64>, BoxError>("down".into())));
/// let reply = service.oneshot(Call::new(1)).await?;
/// assert_eq!((*reply.body(), &*reply.metadata()["fallback"]), (7, "true"));
/// # Ok(()) }
/// ```
pub struct Answer<Req, Res> {
    how: How<Req, Res>,
}

enum How<Req, Res> {
    /// The error.
    None,
    Default(Reply<Res>),
    Last(Last<Req, Res>),
    /// And what it is known by.
    Plugin(Other<Req, Res>, Arc<()>),
}

type Other<Req, Res> = Backup<BoxUpstream<Call<Req>, Reply<Res>>>;
type Last<Req, Res> =
    Cached<Reply<Res>, fn(&Call<Req>) -> Option<Vec<u8>>, fn(&Reply<Res>) -> usize>;

/// What is kept of a call.
enum Kept<Req> {
    Nothing,
    /// When it was created.
    Time(Instant),
    Key(Option<Vec<u8>>, Instant),
    Copy(Option<Call<Req>>),
}

impl<Req: Request, Res: Response> Answer<Req, Res> {
    /// Returns what `config` says. `plugin` is the one that it names.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if `default_response` is no `Res`, code `RPC_2005`, or if there is no such plugin.
    pub fn of(
        config: &FallbackConfig,
        plugin: Option<BoxUpstream<Call<Req>, Reply<Res>>>,
    ) -> Result<Self, Error> {
        config.validate()?;
        let how = match (config.enabled, config.strategy.as_str(), config.plugin(), plugin) {
            (true, "default", ..) => How::Default(Reply::new(default(&config.default_response)?)),
            (true, "cached", ..) => How::Last(
                Last::new(of_call as fn(&_) -> _, weight as fn(&_) -> _)
                    .with_max_age(config.cache_duration)
                    .with_max_entries(config.max_entries)
                    .with_max_bytes(config.max_bytes),
            ),
            (_, _, Some(_), Some(plugin)) => How::Plugin(Backup::new(plugin), Arc::default()),
            (_, _, Some(name), None) => {
                let text = format!("fallback: there is no plugin `{name}`");
                let error = Error::not_sent(Kind::InvalidConfig).coded(Some(Code::PLUGIN_1201));
                return Err(error.message(text));
            }
            _ => How::None,
        };
        Ok(Self { how })
    }

    /// `None` if it answers no call.
    pub(super) fn some(self) -> Option<Self> {
        (!matches!(self.how, How::None)).then_some(self)
    }
}

fn default<Res: Response>(written: &Value) -> Result<Res, Error> {
    // By way of text, since an encoded body is taken as it is written.
    serde_json::from_str(&written.to_string()).map_err(|error| {
        Error::not_sent(Kind::InvalidConfig)
            .coded(Some(Code::RPC_2005))
            .message(format!("fallback: `default_response` is no reply of this plugin: {error}"))
    })
}

impl<Req: Request, Res: Response> Substitute<Call<Req>> for Answer<Req, Res> {
    type Response = Reply<Res>;
    type Kept = KeptOf<Req>;
    type Future = AnswerFuture<Req, Res>;

    #[inline]
    fn keep(&self, call: &Call<Req>) -> KeptOf<Req> {
        KeptOf(match &self.how {
            How::None => Kept::Nothing,
            How::Default(_) => Kept::Time(call.created),
            How::Last(last) => Kept::Key(last.keep(call), call.created),
            How::Plugin(plugin, _) => Kept::Copy(plugin.keep(call)),
        })
    }

    #[inline]
    fn observe(&self, kept: KeptOf<Req>, reply: &Reply<Res>) {
        if let (How::Last(last), Kept::Key(key, _)) = (&self.how, kept.0) {
            last.observe(key, reply);
        }
    }

    fn substitute(&self, kept: KeptOf<Req>, error: Error) -> AnswerFuture<Req, Res> {
        let attempts = error.attempts();
        let of = match (&self.how, kept.0) {
            (How::Default(reply), Kept::Time(created)) => {
                Of::Ready { result: Some(Ok(reply.clone().instead(attempts, created))) }
            }
            (How::Last(last), Kept::Key(key, created)) => {
                let result = last.substitute(key, error).into_inner();
                Of::Ready { result: Some(result.map(|reply| reply.instead(attempts, created))) }
            }
            (How::Plugin(plugin, this), Kept::Copy(mut copy)) => {
                match copy.as_mut().map_or(Ok(()), |copy| copy.handed_on().hand_on(this)) {
                    Ok(()) => Of::Plugin { inner: plugin.substitute(copy, error) },
                    Err(why) => Of::Ready { result: Some(Err(error.note(why))) },
                }
            }
            _ => Of::Ready { result: Some(Err(error)) },
        };
        AnswerFuture { of }
    }
}

/// What an [`Answer`] keeps of a call: nothing, when it was created, its key, or a copy of it.
pub struct KeptOf<Req>(Kept<Req>);

pin_project! {
    /// The answer of an [`Answer`].
    ///
    /// # Cancel safety
    /// Dropping it drops the call to the other plugin.
    #[must_use = "futures do nothing unless polled"]
    pub struct AnswerFuture<Req, Res> {
        #[pin]
        of: Of<Req, Res>,
    }
}

pin_project! {
    #[project = OfProj]
    enum Of<Req, Res> {
        Ready { result: Option<Result<Reply<Res>, Error>> },
        Plugin { #[pin] inner: BackupFuture<BoxUpstream<Call<Req>, Reply<Res>>, Call<Req>> },
    }
}

impl<Req: Request, Res: Response> Future for AnswerFuture<Req, Res> {
    type Output = Result<Reply<Res>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match self.project().of.project() {
            OfProj::Ready { result } => match result.take() {
                Some(result) => result,
                None => return Poll::Pending,
            },
            OfProj::Plugin { inner } => ready!(inner.poll(cx)),
        };
        Poll::Ready(result.map(|reply| reply.with_metadata("fallback", "true")))
    }
}

impl<Req, Res> Clone for Answer<Req, Res>
where
    Res: Clone,
{
    /// Shares the answers that are kept.
    fn clone(&self) -> Self {
        Self {
            how: match &self.how {
                How::None => How::None,
                How::Default(reply) => How::Default(reply.clone()),
                How::Last(last) => How::Last(last.clone()),
                How::Plugin(plugin, this) => How::Plugin(plugin.clone(), this.clone()),
            },
        }
    }
}

impl<Req, Res> fmt::Debug for Answer<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.how {
            How::None => f.write_str("Answer(none)"),
            How::Default(_) => f.write_str("Answer(default)"),
            How::Last(last) => f.debug_tuple("Answer").field(last).finish(),
            How::Plugin(plugin, _) => f.debug_tuple("Answer").field(plugin).finish(),
        }
    }
}

impl<Req> fmt::Debug for KeptOf<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kept::Nothing => "KeptOf(nothing)",
            Kept::Time(_) => "KeptOf(time)",
            Kept::Key(..) => "KeptOf(key)",
            Kept::Copy(_) => "KeptOf(copy)",
        })
    }
}

impl<Req, Res> fmt::Debug for AnswerFuture<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_may_answer_is_some() {
        let some = |section: Value| {
            let config = serde_json::from_value(section).unwrap();
            Answer::<u64, u64>::of(&config, None).unwrap().some().is_some()
        };
        assert!(some(json!({ "strategy": "cached" })));
        assert!(some(json!({ "strategy": "default", "default_response": 7 })));
        assert!(!some(json!({ "strategy": "cached", "enabled": false })));
        assert!(!some(json!({ "strategy": "none" })) && !some(json!({})));
    }
}
