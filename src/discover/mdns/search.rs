//! One type of a watch, and what stays of it while it cannot be searched for.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{board::Listing, browse::Browse, daemon::Daemon, kind::ServiceType};
use crate::{
    endpoint::Endpoint,
    error::Error,
    time::{self, Instant},
};

/// Between the beginnings of two searches for a type: one that cannot begin, or ends at once, must not make this spin.
const RETRY: Duration = Duration::from_secs(1);
/// For so many times the time of a search, what one had found stays, if those after it end early.
const CHANCES: u32 = 4;

pub(super) struct Search {
    kind: ServiceType,
    /// `None`: it cannot be searched for now.
    browse: Option<Browse>,
    /// When it began, or was tried to.
    began: Instant,
    /// When it may begin again.
    again_at: Instant,
    found: Vec<Arc<Endpoint>>,
    pub(super) changed_at: Instant,
    /// Instances that left: of this search, and of those before it.
    removals: (u64, u64),
    /// What the searches before it had found, until this one had its time, but no longer than until then.
    kept: Vec<(Arc<Endpoint>, Instant)>,
    /// How often it had to begin again, and how often what was kept ended.
    pub(super) breaks: u64,
}

impl Search {
    pub(super) fn new(kind: &ServiceType, now: Instant) -> Self {
        Self {
            kind: kind.clone(),
            browse: None,
            began: now,
            again_at: now,
            found: Vec::new(),
            changed_at: now,
            removals: (0, 0),
            kept: Vec::new(),
            breaks: 0,
        }
    }

    /// Until when it keeps all that the searches before it had found.
    fn keeps_until(&self, timeout: Duration) -> Option<Instant> {
        let first = self.kept.iter().map(|(_, until)| *until).min()?;
        Some(first.min(time::later(self.began, timeout)))
    }

    /// Keeps what was found, in place of what was found before under the same key.
    fn keep(&mut self, max: usize, timeout: Duration, now: Instant) {
        let until = time::later(now, timeout * CHANCES);
        let found = std::mem::take(&mut self.found);
        let keys: HashSet<&str> = found.iter().map(|of| of.key()).collect();
        let before = std::mem::take(&mut self.kept);
        let before = before.into_iter().filter(|(of, _)| !keys.contains(of.key()));
        self.kept = found.iter().map(|of| (of.clone(), until)).chain(before).take(max).collect();
    }

    /// Whether it can be searched for.
    pub(super) fn is_on(&self) -> bool {
        self.browse.is_some()
    }

    /// All that is there.
    pub(super) fn found(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.found.iter().chain(self.kept.iter().map(|(of, _)| of))
    }

    /// How many instances have left.
    pub(super) fn removals(&self) -> u64 {
        self.removals.0 + self.removals.1
    }

    /// Takes over what was found, and begins again if the search has ended.
    pub(super) fn follow(
        &mut self,
        daemon: &Arc<Daemon>,
        timeout: Duration,
        now: Instant,
    ) -> Result<(), Error> {
        let seen = self.browse.as_ref().map(|browse| {
            browse.look(|of: &Listing| {
                let found = of.instances().cloned().collect();
                (self.found, self.changed_at, self.removals.0) =
                    (found, of.changed_at, of.removals);
                of.is_over
            })
        });
        // Another user may have begun again already.
        if seen.is_some_and(|is_over| is_over == Some(false)) {
            if self.keeps_until(timeout).is_some_and(|until| until <= now) {
                let had_its_time = time::later(self.began, timeout) <= now;
                self.kept.retain(|(_, until)| !had_its_time && *until > now);
                self.breaks += 1;
            }
            return Ok(());
        }
        if seen.is_some() {
            self.breaks += 1;
            self.kept.retain(|(_, until)| *until > now);
        }
        self.keep(daemon.config.max_instances, timeout, now);
        let (of_this, before) = self.removals;
        (self.removals, self.browse, self.began) = ((0, before + of_this), None, now);
        if now >= self.again_at {
            self.again_at = time::later(now, RETRY);
            self.browse = Some(Browse::begin(daemon, &self.kind)?);
            // While there was none, nothing could be found.
            for (_, until) in self.kept.iter_mut().filter(|(_, until)| *until <= now) {
                *until = time::later(now, timeout);
            }
        }
        Ok(())
    }

