//! Since when each endpoint has its keys, as far as it matters: which are newcomers, and which have yet to learn.

use std::{sync::Arc, time::Duration};

use crate::{
    member::{Member, Reason},
    rules::hash::FadeIn,
    time::{FAR, Instant, later},
};

/// How many waves may overlap.
const WAVES: u32 = 8;

/// In how many steps a newcomer gets its keys.
pub(super) const STEPS: u32 = 32;

/// The members of a set, with what is known of each; `None` if it has not been of use yet.
#[derive(Debug, Default, Clone)]
pub(super) struct Waves {
    /// Ordered by identity.
    members: Arc<[Arc<Member>]>,
    /// One for each of them.
    since: Arc<[Option<Since>]>,
    /// Whether there was a call.
    is_tried: bool,
}

/// When a member has what it is to have.
#[derive(Debug, Clone, Copy, Default)]
struct Since {
    /// When it has all of its keys; `None` if it has. That of a wave of newcomers is the same.
    has_all: Option<Instant>,
    /// When it knows all of its keys; `None` if it does.
    knows_all: Option<Instant>,
}

/// What there was before.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    pub(super) waves: &'a Waves,
    /// The candidates.
    pub(super) members: &'a [Arc<Member>],
    /// When each of them has all of its keys.
    pub(super) has_all: &'a [Option<Instant>],
}

/// What time has brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    fade_in: FadeIn,
    now: Instant,
}

impl Pace {
    pub(super) fn new(fade_in: FadeIn, now: Instant) -> Self {
        Self { fade_in: FadeIn { window: fade_in.window.min(FAR), ..fade_in }, now }
    }

    /// The share of its keys that one has.
    pub(super) fn share(&self, has_all: Option<Instant>) -> f64 {
        let left = self.left(has_all);
        if left.is_zero() { 1.0 } else { self.fade_in.share(self.fade_in.window - left) }
    }

    /// The share of its keys that one has and knows.
    fn known(&self, since: Since) -> f64 {
        let takes = self.fade_in.learns_in();
        let left = self.left(since.knows_all).min(takes);
        let learned = if left.is_zero() { 1.0 } else { self.fade_in.learned(takes - left) };
        learned.min(self.share(since.has_all))
    }

    /// When one knows all that knows this share of it now.
    fn knows_all(&self, share: f64) -> Option<Instant> {
        let takes = self.fade_in.learns_in();
        self.until(takes.saturating_sub(self.fade_in.learned_after(share)))
    }

    fn left(&self, until: Option<Instant>) -> Duration {
        let left = until.map_or(Duration::ZERO, |at| at.saturating_duration_since(self.now));
        left.min(self.fade_in.window)
    }

    fn until(&self, left: Duration) -> Option<Instant> {
        (!left.is_zero()).then(|| later(self.now, left))
    }
}

impl Waves {
    /// Those of `all` after those of `before`, where `members` are the candidates now. Both are ordered by
    /// identity.
    ///
    /// A newcomer takes no key from one that knows it without a window for that, and of those that none knows it
    /// has its part at once: such as of the first of a set, which have just come, or of others that have left.
    pub(super) fn next(
        before: Option<Before<'_>>,
        members: &[Arc<Member>],
        all: &[Arc<Member>],
        pace: &Pace,
    ) -> Self {
        if pace.fade_in.window.is_zero() {
            return Self::default();
        }
        let mut since: Vec<_> = match before {
            Some(before) => before.waves.of(all).map(|of| of.map(|of| of.at(pace.now))).collect(),
            None => vec![None; all.len()],
        };
        let was_tried = before.is_some_and(|before| before.waves.is_tried);
        let has_calls = |of: Before<'_>| of.members.iter().any(|member| member.calls() > 0);
        let is_tried = was_tried || before.is_some_and(has_calls);
        if is_tried && !was_tried {
            // Those that the first call found may have served others before, or this program before it was started anew.
            since.iter_mut().flatten().for_each(|of| of.knows_all = None);
        }
        let places: Vec<_> = indices(all, members).flatten().collect();
        let (stay, warm) = match before {
            Some(before) => remain(before, members, &places, &mut since, pace),
            None => Default::default(),
        };
        let mut is_candidate = vec![false; all.len()];
        places.iter().for_each(|&place| is_candidate[place] = true);
        let is_newcomer = |place: &usize| {
            since[*place].is_none() && (is_candidate[*place] || is_of_use(&all[*place]))
        };
        let newcomers: Vec<_> = (0..all.len()).filter(is_newcomer).collect();
        if !newcomers.is_empty() {
            // If all are newcomers to ones that have left, the first have the keys of those.
            let mut has_all: Vec<_> =
                stay.iter().map(|&place| since[place].and_then(|of| of.has_all)).collect();
            the_first_have_all(&mut has_all);
            for (&place, has_all) in stay.iter().zip(&has_all) {
                since[place].iter_mut().for_each(|of| of.has_all = *has_all);
            }
            let waves = since.iter().flatten().filter_map(|of| of.has_all);
            let has_all = wave(waves, pace, warm);
            let newcomer = Since { has_all, knows_all: pace.knows_all(0.0) };
            newcomers.into_iter().for_each(|place| since[place] = Some(newcomer));
        }
        Self { members: all.into(), since: since.into(), is_tried }
    }

