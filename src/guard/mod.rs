//! What the guards have in common.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use crate::{
    choose::Chosen,
    endpoint::identities_of,
    error::{BoxError, Error},
    member::Member,
    sync::lock,
};

pin_project! {
    /// The response of a guard: of the inner service, or a refusal.
    ///
    /// Holds nothing of the guard, so dropping it only drops the inner call.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Called { #[pin] inner: F },
        Refused { error: Error },
    }
}

impl<F> ResponseFuture<F> {
    #[inline]
    pub(crate) fn called(inner: F) -> Self {
        Self { state: State::Called { inner } }
    }

    #[inline]
    pub(crate) fn refused(error: Error) -> Self {
        Self { state: State::Refused { error } }
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError> + 'static,
{
    type Output = Result<T, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { inner } => {
                Poll::Ready(ready!(inner.poll(cx)).map_err(Error::from_service))
            }
            StateProj::Refused { error } => Poll::Ready(Err(error.take())),
        }
    }
}

impl<F: Chosen> Chosen for ResponseFuture<F> {
    fn chosen(&self) -> Option<&Arc<Member>> {
        match &self.state {
            State::Called { inner } => inner.chosen(),
            State::Refused { .. } => None,
        }
    }

    fn is_unsent(&self) -> bool {
        match &self.state {
            State::Called { inner } => inner.is_unsent(),
            State::Refused { .. } => true,
        }
    }
}

/// The guards that one layer value made for members, found by key while they live.
#[derive(Debug)]
pub(crate) struct ByMember<T> {
    guards: Mutex<Guards<T>>,
}

#[derive(Debug)]
struct Guards<T> {
    /// Several for one key, where several sets share the layer.
    map: HashMap<Arc<str>, Vec<Weak<T>>>,
    /// How many keys there may be before the dead are swept.
    sweep_at: usize,
}

impl<T> Default for ByMember<T> {
    fn default() -> Self {
        Self { guards: Mutex::new(Guards { map: HashMap::new(), sweep_at: 16 }) }
    }
}

impl<T> ByMember<T> {
    /// The live guard of `key`, which may be an address in any form; the newest, where there are
    /// several.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<T>> {
        identities_of(key).find_map(|identity| self.all(&identity).into_iter().next_back())
    }

    /// The live guard of `member`, which `is_its` knows, or a new one.
    pub(crate) fn get_or_insert(
        &self,
        member: &Arc<Member>,
        is_its: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let live = self.all(member.identity());
        if let Some(guard) = live.into_iter().find(|guard| is_its(guard)) {
            return guard;
        }
        let guard = Arc::new(make());
        let mut guards = lock(&self.guards);
        if guards.map.len() >= guards.sweep_at {
            guards.map.retain(|_, of_key| {
                of_key.retain(|guard| guard.strong_count() > 0);
                !of_key.is_empty()
            });
            // Swept only when it has doubled since: a constant share of each insertion.
            guards.sweep_at = (2 * guards.map.len()).max(16);
        }
        let of_key = guards.map.entry(member.identity().clone()).or_default();
        of_key.retain(|guard| guard.strong_count() > 0);
        of_key.push(Arc::downgrade(&guard));
        guard
    }

    /// All that live.
    pub(crate) fn live(&self) -> Vec<Arc<T>> {
        let all: Vec<_> = lock(&self.guards).map.values().flatten().cloned().collect();
        all.into_iter().filter_map(|guard| guard.upgrade()).collect()
    }

    /// The live guards of the members with this identity, the oldest first. Copied out, so that the last reference to a
    /// guard never drops under the lock.
    pub(crate) fn all(&self, identity: &str) -> Vec<Arc<T>> {
        let of_key = lock(&self.guards).map.get(identity).cloned();
        let of_key = of_key.into_iter().flatten();
        of_key.filter_map(|guard| guard.upgrade()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn a_live_guard_is_found_again_and_the_dead_are_swept() {
        let guards = ByMember::<Arc<Member>>::default();
        let member = |port: u16| Member::new(Endpoint::new(format!("a:{port}")).unwrap());
        let make = |member: &Arc<Member>| {
            guards.get_or_insert(member, |of| Arc::ptr_eq(of, member), || member.clone())
        };
        let (one, other) = (member(1), member(1));
        let (first, second) = (make(&one), make(&other));
        assert!(Arc::ptr_eq(&first, &make(&one)) && !Arc::ptr_eq(&first, &second));
        assert!(guards.get("a:1").is_some_and(|of| Arc::ptr_eq(&*of, &other)));
        assert!(guards.get("a:2").is_none());
        for port in 2..2_000 {
            drop(make(&member(port)));
        }
        assert!(lock(&guards.guards).map.len() <= 32);
        assert!(guards.get("a:1").is_some());
    }
}
