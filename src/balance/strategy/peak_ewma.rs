use std::{sync::Arc, time::Duration};

use super::{
    candidates::{Candidate, Candidates},
    draw::{Look, better_of_two, least, least_by_weight},
    latencies::LatencyTable,
    note::{Note, picks},
    strategy::Strategy,
};
use crate::member::{Measure, Member};

/// Chooses the endpoint with less expected latency, of two that are drawn at random.
///
/// Suits most upstreams: calls whose cost differs, and endpoints that may be slow, or fail at once. The
/// [simulations](crate::balance#strategies) favour it over [`LeastRequest`](super::LeastRequest). Of the two, the call goes
/// to the one with the lower `latency · (calls in flight + 1)`, where `latency` is the larger of the
/// [estimate](crate::rules::PeakEwma) and the age of the oldest call in flight:
///
/// * A slower call raises the estimate at once. It falls with a time constant of 10 s, but after three samples
///   below half of it to their largest, so that an endpoint that is well again gets its share back.
/// * An endpoint that hangs is seen before it answers.
/// * A failure counts as 20 times what calls to the other endpoints take as a rule, at least 100 ms and at
///   most 5 s, and at least as the wait that the endpoint asks for. So failing fast does not attract calls,
///   if [`with_classify`](crate::BalanceLayer::with_classify) says what a failure is: over HTTP clients, pass
///   `HttpClassify`, or an endpoint that answers 500 at once gets most of the calls.
/// * An endpoint that is new counts as the median of the others, as of when it came. While none is known, each
///   is tried with one call at a time.
///
/// It sees the latency of calls that have to wait for their response; calls that are ready at once count as
/// nothing. A choice reads a clock once, and computes two exponentials.
///
/// # Weights
/// If weights differ, endpoints are drawn in proportion to them, and the calls in flight are compared in
/// proportion to them: the call goes to the lower `latency · (calls in flight / weight + 1)`, where the mean
/// weight is 1. So an endpoint gets the share of its weight also where calls rarely overlap, and one that
/// [warms up](crate::balance::BalanceConfig::slow_start) gets a share that grows from the first call on. One that is
/// drawn each time, since most of the weight is its, is compared with any other, and gets the call unless that one is
/// more than twice as good.
///
/// # Example
/// ```
/// use tower_upstream::{balance::{BalanceLayer, PeakEwma}, discover};
/// let layer = BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, PeakEwma::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct PeakEwma {
    look: Look,
    measure: Measure,
}

impl PeakEwma {
    /// Compares two, by the defaults.
    pub const fn new() -> Self {
        Self { look: Look::TWO, measure: Measure { ages: true, ..Measure::DEFAULT } }
    }

    /// Estimates as Finagle and tower do, bit for bit: no age of the oldest call, no fall at once, and each
    /// choice lets the estimates fall. Failures count as always, and an endpoint that is new is tried with
    /// one call at a time.
    ///
    /// ```
    /// use tower_upstream::balance::PeakEwma;
    /// let strategy = PeakEwma::classic();
    /// ```
    pub const fn classic() -> Self {
        Self { look: Look::TWO, measure: Measure { classic: true, ..Measure::DEFAULT } }
    }

    /// Sets the time constant of the estimate: after it, 37 % of a difference is left. Default: 10 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::balance::PeakEwma;
    /// let strategy = PeakEwma::new().with_decay(Duration::from_secs(5));
    /// ```
    #[must_use]
    pub const fn with_decay(mut self, decay: Duration) -> Self {
        self.measure.decay = decay;
        self
    }

    /// Compares this many: from 2 to 10. Default: 2.
    ///
    /// ```
    /// use tower_upstream::balance::PeakEwma;
    /// let strategy = PeakEwma::new().with_choices(3);
    /// ```
    #[must_use]
    pub fn with_choices(mut self, choices: u32) -> Self {
        self.look = Look::at(choices);
        self
    }
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for PeakEwma {
    type Table = LatencyTable;

    fn table(&self, members: &[Arc<Member>], _: Option<&LatencyTable>) -> LatencyTable {
        let two_of = if self.measure.classic { 0 } else { self.look.two_of(members.len()) };
        LatencyTable::new(members, self.measure, two_of).weighed(members)
    }
}

picks!(PeakEwma);

impl PeakEwma {
    #[inline(always)]
    fn choose(
        &self,
        table: &LatencyTable,
        candidates: Candidates<'_>,
        note: &impl Note,
    ) -> Option<usize> {
        if table.two_of > 0 {
            let now = table.now();
            return better_of_two(candidates, table.two_of, |of| table.cost(of, now), note);
        }
        self.choose_otherwise(table, &candidates, note)
    }