    /// What is known of each of `members`.
    fn of(&self, members: &[Arc<Member>]) -> impl Iterator<Item = Option<Since>> {
        indices(&self.members, members).map(|at| self.since.get(at?).copied().flatten())
    }

    pub(super) fn has_newcomers(&self) -> bool {
        self.since.iter().flatten().any(|of| of.has_all.is_some())
    }
}

impl Since {
    /// What is over is over.
    fn at(self, now: Instant) -> Self {
        let to_come = |at: &Instant| *at > now;
        Self { has_all: self.has_all.filter(to_come), knows_all: self.knows_all.filter(to_come) }
    }
}

/// Where those are, of which `members` are at `places`, that were candidates before and are; and of all keys the
/// share that is known where it is. What they have from those that have left they have yet to learn.
fn remain(
    before: Before<'_>,
    members: &[Arc<Member>],
    places: &[usize],
    since: &mut [Option<Since>],
    pace: &Pace,
) -> (Vec<usize>, f64) {
    let is_nothing = before.members.iter().all(|member| member.nominal_weight() == 0);
    let weight = |member: &Member| f64::from(member.nominal_weight().max(is_nothing.into()));
    let all: f64 = before
        .members
        .iter()
        .zip(before.has_all)
        .map(|(of, at)| weight(of) * pace.share(*at))
        .sum();
    let (mut stay, mut had, mut known) = (Vec::new(), 0.0, 0.0);
    for (index, &place) in indices(before.members, members).zip(places) {
        let (Some(index), Some(since)) = (index, since[place]) else { continue };
        let (has_all, weight) = (before.has_all[index], weight(&before.members[index]));
        had += weight * pace.share(has_all);
        known += weight * pace.known(Since { has_all, ..since });
        stay.push(place);
    }
    if stay.len() < before.members.len() && all > 0.0 {
        for &place in &stay {
            let Some(of) = &mut since[place] else { continue };
            of.knows_all = pace.knows_all(pace.known(*of) * had / all);
        }
    }
    (stay, if all > 0.0 { known / all } else { 0.0 })
}

/// When a newcomer has all of its keys, of which the others know the share `warm`: together with one of the waves
/// that there are, if that is about as far, so that there are never many.
fn wave(waves: impl Iterator<Item = Instant>, pace: &Pace, warm: f64) -> Option<Instant> {
    let window = pace.fade_in.window;
    let left = window.saturating_sub(pace.fade_in.share_after(1.0 - warm));
    // None sees one that is over before the next step.
    if left <= window / STEPS {
        return None;
    }
    let at = later(pace.now, left);
    let distance = |wave: &Instant| wave.max(&at).saturating_duration_since(*wave.min(&at));
    let near = waves.min_by_key(distance).filter(|wave| distance(wave) < window / WAVES);
    Some(near.unwrap_or(at))
}

/// Whether calls can go to it, in whatever group of a set.
fn is_of_use(member: &Member) -> bool {
    member.word() & Reason::IN_SNAPSHOT == 0 && member.nominal_weight() > 0
}

/// Where each of `members` is among `of`; both are ordered by identity.
fn indices(of: &[Arc<Member>], members: &[Arc<Member>]) -> impl Iterator<Item = Option<usize>> {
    let mut at = 0;
    members.iter().map(move |member| {
        // Mostly it is the next one.
        let is_it = |other: &Arc<Member>| Arc::ptr_eq(other, member);
        let is_before = |other: &Arc<Member>| !is_it(other) && other.identity() < member.identity();
        at += of[at..].iter().take_while(|other| is_before(other)).count();
        let found = of.get(at).is_some_and(is_it).then_some(at);
        at += usize::from(found.is_some());
        found
    })
}

/// When each of `members` has all of its keys, of those that are newcomers to the others: if there are no others, the
/// first wave is none, since keys can stay nowhere else.
pub(super) fn has_all(waves: &Waves, members: &[Arc<Member>]) -> Box<[Option<Instant>]> {
    let mut has_all: Box<[_]> = waves.of(members).map(|of| of.and_then(|of| of.has_all)).collect();
    the_first_have_all(&mut has_all);
    has_all
}

fn the_first_have_all(has_all: &mut [Option<Instant>]) {
    if has_all.iter().all(Option::is_some) {
        let first = has_all.iter().copied().min().flatten();
        has_all.iter_mut().filter(|at| **at == first).for_each(|at| *at = None);
    }
}

/// When each wave has all of its keys.
pub(super) fn newest_first(has_all: &[Option<Instant>]) -> Vec<Instant> {
    let mut waves: Vec<_> = has_all.iter().copied().flatten().collect();
    waves.sort_unstable_by(|one, other| other.cmp(one));
    waves.dedup();
    waves
}

/// For each table which members are in it: all of them, then without the newest wave, and at last without any.
pub(super) fn layers(has_all: &[Option<Instant>], newest_first: &[Instant]) -> Vec<Vec<bool>> {
    let without =
        |wave: &Instant| has_all.iter().map(|at| at.is_none_or(|at| at < *wave)).collect();
    let all = vec![true; has_all.len()];
    std::iter::once(all).chain(newest_first.iter().map(without)).collect()
}
