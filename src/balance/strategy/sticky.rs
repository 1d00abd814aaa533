use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    candidates::Candidates,
    notes::Notes,
    strategy::{Pick, Strategy},
};
use crate::{
    member::{Member, Reason},
    session::{Binding, Home, Homes, Sessions},
    time::{self, Instant, earlier},
};

/// Keeps the calls of a session at one endpoint, and chooses as another strategy does for those without one.
///
/// What tells sessions apart is a [`SessionTable`](crate::session::SessionTable), or an
/// `http::SessionCookieLayer` (feature `sticky`). [`session`](crate::session) has the rules: when a session stays,
/// and when it moves.
///
/// # Bounds
/// Besides the strategy, a choice costs one lookup. A call that makes or moves a session allocates.
///
/// # Example
/// ```
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     BalanceLayer, BoxError, Call, Endpoint, LeastRequest, Reply, balance::Sticky, connect::NameEndpointLayer,
///     connect_fn, discover, key, session::SessionTable,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let by_user = key::optional(|call: &Call<u32>| call.headers().get("x-user").cloned());
/// let strategy = Sticky::new(LeastRequest::new(), SessionTable::by_key(by_user));
/// let mut stack = ServiceBuilder::new()
///     .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1", "c:1"])?, strategy))
///     .layer(NameEndpointLayer::new())
///     .service(connect_fn(|_: &Endpoint| {
///         service_fn(async |call: Call<u32>| Ok::<_, BoxError>(Reply::new(call.into_body())))
///     }));
/// let ann = || Call::new(7).with_header("x-user", "ann");
/// let first = stack.ready().await?.call(ann()).await?;
/// for _ in 0..20 {
///     assert_eq!(stack.ready().await?.call(ann()).await?.endpoint(), first.endpoint());
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Sticky<P, B> {
    strategy: P,
    sessions: B,
    drain_timeout: Duration,
}

impl<P, B> Sticky<P, B> {
    /// Creates a strategy that chooses by `sessions`, and otherwise as `strategy` does.
    pub const fn new(strategy: P, sessions: B) -> Self {
        Self { strategy, sessions, drain_timeout: Duration::from_secs(30) }
    }

    /// Sets how long an endpoint that drains keeps its sessions, from when the balancer learns that it drains.
    /// Default: 30 s.
    #[must_use]
    pub const fn with_drain_timeout(mut self, drain_timeout: Duration) -> Self {
        self.drain_timeout = drain_timeout;
        self
    }
}

/// State of [`Sticky`]: that of the strategy, and what the endpoints are called.
#[derive(Debug)]
pub struct StickyTable<T> {
    table: T,
    /// All members of the set, in the order of their identities.
    named: Arc<[Named]>,
    homes: Arc<HashMap<Home, Arc<Member>>>,
    /// When the first of those that drain loses its sessions.
    next: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Named {
    member: Arc<Member>,
    names: Arc<[Home]>,
    /// Since when it has drained, and whether that was for too long.
    drains: Option<(Instant, bool)>,
}

impl<P: Strategy, B: Homes> Sticky<P, B> {
    /// Those of `all`, with what `before` knows of them.
    fn named(&self, all: &[Arc<Member>], before: &[Named], now: Instant) -> Arc<[Named]> {
        let mut before = before.iter().peekable();
        all.iter()
            .map(|member| {
                let is_before = |of: &&Named| of.member.identity() < member.identity();
                while before.next_if(is_before).is_some() {}
                let known = before.next_if(|of| Arc::ptr_eq(&of.member, member));
                let names = match known {
                    Some(known) => known.names.clone(),
                    None => self.sessions.homes(member.key()).into(),
                };
                let drains = (member.word() & Reason::Draining.bits() != 0).then(|| {
                    let since = known.and_then(|of| of.drains).map_or(now, |(since, _)| since);
                    (since, time::later(since, self.drain_timeout) <= now)
                });
                Named { member: member.clone(), names, drains }
            })
            .collect()
    }
}

fn same(one: &Named, other: &Named) -> bool {
    Arc::ptr_eq(&one.member, &other.member) && one.drains == other.drains
}

impl<P: Strategy, B: Homes> Strategy for Sticky<P, B> {
    type Table = StickyTable<P::Table>;

    fn table(&self, members: &[Arc<Member>], before: Option<&Self::Table>) -> Self::Table {
        self.table_among(members, members, before)
    }

    fn table_among(
        &self,
        members: &[Arc<Member>],
        all: &[Arc<Member>],
        before: Option<&Self::Table>,
    ) -> Self::Table {
        let now = time::now();
        let known = before.map_or(&[][..], |before| &before.named);
        let all_named = if self.sessions.are_on() { all } else { &[] };
        let named = self.named(all_named, known, now);
        let kept = before
            .filter(|_| known.len() == named.len())
            .filter(|before| before.named.iter().zip(&*named).all(|(one, other)| same(one, other)));
        let table = self.strategy.table_among(members, all, before.map(|before| &before.table));
        let homes = match kept {
            Some(before) => before.homes.clone(),
            None => {
                let has = |of: &&Named| !matches!(of.drains, Some((_, true)));
                let names = |of: &Named| {
                    let member = of.member.clone();
                    of.names.iter().map(move |&name| (name, member.clone())).collect::<Vec<_>>()
                };
                Arc::new(named.iter().filter(has).flat_map(names).collect())
            }
        };
        let ends = named.iter().filter_map(|of| match of.drains {
            Some((since, false)) => Some(time::later(since, self.drain_timeout)),
            _ => None,
        });
        let next = ends.fold(None, |first, at| earlier(first, Some(at)));
        StickyTable { table, named, homes, next }
    }

    fn renew_after(&self, table: &Self::Table) -> Option<Duration> {
        let ends = table.next.map(|at| at.saturating_duration_since(time::now()));
        self.strategy.renew_after(&table.table).into_iter().chain(ends).min()
    }

    fn watch(&self, table: &Self::Table) -> Option<Duration> {
        self.strategy.watch(&table.table)
    }

    /// The second endpoint would not have the session.
    fn hedges(&self) -> bool {
        !self.sessions.are_on() && self.strategy.hedges()
    }

    fn name(&self) -> &'static str {
        self.strategy.name()
    }

    fn keeps_sessions(&self) -> bool {
        self.sessions.are_on()
    }

    fn draw(&self, table: &Self::Table, bound: u32) -> u32 {
        self.strategy.draw(&table.table, bound)
    }
}

impl<Req, P, B> Pick<Req> for Sticky<P, B>
where
    P: Pick<Req>,
    B: Sessions<Req>,
{
    #[inline]
    fn pick(
        &self,
        table: &Self::Table,
        candidates: Candidates<'_>,
        request: &Req,
    ) -> Option<usize> {
        self.strategy.pick(&table.table, candidates, request)
    }

    fn explain(
        &self,
        table: &Self::Table,
        candidates: Candidates<'_>,
        request: &Req,
        notes: &Notes,
    ) -> Option<usize> {
        self.strategy.explain(&table.table, candidates, request, notes)
    }

    fn affinity(&self, request: &Req) -> Option<u64> {
        self.strategy.affinity(request)
    }

    #[inline]
    fn home<'t>(&self, table: &'t Self::Table, request: &Req) -> Option<&'t Arc<Member>> {
        table.homes.get(&self.sessions.home(request)?)
    }

    #[inline]
    fn bind(&self, request: &Req, member: &Member, is_home: bool) -> Option<Binding> {
        self.sessions.bind(request, member.shared_key(), is_home)
    }
}