    /// When to look again, if nothing is heard until then.
    pub(super) fn due(&self, timeout: Duration, now: Instant) -> Option<Instant> {
        match self.browse {
            Some(_) => self.keeps_until(timeout),
            None => Some(self.again_at.max(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::daemon::tests::loopback, *};

    #[tokio::test]
    async fn what_a_search_has_found_stays_until_the_next_one_had_its_time() {
        let daemon = loopback().get().unwrap();
        let kind = ServiceType::of_service("tax").unwrap();
        let start = time::now();
        let after = |millis| time::later(start, Duration::from_millis(millis));
        let mut search = Search::new(&kind, start);
        let mut follow = |millis| {
            search.follow(&daemon, Duration::from_secs(5), after(millis)).unwrap();
            let keys: Vec<_> = search.found().map(|of| of.key().to_owned()).collect();
            let due = search.due(Duration::from_secs(5), after(millis));
            (search.is_on(), keys.join(" "), search.removals(), search.breaks, due)
        };
        let is = |is_on, keys: &str, removals, breaks, due: Option<u64>| {
            (is_on, keys.to_owned(), removals, breaks, due.map(after))
        };
        let found = |number, key: &str| {
            let endpoint = Endpoint::new("a:1").unwrap().with_key(key);
            daemon.heard.note(|board| board.found((&kind, number), key, endpoint, 9, start));
        };
        assert_eq!(follow(0), is(true, "", 0, 0, None));
        found(1, "a");
        found(1, "b");
        assert_eq!(follow(1_000), is(true, "a b", 0, 0, None));
        // It ends, and what it told last counts.
        daemon.heard.note(|board| {
            board.gone((&kind, 1), "b", start);
            board.end(&kind, 1);
        });
        assert_eq!(follow(2_000), is(true, "a", 1, 1, Some(7_000)));
        // The next one ends at once: another one takes its time to begin.
        daemon.heard.note(|board| board.end(&kind, 2));
        for millis in [2_100, 2_999] {
            let (is_on, keys, ..) = follow(millis);
            assert_eq!((is_on, &*keys), (false, "a"));
        }
        assert_eq!(follow(2_999).4, Some(after(3_000)));
        let (is_on, keys, _, breaks, _) = follow(3_000);
        assert_eq!((is_on, &*keys, breaks), (true, "a", 2));
        found(3, "c");
        assert_eq!(follow(7_999).1, "c a");
        // What it has not found in its time is gone, as is known to be no goodbye.
        let (_, keys, removals, breaks, due) = follow(8_000);
        assert_eq!((&*keys, removals, breaks, due), ("c", 1, 3, None));
    }

    #[tokio::test]
    async fn searches_that_end_early_keep_each_instance_once_and_for_a_limited_time() {
        let daemon = loopback().get().unwrap();
        let kind = ServiceType::of_service("tax").unwrap();
        let start = time::now();
        let mut search = Search::new(&kind, start);
        let mut kept = Vec::new();
        for number in 1..40_u64 {
            let now = time::later(start, Duration::from_secs(number - 1));
            search.follow(&daemon, Duration::from_secs(5), now).unwrap();
            kept.push(search.kept.len());
            for key in ["a", "b"] {
                // One of them is found by the first alone.
                if key == "a" || number == 1 {
                    let endpoint = Endpoint::new("a:1").unwrap().with_key(key);
                    let found = |board: &mut super::super::board::Board| {
                        board.found((&kind, number), key, endpoint, 9, now)
                    };
                    assert!(daemon.heard.note(found));
                }
            }
            daemon.heard.note(|board| board.end(&kind, number));
        }
        assert_eq!(kept[..21], [&[0][..], &[2; 20]].concat());
        assert!(kept[21..].iter().all(|of| *of == 1), "{kept:?}");
    }
}
