//! The calls that are on their way, by when they first had to wait, pure: what happened and when in, how
//! many are overdue out.

/// At most so many are kept.
const BUCKETS: u64 = 64;
/// At least so many, but for one that is being filled, make up the time after which a call is slow.
const FINENESS: u64 = 30;

/// Calls that have not ended, in buckets of when they began. All times are in microseconds.
///
/// A call is overdue as soon as its whole bucket has been on its way for the time after which a call is
/// slow: never early, and at most a fifteenth of that time late.
#[derive(Debug)]
pub(super) struct Pending {
    /// What all tickets of its generation have in common.
    tag: u64,
    slow_after: u64,
    /// Of each bucket, as a power of two: it is asked for with each call.
    length: u32,
    /// How many are kept: those of `slow_after`, and the one that is being filled.
    kept: u64,
    /// The bucket that is filled now, of all there ever were. Never goes back, also if a call comes late with
    /// an older time.
    last: u64,
    /// Below zero where calls have left that a [resizing](Self::resize) put into a later bucket: what
    /// is missing here is there too much, and they meet at last in `overdue`.
    buckets: [i32; BUCKETS as usize],
    /// The calls of all buckets before.
    overdue: i32,
}

impl Pending {
    pub(super) fn new(tag: u64, slow_after: u64, now: u64) -> Self {
        let length = (slow_after / FINENESS).max(1).ilog2();
        let kept = slow_after.div_ceil(1 << length) + 1;
        let buckets = [0; BUCKETS as usize];
        Self { tag, slow_after, length, kept, last: now >> length, buckets, overdue: 0 }
    }

    pub(super) fn tag(&self) -> u64 {
        self.tag
    }

    /// A call had to wait: when it is overdue.
    pub(super) fn enter(&mut self, now: u64) -> u64 {
        self.advance(now);
        *self.place(now) += 1;
        self.due(now >> self.length)
    }

    /// A call that began at this time has ended.
    pub(super) fn leave(&mut self, began: u64) {
        *self.place(began) -= 1;
    }

    /// Calls that are overdue.
    pub(super) fn overdue(&mut self, now: u64) -> u64 {
        self.advance(now);
        self.overdue.max(0).unsigned_abs().into()
    }

    /// When the next of the others is.
    pub(super) fn next(&self) -> Option<u64> {
        let number = self.numbers().find(|number| self.buckets[slot(*number)] > 0)?;
        Some(self.due(number))
    }

    /// Another time after which a call is slow. Each bucket goes where its end falls now, so that still
    /// no call is overdue too early.
    pub(super) fn resize(&mut self, slow_after: u64, now: u64) {
        if slow_after == self.slow_after {
            return;
        }
        self.advance(now);
        let now = now.max(self.start(self.last));
        let mut resized = Self::new(self.tag, slow_after, now);
        *resized.place(self.start(*self.numbers().start()).saturating_sub(1)) += self.overdue;
        for number in self.numbers() {
            let end = self.start(number + 1).saturating_sub(1).min(now);
            *resized.place(end) += self.buckets[slot(number)];
        }
        *self = resized;
    }

    /// Those of the buckets that are kept.
    fn numbers(&self) -> std::ops::RangeInclusive<u64> {
        self.last.saturating_sub(self.kept - 1)..=self.last
    }

    fn start(&self, number: u64) -> u64 {
        number.saturating_mul(1 << self.length)
    }

    fn due(&self, number: u64) -> u64 {
        self.start(number.saturating_add(self.kept))
    }

    /// Where a call is counted that began at this time. After a time that has not come yet no call
    /// looks: that call is so old that its ticket does not tell when it began.
    fn place(&mut self, began: u64) -> &mut i32 {
        let number = began >> self.length;
        if self.numbers().contains(&number) {
            &mut self.buckets[slot(number)]
        } else {
            &mut self.overdue
        }
    }

    fn advance(&mut self, now: u64) {
        let number = now >> self.length;
        if number > self.last {
            let kept = self.numbers();
            self.last = number;
            for number in kept.take_while(|kept| kept + self.kept <= number) {
                self.overdue += std::mem::take(&mut self.buckets[slot(number)]);
            }
        }
    }
}

