use std::{
    mem,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use arc_swap::ArcSwap;

use super::{
    body::{Request, Response},
    generation::{Generation, Held, Stands, replace},
    passage::{InFlight, Passage},
};
use crate::{
    error::Error,
    sync::{Leases, lock},
};

/// The place of a plugin, as each handle to it holds it.
pub(super) type Place<Req, Res> = Leases<Slot<Req, Res>, ()>;

/// The place of a plugin, whichever generation stands there. Handles keep it, so they stay valid.
pub(super) struct Slot<Req, Res> {
    pub(super) name: Arc<str>,
    /// Counts the generations, so that a handle sees by one load whether it has the current one.
    epoch: AtomicU64,
    current: ArcSwap<Held<Req, Res>>,
    /// What is to stand here next, once it has found its endpoints.
    coming: Mutex<Option<Held<Req, Res>>>,
    this: Weak<Self>,
}

impl<Req: Request, Res: Response> Slot<Req, Res> {
    pub(super) fn new(name: &Arc<str>) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| {
            let current = ArcSwap::from_pointee(Generation::gone(name));
            let epoch = AtomicU64::new(0);
            let (name, coming, this) = (name.clone(), Mutex::default(), this.clone());
            Self { name, epoch, current, coming, this }
        })
    }
}

impl<Req, Res> Slot<Req, Res> {
    #[inline]
    fn epoch(&self) -> u64 {
        // Acquire: the generation of this number is there.
        self.epoch.load(Ordering::Acquire)
    }

    /// Under the lock of what is to come: once another one is seen here, calls go there.
    pub(super) fn current(&self) -> Held<Req, Res> {
        let _coming = lock(&self.coming);
        Held::clone(&self.current.load())
    }

    pub(super) fn is_current(&self, held: &Held<Req, Res>) -> bool {
        Arc::ptr_eq(held.core(), self.current.load().core())
    }

    /// Begins a call of what stands here.
    pub(super) fn take(&self) -> InFlight<Req, Res> {
        InFlight::of(&self.current.load())
    }

    /// What stands here, or is to.
    pub(super) fn latest(&self) -> Held<Req, Res> {
        let coming = lock(&self.coming).clone();
        coming.unwrap_or_else(|| self.current())
    }

    /// Which plugin answers for what stands here after a failure.
    pub(super) fn fallback(&self) -> Option<String> {
        self.current().core().fallback()
    }

    /// Has `next` come later, or with `None` nothing more. What was to come before that never does.
    pub(super) fn set_coming(&self, next: Option<Held<Req, Res>>) {
        let before = mem::replace(&mut *lock(&self.coming), next);
        before.iter().for_each(replace);
    }
}

impl<Req: Request, Res: Response> Slot<Req, Res> {
    /// Puts what was expected into its place, if it still is, and returns what stood there.
    pub(super) fn comes(&self, next: &Held<Req, Res>) -> Option<Held<Req, Res>> {
        let is_next = |held: &mut Held<Req, Res>| Arc::ptr_eq(held.core(), next.core());
        let mut coming = lock(&self.coming);
        let next = coming.take_if(is_next)?;
        let before = self.swap(next);
        drop(coming);
        replace(&before);
        Some(before)
    }

    /// Puts another generation into its place. The one before ends with its last call, and nothing else is expected.
    pub(super) fn put(&self, next: Held<Req, Res>) -> Held<Req, Res> {
        let mut coming = lock(&self.coming);
        let (expected, before) = (coming.take(), self.swap(next));
        drop(coming);
        expected.iter().for_each(replace);
        replace(&before);
        before
    }

    /// Under the lock of what is to come, so that of two the later one stays.
    fn swap(&self, next: Held<Req, Res>) -> Held<Req, Res> {
        let before = self.current.swap(Arc::new(next));
        // Release: see `epoch`.
        self.epoch.fetch_add(1, Ordering::Release);
        if let Some(this) = self.this.upgrade() {
            before.core().replaced_at(this);
        }
        Held::clone(&before)
    }

    /// The way through the generation that stands here now.
    pub(super) fn passage(&self) -> Passage<Req, Res> {
        // First the number: at worst the next look finds another one.
        let epoch = self.epoch();
        Passage::new(epoch, self.current())
    }

    /// Leads `passage` through the generation that stands here now, and makes it ready for a call there.
    #[inline]
    pub(super) fn poll_ready(
        &self,
        passage: &mut Passage<Req, Res>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        loop {
            if passage.epoch != self.epoch() {
                self.lead(passage);
            }
            // One that was replaced before it knew of the call may have ended.
            if ready!(passage.poll_ready(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    #[cold]
    fn lead(&self, passage: &mut Passage<Req, Res>) {
        *passage = self.passage();
    }
}

impl<Req: Request, Res: Response> Stands<Req, Res> for Slot<Req, Res> {
    fn current(&self) -> Held<Req, Res> {
        self.current()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::{
        super::{
            answer::Answer, calls::in_flight, connector::AnyConnector, endpoints::AnyDiscover,
            generation::Made, strategy::Sessions,
        },
        *,
    };
    use crate::{
        config::{PluginConfig, Sections},
        connect::connect_fn,
        discover,
        endpoint::Endpoint,
        error::BoxError,
        plugin::{Call, Reply},
    };

    fn generation() -> Held<u64, u64> {
        let endpoints = discover::fixed([Endpoint::new("a:1").unwrap()]).unwrap();
        let connector = AnyConnector::new(connect_fn(|_: &Endpoint| {
            tower::service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(*call.body())))
        }));
        let fallback = Answer::of(&Default::default(), None).unwrap();
        let sections = Sections::default();
        let (endpoints, sessions) = (AnyDiscover::new(endpoints), Sessions::default());
        let made = Made::new(&"tax".into(), &sections, endpoints, connector, fallback, sessions);
        let plugin = PluginConfig::new("tax", "own");
        Generation::new(Arc::new(plugin), Arc::default(), Ok(made.unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_way_through_what_was_replaced_meanwhile_is_not_ready() {
        let slot = Slot::new(&"tax".into());
        slot.put(generation());
        let first = slot.current();
        let mut passage = slot.passage();
        poll_fn(|cx| slot.poll_ready(&mut passage, cx)).await.unwrap();
        assert_eq!(in_flight(&first), 1);
        passage.call(Call::new(1)).await.unwrap();
        // The number was looked at, and then it is replaced, before it knows of the next call.
        slot.put(generation());
        assert!(first.core().is_retired());
        let is_ready = poll_fn(|cx| passage.poll_ready(cx)).await.unwrap();
        assert_eq!((is_ready, in_flight(&first)), (false, 0));
        poll_fn(|cx| slot.poll_ready(&mut passage, cx)).await.unwrap();
        assert_eq!((in_flight(&first), in_flight(&slot.current())), (0, 1));
        // One that was ready before waits for its call.
        let second = slot.current();
        slot.put(generation());
        assert!(!second.core().is_retired());
        assert_eq!(passage.call(Call::new(2)).await.unwrap().into_body(), 2);
        assert!(second.core().is_retired());
    }
}
