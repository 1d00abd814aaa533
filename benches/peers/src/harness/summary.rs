//! Whether we are ahead.

use serde_json::{Value, json};

use super::{Role, row::Row};

/// What comes of one workload for one of ours.
pub(super) struct Verdict {
    workload: &'static str,
    tasks: u64,
    /// `None` where there is no such thing yet.
    ours: Option<&'static str>,
    peer: &'static str,
    ratio: f64,
}

impl Verdict {
    /// For rows that are sorted, the fastest first.
    pub(super) fn of(workload: &'static str, tasks: u64, rows: &[Row]) -> Vec<Self> {
        let Some(peer) = rows.iter().find(|row| row.role == Role::Peer) else {
            return Vec::new();
        };
        let verdict = |ours: Option<&Row>| Self {
            workload,
            tasks,
            ours: ours.map(|ours| ours.name),
            peer: peer.name,
            ratio: ours.map_or(f64::NAN, |ours| peer.comparable / ours.comparable),
        };
        let ours: Vec<&Row> = rows.iter().filter(|row| row.role == Role::Ours).collect();
        if ours.is_empty() {
            return vec![verdict(None)];
        }
        ours.into_iter().map(|ours| verdict(Some(ours))).collect()
    }

    fn word(&self) -> &'static str {
        match self.ratio {
            ratio if ratio > 1.05 => "ahead",
            ratio if ratio >= 0.95 => "parity",
            ratio if ratio.is_nan() => "missing",
            _ => "behind",
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "summary": self.workload,
            "tasks": self.tasks,
            "ours": self.ours,
            "best_peer": self.peer,
            // A number that is none becomes `null`.
            "ratio": (self.ratio * 100.0).round() / 100.0,
            "verdict": self.word(),
        })
    }

    pub(super) fn print(&self) {
        let tasks = if self.tasks == 1 { "1 task" } else { "64 tasks" };
        println!(
            "  {:<36} {tasks:<9} {:<8} {:>6.2}   {} against {}",
            self.workload,
            self.word(),
            self.ratio,
            self.ours.unwrap_or("-"),
            self.peer,
        );
    }
}
