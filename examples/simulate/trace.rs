//! What became of each request, and the figures that can be told from it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    ops::Range,
    time::Duration,
};

use crate::scenario::Scenario;

pub(crate) struct Trace {
    pub(crate) scenario: Scenario,
    /// In the order of their ends.
    done: Vec<Done>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) sent: Duration,
    pub(crate) key: u64,
    pub(crate) took: Duration,
    /// `None`: the balancer answered itself.
    pub(crate) server: Option<usize>,
    /// The server had to learn the answer.
    pub(crate) missed: bool,
    pub(crate) succeeded: bool,
}

/// From and to, in seconds of the simulation.
pub(crate) type Window = Range<f64>;

impl Trace {
    pub(crate) fn new(scenario: Scenario, done: Vec<Done>) -> Self {
        Self { scenario, done }
    }

    pub(crate) fn requests(&self) -> usize {
        self.done.len()
    }

    /// Those that were sent in the window.
    fn sent_in(&self, window: Window) -> impl Iterator<Item = &Done> {
        self.done.iter().filter(move |done| window.contains(&done.sent.as_secs_f64()))
    }

    /// The part of the requests of a window that `server` got.
    pub(crate) fn part_of(&self, server: usize, window: Window) -> f64 {
        let all = self.sent_in(window.clone()).count();
        let its = self.sent_in(window).filter(|done| done.server == Some(server)).count();
        its as f64 / all.max(1) as f64
    }

    /// The part of the requests of a window that are so.
    pub(crate) fn part(&self, window: Window, is_so: impl Fn(&Done) -> bool) -> f64 {
        let all = self.sent_in(window.clone()).count();
        self.sent_in(window).filter(|done| is_so(done)).count() as f64 / all.max(1) as f64
    }

    /// Tells `tell` of each request that a server got, in the order in which they were sent, and what each server had
    /// in flight before.
    pub(crate) fn with_loads(&self, mut tell: impl FnMut(&Done, usize, &[u32])) {
        let mut sent: Vec<_> =
            self.done.iter().filter_map(|done| Some((done, done.server?))).collect();
        sent.sort_by_key(|(done, _)| done.sent);
        let mut ends = BinaryHeap::<Reverse<(Duration, usize)>>::new();
        let mut loads = vec![0_u32; self.scenario.servers];
        for (done, server) in sent {
            while let Some(Reverse((_, ended))) =
                ends.peek().copied().filter(|Reverse((at, _))| *at <= done.sent)
            {
                loads[ended] -= 1;
                ends.pop();
            }
            tell(done, server, &loads);
            loads[server] += 1;
            ends.push(Reverse((done.sent + done.took, server)));
        }
    }

    /// How much more the fullest server has in flight than all on average: the mean over the requests
    /// of a window, when they are sent.
    pub(crate) fn worst_to_mean(&self, window: Window) -> f64 {
        let (mut sum, mut count) = (0.0, 0_u32);
        self.with_loads(|done, server, loads| {
            if window.contains(&done.sent.as_secs_f64()) {
                let with_it = |(of, load): (usize, &u32)| load + u32::from(of == server);
                let loads = loads.iter().enumerate().map(with_it);
                let most = loads.clone().max().unwrap_or(0);
                sum += f64::from(most) * loads.len() as f64 / f64::from(loads.sum::<u32>());
                count += 1;
            }
        });
        sum / f64::from(count.max(1))
    }

    /// As above, but 1 is what it would get if each server got the same.
    pub(crate) fn share_of(&self, server: usize, window: Window) -> f64 {
        self.part_of(server, window) * self.scenario.servers as f64
    }

    pub(crate) fn failed(&self, window: Window) -> usize {
        self.sent_in(window).filter(|done| !done.succeeded).count()
    }

    /// The part of the requests of a window that were answered well, and in time.
    pub(crate) fn done_within(&self, limit: Duration, window: Window) -> f64 {
        let in_time = |done: &&Done| done.succeeded && done.took <= limit;
        let all = self.sent_in(window.clone()).count();
        self.sent_in(window).filter(in_time).count() as f64 / all.max(1) as f64
    }

    /// How long the requests of a window took, in order.
    pub(crate) fn latencies(&self, window: Window) -> Vec<Duration> {
        let mut latencies: Vec<_> = self.sent_in(window).map(|done| done.took).collect();
        latencies.sort_unstable();
        latencies
    }

    /// The batches of a window, the quickest first: how long the slowest request of each took, and how many had
    /// to be learnt.
    pub(crate) fn batches(&self, window: Window) -> Vec<(Duration, usize)> {
        let mut batches = BTreeMap::<Duration, (Duration, usize)>::new();
        for done in self.sent_in(window) {
            let (took, missed) = batches.entry(done.sent).or_default();
            *took = done.took.max(*took);
            *missed += usize::from(done.missed);
        }
        let mut batches: Vec<_> = batches.into_values().collect();
        batches.sort_unstable();
        batches
    }

    /// The requests that `server` has, after each change and with its moment.
    pub(crate) fn in_flight(&self, server: usize) -> Vec<(Duration, i64)> {
        let of_it = self.done.iter().filter(|done| done.server == Some(server));
        // Of one moment first what ends.
        let mut changes: Vec<_> =
            of_it.flat_map(|done| [(done.sent, 1), (done.sent + done.took, -1)]).collect();
        changes.sort_unstable();
        let mut count = 0;
        for (_, change) in &mut changes {
            count += *change;
            *change = count;
        }
        changes
    }

    /// After a change in the window.
    pub(crate) fn most_in_flight(&self, server: usize, window: Window) -> i64 {
        let changes = self.in_flight(server).into_iter();
        let within = changes.filter(|(at, _)| window.contains(&at.as_secs_f64()));
        within.map(|(_, count)| count).max().unwrap_or(0)
    }
}

/// The value that the part `quantile` of them stays at or below: the nearest rank.
pub(crate) fn quantile(sorted: &[Duration], quantile: f64) -> Duration {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied().unwrap_or_default()
}
