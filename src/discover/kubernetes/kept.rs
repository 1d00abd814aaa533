//! When a program is asked for the credential of the user, as arithmetic: what it told and the time in, what to show or whether to
//! run it out.

use std::{sync::Arc, time::Duration};

use super::credential::{Credential, Shown};
use crate::{
    error::Error,
    time::{self, FAR, Instant},
};

/// How long before its end a credential is asked for anew; or a fifth of its life, if that is less.
const EARLY: Duration = Duration::from_secs(60);
/// Least time between two runs, whatever they tell, and however often that is refused: as where the clocks of two
/// hosts differ, so that all that is told is over already.
const PAUSE: Duration = Duration::from_secs(10);

/// What the last run of a program came to.
#[derive(Debug, Default)]
pub(super) struct Kept {
    told: Option<Told>,
    /// Why the last run told nothing.
    failure: Option<Error>,
    ran_at: Option<Instant>,
}

#[derive(Debug)]
struct Told {
    shown: Arc<Shown>,
    renew_at: Option<Instant>,
    ends_at: Option<Instant>,
    is_refused: bool,
}

impl Kept {
    /// What to show now, or why nothing can be shown. `None`: the program has to be asked.
    pub(super) fn at(&self, now: Instant) -> Option<Result<Arc<Shown>, Error>> {
        let is_before = |at: Option<Instant>| at.is_none_or(|at| now < at);
        let is_recent = self.is_recent(now);
        let shown = self.told.as_ref().filter(|told| {
            let is_fresh = !told.is_refused && is_before(told.renew_at);
            let is_usable = !told.is_refused && is_before(told.ends_at);
            is_fresh || is_recent && (is_usable || self.failure.is_none())
        });
        match (shown, &self.failure) {
            (Some(told), _) => Some(Ok(told.shown.clone())),
            (None, Some(error)) if is_recent => Some(Err(error.clone())),
            (None, _) => None,
        }
    }

    /// The program has told this, at a time that is also so many seconds after 1970.
    pub(super) fn take(&mut self, credential: Credential, now: Instant, unix: u64) -> Arc<Shown> {
        let Credential { shown, expires } = credential;
        let shown = Arc::new(shown);
        let life = expires.map(|at| {
            let left = u64::try_from(at).unwrap_or(0).saturating_sub(unix);
            Duration::from_secs(left).min(FAR)
        });
        let after = |life: Duration| time::later(now, life);
        self.told = Some(Told {
            shown: shown.clone(),
            renew_at: life.map(|life| after(life - EARLY.min(life / 5))),
            ends_at: life.map(after),
            is_refused: false,
        });
        (self.failure, self.ran_at) = (None, Some(now));
        shown
    }

    /// The program has told nothing. What it told before is shown while it lasts.
    pub(super) fn fail(&mut self, error: Error, now: Instant) -> Result<Arc<Shown>, Error> {
        (self.failure, self.ran_at) = (Some(error.clone()), Some(now));
        self.at(now).unwrap_or(Err(error))
    }

    /// This was refused. Tells whether there may be something else to show now.
    pub(super) fn refuse(&mut self, shown: &Arc<Shown>, now: Instant) -> bool {
        let is_recent = self.is_recent(now);
        match self.told.as_mut().filter(|told| Arc::ptr_eq(&told.shown, shown)) {
            Some(told) => {
                told.is_refused = true;
                !is_recent
            }
            // Another is there by now.
            None => true,
        }
    }

    fn is_recent(&self, now: Instant) -> bool {
        self.ran_at.is_some_and(|at| now.saturating_duration_since(at) < PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const UNIX: u64 = 1_800_000_000;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn credential(lives: Option<i64>) -> Credential {
        let expires = lives.map(|lives| UNIX as i64 + lives);
        Credential { shown: Shown::default(), expires }
    }

    fn error() -> Error {
        Error::not_sent(Kind::InvalidConfig).message("no session")
    }

    #[test]
    fn the_program_is_asked_shortly_before_the_end_and_no_more_than_once_in_ten_seconds() {
        let start = time::now();
        for (lives, first) in [
            (None, None),
            (Some(900), Some(840)),
            (Some(3_600), Some(3_540)),
            (Some(100), Some(80)),
            (Some(11), Some(10)),
            // Over already, as it seems.
            (Some(5), Some(10)),
            (Some(0), Some(10)),
            (Some(-900), Some(10)),
            (Some(i64::MIN / 2), Some(10)),
            (Some(i64::MAX / 2), None),
        ] {
            let mut kept = Kept::default();
            assert!(kept.at(start).is_none());
            let shown = kept.take(credential(lives), start, UNIX);
            let asked = (0..4_000).find(|second| kept.at(after(start, *second)).is_none());
            assert_eq!(asked, first, "{lives:?}");
            assert!(Arc::ptr_eq(&kept.at(start).unwrap().unwrap(), &shown));
        }
    }

    #[test]
    fn while_the_program_fails_what_it_told_is_shown_to_its_end() {
        let start = time::now();
        let mut kept = Kept::default();
        kept.take(credential(Some(900)), start, UNIX);
        assert!(kept.at(after(start, 845)).is_none());
        assert!(kept.fail(error(), after(start, 845)).is_ok());
        assert!(kept.at(after(start, 854)).unwrap().is_ok());
        assert!(kept.at(after(start, 855)).is_none());
        assert!(kept.fail(error(), after(start, 899)).is_ok());
        // It is over, and the program is not asked again at once.
        assert_eq!(kept.at(after(start, 900)).unwrap().unwrap_err().kind(), Kind::InvalidConfig);
        assert!(kept.at(after(start, 909)).is_none());
        assert!(kept.fail(error(), after(start, 910)).is_err());
        assert!(kept.at(after(start, 911)).unwrap().is_err());
        kept.take(credential(None), after(start, 920), UNIX);
        assert!(kept.at(after(start, 9_000)).unwrap().is_ok());
    }

    #[test]
    fn what_is_refused_is_asked_for_anew_unless_it_was_just_told() {
        let start = time::now();
        let mut kept = Kept::default();
        let one = kept.take(credential(None), start, UNIX);
        assert!(!kept.refuse(&one, after(start, 9)), "another would be the same");
        assert!(kept.at(after(start, 9)).unwrap().is_ok());
        assert!(kept.at(after(start, 10)).is_none());
        let two = kept.take(credential(None), after(start, 10), UNIX);
        // That of before says nothing of this one.
        assert!(kept.refuse(&one, after(start, 60)));
        assert!(kept.at(after(start, 60)).unwrap().is_ok());
        assert!(kept.refuse(&two, after(start, 60)));
        assert!(kept.at(after(start, 60)).is_none());
        // What was refused is not shown because nothing else can be had.
        assert!(kept.fail(error(), after(start, 60)).is_err());
    }
}
