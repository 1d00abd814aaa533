use std::time::Duration;

/// How a latency estimate rises to peaks and falls again, and what an entry costs by it.
///
/// The estimate is the last peak, which fades with the time constant `decay`: after a time `t` it is `e·w`,
/// where `w = e^(-t / decay)`. A sample above that replaces it. The cost is
/// `max(e, oldest) · (in flight + 1) / weight`, where `oldest` is the age of the oldest request in flight, so
/// that a server that hangs is seen before it answers.
///
/// [`PeakEwma::new`] differs from [`PeakEwma::classic`] where that is weak:
///
/// | | classic | new |
/// |---|---|---|
/// | a server that is well again | gets its share back after more than 30 s | after 3 samples below half of the estimate, their largest replaces it |
/// | a failure | counts as its latency, so one that fails fast attracts calls | costs at least 20 times the median of its peers ([`penalty`]) |
/// | a peak | is compared with the estimate at its last update | with the estimate as of now, as in linkerd |
/// | a sample below | is averaged in, `e·w + sample·(1 - w)`: a rare one raises what has faded | leaves what has faded as it is |
///
/// Sources: Finagle's `PeakEwma.scala` and tower's `load::PeakEwma` (classic, to the bit); linkerd2-proxy
/// (peaks, failures).
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::{Latency, PeakEwma};
/// let (rule, second) = (PeakEwma::new(), Duration::from_secs(1));
/// let mut server = Latency::default();
/// rule.observe(&mut server, 2 * second, second);
/// assert_eq!(rule.latency(&server, second), Some(2e9));
/// for _ in 0..3 {
///     rule.observe(&mut server, second / 10, second);
/// }
/// assert_eq!(rule.latency(&server, second), Some(1e8));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeakEwma {
    decay_nanos: f64,
    classic: bool,
}

/// What is known of the latency of one server, in nanoseconds. [`PeakEwma`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Latency {
    /// As of the last update; 0 is unknown.
    nanos: f64,
    updated: Duration,
    /// How many samples in a row were below half of the estimate, and the largest of them.
    below: u8,
    largest_below: f64,
}

/// Cost of a server of which nothing is known while a request is in flight: it is tried once at a time.
///
/// `Long.MaxValue >> 16` nanoseconds, as in Finagle; the requests in flight are added.
///
/// ```
/// assert_eq!(tower_upstream::rules::UNKNOWN_COST, 140_737_488_355_327.0);
/// ```
pub const UNKNOWN_COST: f64 = (i64::MAX >> 16) as f64;

/// So many samples in a row confirm that a server is faster than its estimate.
const CONFIRMING: u8 = 3;

impl PeakEwma {
    /// Creates the rule with a decay of 10 s, that forgets a peak after three confirming samples.
    pub const fn new() -> Self {
        Self { decay_nanos: 10e9, classic: false }
    }

    /// Creates the rule that computes bit for bit what Finagle and tower compute, with a decay of 10 s.
    ///
    /// Their reading of a load is an update: call [`decay`](Self::decay) before each
    /// [`cost`](Self::cost).
    pub const fn classic() -> Self {
        Self { decay_nanos: 10e9, classic: true }
    }

    /// Sets the time constant: after it, 37 % of a difference is left. Zero becomes 1 ns. Default: 10 s.
    #[must_use]
    pub fn with_decay(self, decay: Duration) -> Self {
        Self { decay_nanos: nanos(decay).max(1.0), ..self }
    }

    /// Takes a sample into the estimate.
    pub fn observe(&self, of: &mut Latency, sample: Duration, now: Duration) {
        let sample = nanos(sample);
        let weight = self.weight(of, now);
        let decayed = of.nanos * weight;
        of.nanos = match self.classic {
            true if sample > of.nanos => sample,
            true => decayed + sample * (1.0 - weight),
            false => of.confirm(sample, decayed).unwrap_or(decayed.max(sample)),
        };
        of.updated = of.updated.max(now);
    }

