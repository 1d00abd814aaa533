use std::{sync::Arc, time::Duration};

use super::{candidates::Candidates, notes::Notes};
use crate::{member::Member, session::Binding, sync::random_below};

/// A way to choose endpoints: the part that does not depend on the request.
///
/// Implement this and [`Pick`] for a strategy of yours, and `Clone`, which
/// [`BalanceLayer`](crate::BalanceLayer) asks for. The guide [extending](../_guide/extending/index.html) has one
/// that reads the request.
///
/// # Example
/// The first candidate in the order of keys that is free, as a leader would be chosen.
/// ```
/// use std::sync::Arc;
/// use tower_upstream::{balance::{Candidates, Pick, Strategy}, member::Member};
///
/// #[derive(Clone)]
/// struct First;
///
/// impl Strategy for First {
///     type Table = ();
///     fn table(&self, _: &[Arc<Member>], _: Option<&()>) {}
/// }
///
/// impl<Req> Pick<Req> for First {
///     fn pick(&self, _: &(), candidates: Candidates<'_>, _: &Req) -> Option<usize> {
///         (0..candidates.len()).find(|&index| candidates.is_free(index))
///     }
/// }
/// ```
pub trait Strategy: Send + Sync + 'static {
    /// What a choice needs that depends on the members alone, such as a ring or a table.
    type Table: Send + Sync + 'static;

    /// Prepares the table for `members`: those that may be chosen, ordered by key. Their indices are
    /// those of the [`Candidates`] that [`Pick::pick`] gets.
    ///
    /// Runs on the task of the set, for each snapshot, so also when a circuit opens or closes: once for each
    /// priority and [zone](crate::balance#zones) that shares the load.
    /// `before` is the table of the last one. The first is made of no members, when the set is.
    fn table(&self, members: &[Arc<Member>], before: Option<&Self::Table>) -> Self::Table;

    /// Prepares the table for `members`, and is told `all` members of the set, those that may not be chosen
    /// included. Both are ordered by key.
    ///
    /// The balancer calls this one; by default it calls [`table`](Self::table). Override it for a strategy
    /// that must know how many are missing.
    fn table_among(
        &self,
        members: &[Arc<Member>],
        all: &[Arc<Member>],
        before: Option<&Self::Table>,
    ) -> Self::Table {
        let _ = all;
        self.table(members, before)
    }

    /// Returns after which time `table` is to be made anew though no member has changed, such as one that
    /// changes with time. Default: `None`, never.
    ///
    /// # Bounds
    /// At least 1 ms.
    fn renew_after(&self, table: &Self::Table) -> Option<Duration> {
        let _ = table;
        None
    }

    /// Looks at the members of `table` while calls go on, such as to add up what they have in flight. Returns after
    /// which time to look again, or `None`: not before the next snapshot. Default: `None`.
    ///
    /// Runs on the task of the set, after each snapshot and then as often as it says.
    ///
    /// # Bounds
    /// At least 1 ms.
    fn watch(&self, table: &Self::Table) -> Option<Duration> {
        let _ = table;
        None
    }

    /// Returns whether a call that takes long may be sent to a second endpoint beside the first; see
    /// [`Attempts::hedge`](crate::Attempts::hedge). Default: yes, to the one that [`Pick::pick`] chooses of the
    /// others.
    fn hedges(&self) -> bool {
        true
    }

    /// Returns the name that a [`Decision`](super::super::Decision) has. Default: that of the type.
    fn name(&self) -> &'static str {
        short_name::<Self>()
    }

    /// Returns whether calls may go to an endpoint that drains, since it is their [home](Pick::home). Default: no.
    fn keeps_sessions(&self) -> bool {
        false
    }

    /// Draws a number below `bound`, for what the balancer chooses by itself, such as an endpoint of another
    /// tier. [`Seeded`](super::Seeded) overrides it.
    fn draw(&self, table: &Self::Table, bound: u32) -> u32 {
        let _ = table;
        random_below(bound)
    }
}

/// Chooses an endpoint for one request. [`Strategy`] has an example.
pub trait Pick<Req: ?Sized>: Strategy {
    /// Returns the index of the candidate to call, or `None` if none is [free](Candidates::is_free).
    ///
    /// Runs on the path of each call: it must not block, and should not allocate. There may be no
    /// candidates. Candidates that are not free should be skipped; if one is chosen nevertheless, the
    /// call waits for it. With `None`, or an index beyond the end, the balancer takes any endpoint that is
    /// ready, and waits if there is none: a strategy cannot refuse a call.
    ///
    /// # Panics
    /// A panic of this method is one of the call, and unwinds through its caller.
    fn pick(&self, table: &Self::Table, candidates: Candidates<'_>, request: &Req)
    -> Option<usize>;

    /// Returns a hash of what `request` is sent by, if it is to go where equal ones do. Default: `None`.
    ///
    /// Where several priorities or [zones](crate::balance#zones) share the load, equal hashes go to the same one,
    /// and as few as can be move when the shares change.
    fn affinity(&self, request: &Req) -> Option<u64> {
        let _ = request;
        None
    }

    /// Chooses as [`pick`](Self::pick) does, and notes what was compared, for a call that is explained.
    ///
    /// This is the choice of that call, so it must not differ. [`Notes`] has an example. Default: that of `pick`,
    /// without notes.
    fn explain(
        &self,
        table: &Self::Table,
        candidates: Candidates<'_>,
        request: &Req,
        notes: &Notes,
    ) -> Option<usize> {
        let _ = notes;
        self.pick(table, candidates, request)
    }

    /// Returns the member that the session of `request` belongs to. It gets the call while it is free, also if it
    /// is in no priority or zone that has load, and if it drains, where the strategy
    /// [keeps sessions](Strategy::keeps_sessions). Otherwise [`pick`](Self::pick) chooses. Default: none.
    ///
    /// `table` is one that was made of all members.
    #[inline]
    fn home<'t>(&self, table: &'t Self::Table, request: &Req) -> Option<&'t Arc<Member>> {
        let _ = (table, request);
        None
    }

    /// Returns what remembers that the session of `request` belongs to `member`, which is called now, once that
    /// has answered; `is_home` says whether it is its [`home`](Self::home). `None` if there is nothing to remember.
    /// Default: nothing.
    #[inline]
    fn bind(&self, request: &Req, member: &Member, is_home: bool) -> Option<Binding> {
        let _ = (request, member, is_home);
        None
    }
}

/// The name of a type, without its path and its parameters.
fn short_name<T: ?Sized>() -> &'static str {
    let path = std::any::type_name::<T>();
    let path = path.split('<').next().unwrap_or(path);
    path.rsplit("::").next().unwrap_or(path)
}