    #[inline(never)]
    fn choose_otherwise(
        &self,
        table: &LatencyTable,
        candidates: &Candidates<'_>,
        note: &impl Note,
    ) -> Option<usize> {
        let now = table.now();
        let draw = || table.draw(candidates.len());
        let cost = |candidate: Candidate<'_>| {
            if self.measure.classic {
                candidate.member().fade(now);
            }
            table.weighed_cost(candidate, now)
        };
        match self.look {
            Look::At(choices) if table.is_weighed() => {
                least_by_weight(*candidates, choices, draw, cost, note)
            }
            look => least(candidates, look, draw, cost, note),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use tokio::time::advance;

    use super::{
        super::tests::{counts, members as fresh, obeys, pick},
        *,
    };
    use crate::{choose::Tried, error::BoxError, member::Flight, outcome::ErrIsFailure};

    const MS: Duration = Duration::from_millis(1);

    fn observed(millis: &[u32]) -> Vec<Arc<Member>> {
        let members = fresh(&vec![1; millis.len()]);
        members.iter().zip(millis).for_each(|(member, &millis)| member.observe(millis * MS));
        members
    }

    #[test]
    fn every_way_obeys() {
        for strategy in [PeakEwma::new(), PeakEwma::new().with_choices(5), PeakEwma::classic()] {
            obeys(&strategy);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_quicker_wins_until_it_is_as_busy() {
        for strategy in [PeakEwma::new(), PeakEwma::classic()] {
            let members = observed(&[10, 50]);
            let table = strategy.table(&members, None);
            let pick = || pick(&strategy, &table, &members).unwrap();
            let mut calls = Vec::new();
            let picks = (0..12).map(|_| {
                let index = pick();
                calls.push(members[index].begin());
                index
            });
            let to_slow = picks.filter(|&index| index == 1).count();
            assert_eq!(to_slow, 2, "one of six");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_gets_the_share_of_its_weight_while_idle_and_while_busy() {
        for strategy in [PeakEwma::new(), PeakEwma::new().with_choices(3), PeakEwma::classic()] {
            let members = fresh(&[1, 2, 5, 2]);
            members.iter().for_each(|member| member.observe(10 * MS));
            let idle = counts(&strategy, &members, 10_000);
            for (count, expected) in idle.iter().zip([1_000, 2_000, 5_000, 2_000]) {
                assert!(count.abs_diff(expected) < 1_000, "{idle:?}");
            }
            let table = strategy.table(&members, None);
            let pick = || pick(&strategy, &table, &members).unwrap();
            let calls: Vec<_> = (0..200).map(|_| members[pick()].begin()).collect();
            for (member, expected) in members.iter().zip([20_u32, 40, 100, 40]) {
                assert!(member.in_flight().abs_diff(expected) <= 6, "{members:?}");
            }
            drop(calls);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_slow_is_left_whatever_it_weighs() {
        let strategy = PeakEwma::new();
        let members = fresh(&[1, 2, 5]);
        [10, 10, 120].iter().zip(&members).for_each(|(&ms, member)| member.observe(ms * MS));
        assert_eq!(counts(&strategy, &members, 1_000)[2], 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_most_weight_is_left_only_for_what_is_twice_as_quick() {
        let three = PeakEwma::new().with_choices(3);
        for strategy in [PeakEwma::new(), PeakEwma::classic(), three] {
            for weights in [&[98, 1, 1][..], &[49, 1], &[1, 1, 98]] {
                let of = |millis: u32| {
                    let members = fresh(weights);
                    for (member, &weight) in members.iter().zip(weights) {
                        member.observe(if weight > 1 { millis } else { 10 } * MS);
                    }
                    let counts = counts(&strategy, &members, 10_000);
                    let light = counts.iter().zip(weights).filter(|&(_, &weight)| weight == 1);
                    light.map(|(&count, _)| count).collect::<Vec<_>>()
                };
                let like = of(15);
                assert!(like.iter().all(|count| (100..700).contains(count)), "{like:?}");
                assert_eq!(of(25).iter().sum::<usize>(), 10_000);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_seen_before_it_answers() {
        let strategy = PeakEwma::new();
        let members = observed(&[10, 30]);
        let table = strategy.table(&members, None);
        let mut hangs = Flight::begin(members[0].clone());
        let call = std::pin::pin!(std::future::pending::<Result<(), BoxError>>());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(hangs.poll(call, &mut cx, &ErrIsFailure).is_pending());
        assert_eq!(pick(&strategy, &table, &members), Some(0), "20 ms against 30");
        advance(100 * MS).await;
        assert_eq!(pick(&strategy, &table, &members), Some(1));
        drop(hangs);
        assert!(members[0].latency() > Some(99 * MS), "and after it was given up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_counts_as_the_median_and_is_tried_once_where_none_is_known() {
        let strategy = PeakEwma::new();
        let members = [observed(&[10, 20, 90]), fresh(&[1])].concat();
        let table = strategy.table(&members, None);
        let now = table.now();
        let tried = Tried::default();
        let candidates = Candidates::new(&members, u64::MAX, &tried);
        let cost = |index| table.cost(candidates.get(index).unwrap(), now);
        assert_eq!([cost(1), cost(3)], [2e7, 2e7]);
        let fresh = fresh(&[1, 1, 1]);
        let table = strategy.table(&fresh, None);
        let calls: Vec<_> = (0..30)
            .filter_map(|_| pick(&strategy.with_choices(10), &table, &fresh))
            .map(|index| fresh[index].begin())
            .collect();
        assert!(fresh.iter().all(|member| member.in_flight() >= 5), "{}", calls.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peak_is_forgotten_with_time_or_once_it_is_disproved() {
        let strategy = PeakEwma::new();
        let members = observed(&[2_000, 50]);
        let table = strategy.table(&members, None);
        assert!(counts(&strategy, &members, 100)[0] == 0);
        for _ in 0..3 {
            members[0].observe(20 * MS);
        }
        assert_eq!(pick(&strategy, &table, &members), Some(0));
        members[0].observe(2_000 * MS);
        members[1].observe(50 * MS);
        advance(Duration::from_secs(30)).await;
        members[1].observe(50 * MS);
        members[1].observe(110 * MS);
        assert_eq!(pick(&strategy, &table, &members), Some(0), "e^-3 of 2 s");
    }
}
