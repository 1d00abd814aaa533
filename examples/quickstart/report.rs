//! What the day looked like: a table each second, and totals.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    time::Duration,
};

use tower_upstream::{balance::BalanceHandle, breaker::CircuitBreakerLayer};

use crate::load::Done;

#[derive(Default)]
pub(crate) struct Report {
    quiet: bool,
    /// The table that stands on the terminal, where there is one.
    table: Vec<String>,
    /// Names of the endpoints, by key.
    names: BTreeMap<String, &'static str>,
    second: BTreeMap<String, Vec<Duration>>,
    answered: BTreeMap<String, u64>,
    latencies: Vec<Duration>,
    failed: u64,
    refused: u64,
    failovers: u64,
    first_error: Option<String>,
}

impl Report {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet, ..Self::default() }
    }

    pub(crate) fn name(&mut self, key: String, name: &'static str) {
        self.names.insert(key, name);
    }

    pub(crate) fn add(&mut self, done: Done) {
        match done.result {
            Ok(good) => {
                self.failovers += u64::from(good.attempts > 1);
                *self.answered.entry(good.endpoint.clone()).or_default() += 1;
                self.second.entry(good.endpoint).or_default().push(done.latency);
            }
            Err(error) => {
                self.failed += 1;
                self.refused += u64::from(error.is_refused());
                self.first_error.get_or_insert_with(|| format!("{error}: {error:?}"));
            }
        }
        self.latencies.push(done.latency);
    }

    /// Tells what happens now.
    pub(crate) fn event(&mut self, at: Duration, what: &str) {
        if !self.quiet {
            self.erase();
            println!("{:>5.1} s  {what}", at.as_secs_f64());
            self.draw();
        }
    }

    /// Shows the second that has passed.
    pub(crate) fn table(
        &mut self,
        at: Duration,
        members: &BalanceHandle,
        breakers: &CircuitBreakerLayer,
    ) {
        let mut second = std::mem::take(&mut self.second);
        if self.quiet {
            return;
        }
        let calls: usize = second.values().map(Vec::len).sum();
        let mut lines = vec![format!(
            "{:>5.1} s  {:<8} {:>6} {:>9} {:>9} {:>9}  {:<14} {}",
            at.as_secs_f64(),
            "endpoint",
            "share",
            "in flight",
            "p50",
            "p99",
            "eligibility",
            "breaker"
        )];
        let mut members = members.members().to_vec();
        members.sort_by_key(|member| self.names.get(member.key()));
        for member in members {
            let mut latencies = second.remove(member.key()).unwrap_or_default();
            latencies.sort_unstable();
            let share = 100.0 * latencies.len() as f64 / calls.max(1) as f64;
            let reasons: Vec<_> = member.reasons().map(|reason| reason.to_string()).collect();
            let eligibility =
                if reasons.is_empty() { "eligible".to_owned() } else { reasons.join(", ") };
            let breaker =
                breakers.handle_for(member.key()).map(|handle| handle.state().to_string());
            lines.push(format!(
                "         {:<8} {:>5.1}% {:>9} {:>9} {:>9}  {:<14} {}",
                self.names.get(member.key()).copied().unwrap_or("?"),
                share,
                member.in_flight(),
                millis(percentile(&latencies, 0.5)),
                millis(percentile(&latencies, 0.99)),
                eligibility,
                breaker.unwrap_or_default()
            ));
        }
        lines.push(format!(
            "         {} calls so far, {} failed, {} failovers, {} refused",
            self.latencies.len(),
            self.failed,
            self.failovers,
            self.refused
        ));
        self.erase();
        if std::io::stdout().is_terminal() {
            self.table = lines;
            self.draw();
        } else {
            println!("{}", lines.join("\n"));
        }
    }

    /// On a terminal the next table takes the place of the last, below all events.
    fn erase(&self) {
        if !self.table.is_empty() {
            print!("\x1b[{}A\x1b[J", self.table.len());
        }
    }

    fn draw(&self) {
        self.table.iter().for_each(|line| println!("{line}"));
        let _ = std::io::stdout().flush();
    }

    /// Prints the totals. `true` if no call failed.
    pub(crate) fn finish(&mut self, json: bool) -> bool {
        self.latencies.sort_unstable();
        let at = |share| percentile(&self.latencies, share);
        if json {
            let endpoints: BTreeMap<_, _> = self
                .names
                .iter()
                .map(|(key, name)| (*name, self.answered.get(key).copied().unwrap_or(0)))
                .collect();
            println!(
                "{}",
                serde_json::json!({
                    "calls": self.latencies.len(),
                    "failed": self.failed,
                    "refused": self.refused,
                    "failovers": self.failovers,
                    "p50_ms": rounded(at(0.5)),
                    "p99_ms": rounded(at(0.99)),
                    "p999_ms": rounded(at(0.999)),
                    "endpoints": endpoints,
                })
            );
        } else {
            println!(
                "\n{} calls, {} failed, {} failovers, {} refused; p50 {}, p99 {}, p99.9 {}",
                self.latencies.len(),
                self.failed,
                self.failovers,
                self.refused,
                millis(at(0.5)),
                millis(at(0.99)),
                millis(at(0.999))
            );
        }
        if let Some(error) = &self.first_error {
            eprintln!("the first error: {error}");
        }
        self.failed == 0
    }
}

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// In milliseconds, to the microsecond.
fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