    /// Takes the time of a request that ended without an answer into the estimate, if that makes it worse.
    /// Use it for a dropped request: the server took at least so long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::rules::{Latency, PeakEwma};
    /// let (rule, second) = (PeakEwma::new(), Duration::from_secs(1));
    /// let mut server = Latency::seeded(1e9, Duration::ZERO);
    /// rule.observe_worse(&mut server, second / 2, Duration::ZERO);
    /// assert_eq!(rule.latency(&server, Duration::ZERO), Some(1e9));
    /// rule.observe_worse(&mut server, 3 * second, Duration::ZERO);
    /// assert_eq!(rule.latency(&server, Duration::ZERO), Some(3e9));
    /// ```
    pub fn observe_worse(&self, of: &mut Latency, at_least: Duration, now: Duration) {
        if nanos(at_least) > self.now(of, now) {
            self.observe(of, at_least, now);
        }
    }

    /// Takes a failure into the estimate: its sample is the longest of how long it took, the
    /// [`penalty`] and the wait that the server asked for, of which 300 s count at most.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::rules::{Latency, PeakEwma, penalty};
    /// let (rule, now) = (PeakEwma::new(), Duration::ZERO);
    /// let mut server = Latency::default();
    /// let penalty = penalty(Some(50e6));
    /// rule.observe_failure(&mut server, Duration::from_millis(1), penalty, None, now);
    /// assert_eq!(rule.latency(&server, now), Some(1e9));
    /// ```
    pub fn observe_failure(
        &self,
        of: &mut Latency,
        took: Duration,
        penalty: Duration,
        asked: Option<Duration>,
        now: Duration,
    ) {
        let asked = asked.unwrap_or_default().min(MAX_ASKED);
        self.observe(of, took.max(penalty).max(asked), now);
    }

    /// Lets the estimate fall to what it is now, and returns it.
    pub fn decay(&self, of: &mut Latency, now: Duration) -> f64 {
        of.nanos = self.now(of, now);
        of.updated = of.updated.max(now);
        of.nanos
    }

    /// Returns the estimate as of now, in nanoseconds; `None` before the first sample.
    pub fn latency(&self, of: &Latency, now: Duration) -> Option<f64> {
        (of.nanos > 0.0).then(|| self.now(of, now))
    }

    /// Returns the cost of one more request, of which the least is best.
    ///
    /// A server of which nothing is known costs nothing while it is idle, and
    /// [`UNKNOWN_COST`] while it is tried; but no less than the age of its oldest request says. A weight that
    /// is not above 0 (or is NaN) costs infinitely much.
    pub fn cost(&self, of: &Latency, load: Load, now: Duration) -> f64 {
        let (latency, oldest) = (self.now(of, now), nanos(load.oldest));
        peak_ewma_cost(latency, load.in_flight, oldest, load.weight)
    }

    fn now(&self, of: &Latency, now: Duration) -> f64 {
        of.nanos * self.weight(of, now)
    }

    fn weight(&self, of: &Latency, now: Duration) -> f64 {
        self.decayed(1.0, nanos(now.saturating_sub(of.updated)))
    }

    /// What is left of an estimate after so many nanoseconds.
    #[inline]
    pub(crate) fn decayed(&self, estimate: f64, since: f64) -> f64 {
        estimate * (-since / self.decay_nanos).exp()
    }
}

