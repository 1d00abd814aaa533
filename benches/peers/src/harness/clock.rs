//! What time the processors spent, on us and on others.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// Seconds that this thread has run.
pub(super) fn thread() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

/// Seconds that the threads of this process have run.
fn process() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Who used the processors, since it was made.
pub(super) struct Usage {
    start: Instant,
    process: f64,
    all: Option<f64>,
}

/// In processors.
#[derive(Clone, Copy)]
pub(super) struct Used {
    pub(super) by_us: f64,
    /// 0 where there is no `/proc`.
    pub(super) by_others: f64,
}

impl Usage {
    pub(super) fn begin() -> Self {
        Self { start: Instant::now(), process: process(), all: busy() }
    }

    pub(super) fn end(&self) -> Used {
        let time = self.start.elapsed().as_secs_f64();
        let ours = process() - self.process;
        let all = busy().zip(self.all).map_or(ours, |(now, then)| now - then);
        Used { by_us: ours / time, by_others: ((all - ours) / time).max(0.0) }
    }
}

impl Used {
    pub(super) fn is_quiet(self) -> bool {
        self.by_others < 0.3
    }
}

/// Sleeps until others leave us the processors, or until `patience`, of which it takes, is at an
/// end.
pub(super) fn wait_for_quiet(patience: &mut Duration) {
    const LOOK: Duration = Duration::from_millis(100);
    while !patience.is_zero() {
        let usage = Usage::begin();
        thread::sleep(LOOK);
        *patience = patience.saturating_sub(LOOK);
        if usage.end().is_quiet() {
            return;
        }
    }
}

/// Seconds that all processors have not been idle.
fn busy() -> Option<f64> {
    /// The unit of the figures, a hundredth of a second on every Linux.
    const TICK: f64 = 0.01;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // User, nice, system, idle, waiting, interrupts of two kinds, stolen; guests are users, too.
    let busy = [0, 1, 2, 5, 6, 7].into_iter().filter_map(|index| ticks.get(index));
    Some(busy.sum::<f64>() * TICK)
}
