//! What a plugin tells of itself, which it is asked for once.

use std::sync::Mutex;

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

use crate::{error::Error, plugin::PluginInfo, sync::lock};

/// The description of a plugin, or the question for it.
#[derive(Default)]
pub(super) struct Description(Mutex<State>);

type Asking = BoxFuture<'static, Result<PluginInfo, Error>>;

#[derive(Default)]
enum State {
    #[default]
    Unknown,
    /// Driven by all that wait for it. It ends with the last one of them.
    Asked(WeakShared<Asking>),
    Known(PluginInfo),
}

impl Description {
    /// Returns the description, which `ask` asks for unless it is known or was asked for already. What fails
    /// is told to all that wait, and is not kept.
    pub(super) async fn get_or_ask<F>(&self, ask: impl FnOnce() -> F) -> Result<PluginInfo, Error>
    where
        F: Future<Output = Result<PluginInfo, Error>> + Send + 'static,
    {
        let asking = match &mut *lock(&self.0) {
            State::Known(info) => return Ok(info.clone()),
            state => match state.asking() {
                Some(asking) => asking,
                None => {
                    let asking = ask().boxed().shared();
                    // It is not done yet, so there is something to be weak about.
                    if let Some(asking) = asking.downgrade() {
                        *state = State::Asked(asking);
                    }
                    asking
                }
            },
        };
        let info = asking.await?;
        *lock(&self.0) = State::Known(info.clone());
        Ok(info)
    }
}

impl State {
    /// The question, unless it has failed by now or was given up.
    fn asking(&self) -> Option<Shared<Asking>> {
        match self {
            Self::Asked(asking) => {
                asking.upgrade().filter(|asking| !matches!(asking.peek(), Some(Err(_))))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    };

    use tokio::sync::oneshot;
    use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};

    use super::*;
    use crate::error::Kind;

    #[test]
    fn many_share_a_question_and_those_who_leave_take_nothing_with_them() {
        let (asked, of) = (AtomicU32::new(0), Description::default());
        let (answer, answered) = oneshot::channel();
        let answered = Arc::new(Mutex::new(Some(answered)));
        let ask = || {
            asked.fetch_add(1, SeqCst);
            let answered = lock(&answered).take();
            async move { Ok(answered.unwrap().await.unwrap()) }
        };
        let mut first = task::spawn(of.get_or_ask(ask));
        assert_pending!(first.poll());
        let mut second = task::spawn(of.get_or_ask(ask));
        assert_pending!(second.poll());
        drop(first);
        answer.send(PluginInfo::new("tax", "1")).unwrap();
        assert!(second.is_woken());
        assert_eq!(assert_ready_ok!(second.poll()).name, "tax");
        assert_ready_ok!(task::spawn(of.get_or_ask(ask)).poll());
        assert_eq!(asked.load(SeqCst), 1);
    }

    #[test]
    fn what_fails_or_is_given_up_is_asked_again() {
        let of = Description::default();
        let (answer, answered) = oneshot::channel();
        let fails = || async { answered.await.map_err(|_| Error::failed(Kind::Plugin)) };
        let mut slow = task::spawn(of.get_or_ask(fails));
        assert_pending!(slow.poll());
        let mut quick = task::spawn(of.get_or_ask(std::future::pending));
        assert_pending!(quick.poll());
        drop(answer);
        assert!(assert_ready!(quick.poll()).is_err());
        // One that has not heard of it yet keeps nobody from asking.
        let hangs = || std::future::pending();
        assert_pending!(task::spawn(of.get_or_ask(hangs)).poll());
        let answers = || async { Ok(PluginInfo::new("tax", "1")) };
        assert_ready_ok!(task::spawn(of.get_or_ask(answers)).poll());
        assert!(assert_ready!(slow.poll()).is_err());
    }
}
