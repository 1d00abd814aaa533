use serde_json::json;

use super::options::Options;

/// What one call costs.
pub(crate) struct CaseRow {
    pub(crate) name: &'static str,
    pub(crate) nanos: f64,
    pub(crate) over_bare: f64,
    pub(crate) target: Option<f64>,
    pub(crate) allocations: f64,
    pub(crate) instructions: Option<f64>,
}

/// How many million calls there are in a second.
pub(crate) struct CrowdRow {
    pub(crate) name: &'static str,
    pub(crate) alone: f64,
    pub(crate) together: f64,
    pub(crate) processors: f64,
}

pub(crate) fn cases(rows: &[CaseRow], options: &Options) {
    if options.json {
        for row in rows {
            let line = json!({
                "case": row.name,
                "ns": row.nanos,
                "over_bare_ns": row.over_bare,
                "target_ns": row.target,
                "allocations": row.allocations,
                "instructions": row.instructions,
            });
            println!("{line}");
        }
        return;
    }
    println!(
        "{:<42} {:>9} {:>10} {:>9} {:>7} {:>13}",
        "case", "ns", "over bare", "at most", "allocs", "instructions"
    );
    for row in rows {
        let target = row.target.map_or(String::new(), |target| {
            let missed = if row.over_bare > target { "!" } else { "" };
            format!("{missed}{target:.0}")
        });
        let instructions =
            row.instructions.map_or(String::new(), |instructions| format!("{instructions:.0}"));
        println!(
            "{:<42} {:>9.1} {:>10.1} {target:>9} {:>7.2} {instructions:>13}",
            row.name, row.nanos, row.over_bare, row.allocations
        );
    }
}

pub(crate) fn crowds(rows: &[CrowdRow], options: &Options) {
    if options.json {
        for row in rows {
            let line = json!({
                "crowd": row.name,
                "one_task_mops": row.alone,
                "many_tasks_mops": row.together,
                "cpus": row.processors,
            });
            println!("{line}");
        }
        return;
    }
    if rows.is_empty() {
        return;
    }
    println!(
        "\n{:<46} {:>8} {:>9} {:>8} {:>6}",
        "million calls a second, 2 threads", "1 task", "64 tasks", "scaling", "CPUs"
    );
    for row in rows {
        println!(
            "{:<46} {:>8.1} {:>9.1} {:>8.2} {:>6.2}",
            row.name,
            row.alone,
            row.together,
            row.together / row.alone,
            row.processors
        );
    }
}
