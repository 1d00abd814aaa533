//! A table, or a JSON object per line; the lines are described in `main.rs`.

use serde_json::json;

use super::{
    Options,
    clock::Usage,
    row::{Row, TASKS, WORKERS, round},
    summary::Verdict,
};

pub(super) struct Report {
    json: bool,
    usage: Usage,
    verdicts: Vec<Verdict>,
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self { json: options.json, usage: Usage::begin(), verdicts: Vec::new() }
    }

    /// The fastest first.
    pub(super) fn add(&mut self, workload: &'static str, mut rows: Vec<Row>) {
        rows.sort_by(|one, other| one.comparable.total_cmp(&other.comparable));
        let is_alone = rows.iter().all(Row::is_alone);
        let tasks = if is_alone { 1 } else { TASKS };
        if !self.json && is_alone {
            println!(
                "\n{:<60} {:>9} {:>9} {:>9} {:>7} {:>6} {:>8}",
                workload, "ns", "over bare", "least", "spread", "allocs", "instr."
            );
        } else if !self.json {
            let title = format!("{workload}, {TASKS} tasks, {WORKERS} workers");
            println!("\n{title:<60} {:>9} {:>27} {:>6}", "Mops/s", "spread", "CPUs");
        }
        for row in &rows {
            if self.json {
                println!("{}", row.json(workload));
            } else {
                row.print();
            }
        }
        self.verdicts.extend(Verdict::of(workload, tasks, &rows));
    }

    pub(super) fn finish(self) {
        let used = self.usage.end();
        if self.json {
            for verdict in &self.verdicts {
                println!("{}", verdict.json());
            }
            println!("{}", json!({ "others_cpus": round(used.by_others) }));
            return;
        }
        println!("\nbest peer against ours (more than 1: ours is ahead)");
        for verdict in &self.verdicts {
            verdict.print();
        }
        println!("\nothers used {:.2} processors on average", used.by_others);
    }
}