fn slot(number: u64) -> usize {
    (number % BUCKETS) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Enter,
        /// The one with this index.
        Leave(usize),
        Pass(u64),
        Resize(u64),
    }

    fn steps(resizes: u32) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Enter),
            4 => any::<usize>().prop_map(Step::Leave),
            4 => prop_oneof![0_u64..30, 0_u64..3_000].prop_map(Step::Pass),
            resizes => (1_u64..2_000).prop_map(Step::Resize),
        ];
        prop::collection::vec(step, 0..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// The model keeps when each call began, and counts those whose bucket is full and as old.
        #[test]
        fn a_call_is_overdue_when_its_bucket_is(
            start in 0_u64..5_000, slow_after in 1_u64..2_000, steps in steps(0),
        ) {
            let mut pending = Pending::new(0, slow_after, start);
            let (mut now, mut began) = (start, Vec::new());
            for step in steps {
                match step {
                    Step::Enter => {
                        let due = pending.enter(now);
                        prop_assert!(due >= now + slow_after);
                        prop_assert!(due <= now + slow_after + (slow_after / 15).max(2));
                        began.push(now);
                    }
                    Step::Leave(index) if !began.is_empty() => {
                        pending.leave(began.swap_remove(index % began.len()));
                    }
                    Step::Leave(_) | Step::Resize(_) => {}
                    Step::Pass(time) => now += time,
                }
                let length = 1 << pending.length;
                let due = |began: &u64| (began / length + pending.kept) * length;
                let expected = began.iter().filter(|began| due(began) <= now).count() as u64;
                let next = began.iter().map(due).filter(|due| *due > now).min();
                prop_assert_eq!((pending.overdue(now), pending.next()), (expected, next));
            }
        }

        /// Whatever is set anew: never early, late by no more than a bucket of any time it had, and
        /// nothing is left when all have ended.
        #[test]
        fn a_call_is_counted_once_whatever_is_set_anew(
            slow_after in 1_u64..2_000, steps in steps(2),
        ) {
            let mut pending = Pending::new(0, slow_after, 0);
            let (mut now, mut began, mut slow_after) = (0, Vec::new(), slow_after);
            let mut longest = slow_after;
            for step in steps {
                match step {
                    Step::Enter => {
                        pending.enter(now);
                        began.push(now);
                    }
                    Step::Leave(index) if !began.is_empty() => {
                        pending.leave(began.swap_remove(index % began.len()));
                    }
                    Step::Leave(_) => {}
                    Step::Pass(time) => now += time,
                    Step::Resize(time) => {
                        pending.resize(time, now);
                        slow_after = time;
                        longest = longest.max(time);
                    }
                }
                let older = |time| began.iter().filter(|began| *began + time <= now).count() as u64;
                prop_assert!(pending.overdue(now) <= older(slow_after));
                let all = pending.buckets.iter().sum::<i32>() + pending.overdue;
                prop_assert_eq!(all, began.len() as i32);
            }
            now += 4 * longest + 64;
            prop_assert_eq!(pending.overdue(now), began.len() as u64);
            began.into_iter().for_each(|began| pending.leave(began));
            prop_assert_eq!((pending.overdue(now), pending.next()), (0, None));
            prop_assert_eq!(pending.buckets, [0; BUCKETS as usize]);
        }
    }

    #[test]
    fn who_comes_late_with_an_older_time_is_counted_where_it_leaves() {
        // Four microseconds a bucket, of which thirty-eight are a hundred and fifty.
        let mut pending = Pending::new(0, 150, 1_000);
        pending.enter(1_000);
        pending.enter(985);
        assert_eq!((pending.overdue(1_139), pending.overdue(1_140)), (0, 1));
        pending.leave(985);
        assert_eq!((pending.overdue(1_155), pending.overdue(1_156)), (0, 1));
        // Nor is one lost that is so old that its ticket tells a time to come.
        pending.leave(9_000_000);
        assert_eq!((pending.overdue(1_160), pending.next()), (0, None));
    }
}