/// [`PeakEwma::cost`], of nanoseconds; a `latency` of 0 is unknown.
#[inline]
pub(crate) fn peak_ewma_cost(latency: f64, in_flight: u32, oldest: f64, weight: f64) -> f64 {
    let calls = f64::from(in_flight);
    let cost = if latency > 0.0 {
        latency.max(oldest) * (calls + 1.0)
    } else if in_flight == 0 {
        0.0
    } else {
        (UNKNOWN_COST + calls).max(oldest * (calls + 1.0))
    };
    if weight == 1.0 {
        return cost;
    }
    if weight > 0.0 { cost / weight } else { f64::INFINITY }
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// Creates an estimate that begins with `nanos`: for a newcomer, the median of its peers. What is not a
    /// positive number is unknown.
    pub fn seeded(nanos: f64, now: Duration) -> Self {
        let nanos = if nanos > 0.0 && nanos.is_finite() { nanos } else { 0.0 };
        Self { nanos, updated: now, ..Self::default() }
    }

    /// Returns the estimate as of the last update, in nanoseconds; 0 is unknown.
    pub(crate) fn nanos(&self) -> f64 {
        self.nanos
    }

    pub(crate) fn updated(&self) -> Duration {
        self.updated
    }

    /// How many samples in a row were below half of the estimate, and the largest of them.
    pub(crate) fn confirming(&self) -> (u8, f64) {
        (self.below, self.largest_below)
    }

    pub(crate) fn confirmed(self, below: u8, largest_below: f64) -> Self {
        Self { below, largest_below, ..self }
    }

    /// The largest of the samples that confirm that the estimate is too high, if this one is the last of
    /// them.
    fn confirm(&mut self, sample: f64, decayed: f64) -> Option<f64> {
        let (below, largest) = (self.below + 1, self.largest_below.max(sample));
        let is_below = sample < decayed / 2.0;
        let goes_on = is_below && below < CONFIRMING;
        (self.below, self.largest_below) = if goes_on { (below, largest) } else { (0, 0.0) };
        (is_below && !goes_on).then_some(largest)
    }
}

/// How busy a server is. [`PeakEwma::cost`] uses it.
///
/// ```
/// use tower_upstream::rules::{Latency, Load, PeakEwma};
/// use std::time::Duration;
/// let server = Latency::seeded(20.0, Duration::ZERO);
/// let busy = Load { in_flight: 5, ..Load::default() };
/// assert_eq!(PeakEwma::new().cost(&server, busy, Duration::ZERO), 120.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Requests in flight. Default: 0.
    pub in_flight: u32,
    /// Age of the oldest of them. The classic has none. Default: zero.
    pub oldest: Duration,
    /// Share of the load, relative to the others. Default: 1.
    pub weight: f64,
}

impl Default for Load {
    fn default() -> Self {
        Self { in_flight: 0, oldest: Duration::ZERO, weight: 1.0 }
    }
}

const MAX_ASKED: Duration = Duration::from_secs(300);

/// Least latency that a failure counts as: 20 times the median latency of the peers, from 100 ms to 5 s.
///
/// `median` is in nanoseconds, as from [`median`], and that of what calls take: a peak estimate is far above
/// it. 1 s if there is none. In proportion to the peers, since a fixed time, such as linkerd's 5 s, hides a
/// server of quick calls long after it is well.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::penalty;
/// assert_eq!(penalty(Some(50e6)), Duration::from_secs(1));
/// assert_eq!(penalty(Some(1e6)), Duration::from_millis(100));
/// assert_eq!(penalty(Some(1e9)), Duration::from_secs(5));
/// ```
pub fn penalty(median: Option<f64>) -> Duration {
    let nanos = median.filter(|median| !median.is_nan()).map_or(1e9, |median| 20.0 * median);
    Duration::from_nanos(nanos.clamp(100e6, 5e9) as u64)
}

/// Returns the median of the numbers, of an even count the lower of the two in the middle. NaN and what is
/// not above 0 is left out, as unknown.
///
/// ```
/// use tower_upstream::rules::median;
/// assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
/// assert_eq!(median([0.0, f64::NAN]), None);
/// ```
pub fn median(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut known: Vec<_> = numbers.into_iter().filter(|&number| number > 0.0).collect();
    let middle = known.len().checked_sub(1)? / 2;
    let (_, median, _) = known.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

/// As tower has it, to the bit.
fn nanos(duration: Duration) -> f64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000_000) as f64;
    f64::from(duration.subsec_nanos()) + seconds
}

#[cfg(test)]
#[path = "peak_ewma_tests.rs"]
mod tests;
