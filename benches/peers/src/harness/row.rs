//! What one contender came to, as a line of the table and as one of JSON.

use serde_json::{Value, json};

use super::{Contender, Role};

/// Of the rows of many tasks.
pub(super) const WORKERS: usize = 2;
pub(super) const TASKS: u64 = 64;

/// What one contender came to.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) role: Role,
    /// What it is ranked by, in nanoseconds: as if it had been called by the plain loop.
    pub(super) comparable: f64,
    figures: Measured,
}

enum Measured {
    Alone(Alone),
    Together(Together),
}

/// One task.
pub(super) struct Alone {
    pub(super) nanos: Figures,
    pub(super) over_bare: f64,
    pub(super) allocations: f64,
    pub(super) instructions: Option<f64>,
    pub(super) records: Option<u64>,
}

/// Many tasks.
pub(super) struct Together {
    pub(super) mops: Figures,
    pub(super) processors: f64,
    pub(super) is_quiet: bool,
    pub(super) hung: u64,
    pub(super) records: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    pub(super) median: f64,
    pub(super) min: f64,
    /// Between the quartiles, as a share of the median.
    pub(super) spread: f64,
}

impl Figures {
    pub(super) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (samples.len() as f64 * share) as usize;
            samples.get(index).copied().unwrap_or(f64::NAN)
        };
        let median = at(0.5);
        Self { median, min: at(0.0), spread: (at(0.75) - at(0.25)) / median }
    }
}

impl Row {
    pub(super) fn alone(contender: &Contender, comparable: f64, figures: Alone) -> Self {
        let figures = Measured::Alone(figures);
        Self { name: contender.name, role: contender.role, comparable, figures }
    }

    pub(super) fn together(contender: &Contender, comparable: f64, figures: Together) -> Self {
        let figures = Measured::Together(figures);
        Self { name: contender.name, role: contender.role, comparable, figures }
    }

    pub(super) fn is_alone(&self) -> bool {
        matches!(self.figures, Measured::Alone(_))
    }

    pub(super) fn json(&self, workload: &str) -> Value {
        let mut line = match &self.figures {
            Measured::Alone(alone) => json!({
                "ns": round(alone.nanos.median),
                "ns_min": round(alone.nanos.min),
                "ns_over_bare": round(alone.over_bare),
                "spread": round(alone.nanos.spread),
                "allocs": round(alone.allocations),
                "instructions": alone.instructions.map(f64::round),
                "records": alone.records,
            }),
            Measured::Together(together) => json!({
                "tasks": TASKS,
                "workers": WORKERS,
                "mops": round(together.mops.median),
                "spread": round(together.mops.spread),
                "cpus": round(together.processors),
                "quiet": together.is_quiet,
                "hung": together.hung,
                "records": together.records,
            }),
        };
        line["workload"] = workload.into();
        line["contender"] = self.name.into();
        line["role"] = self.role.name().into();
        line
    }

    pub(super) fn print(&self) {
        // What is no product stands back.
        let name = match self.role {
            Role::Bare | Role::Floor => format!("({}) {}", self.role.name(), self.name),
            Role::Peer => self.name.to_owned(),
            Role::Ours => format!("> {}", self.name),
        };
        let records = match &self.figures {
            Measured::Alone(Alone { records, .. }) => records,
            Measured::Together(Together { records, .. }) => records,
        };
        let records = records.map_or(String::new(), |records| format!("   {records} records"));
        match &self.figures {
            Measured::Alone(alone) => {
                let instructions = alone.instructions.map_or(String::new(), |n| format!("{n:.0}"));
                println!(
                    "  {name:<58} {:>9.1} {:>9.1} {:>9.1} {:>5.0} % {:>6.2} {instructions:>8}{records}",
                    alone.nanos.median,
                    alone.over_bare,
                    alone.nanos.min,
                    alone.nanos.spread * 100.0,
                    alone.allocations,
                );
            }
            Measured::Together(together) => {
                let disturbed = if together.is_quiet { "" } else { "   disturbed" };
                let hung = match together.hung {
                    0 => String::new(),
                    hung => format!("   {hung} tasks hung"),
                };
                println!(
                    "  {name:<58} {:>9.3} {:>25.0} % {:>6.2}{disturbed}{records}{hung}",
                    together.mops.median,
                    together.mops.spread * 100.0,
                    together.processors,
                );
            }
        }
    }
}

/// To thousandths: the rest is noise.
pub(super) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
