//! What was found: one object, or a table to read.

use serde_json::{Map, Value, json};

use crate::{
    policy::{ABSENT, DEFAULT, Policy},
    sims::{Bound, Limit, Run, Simulation},
    trace::Trace,
};

pub(crate) struct Report {
    head: Map<String, Value>,
    limits: Vec<Value>,
    policies: Vec<Value>,
    pass: bool,
}

/// Enough for each figure, and no more than is meant.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl Report {
    pub(crate) fn new(simulation: &Simulation, seed: u64, scale: f64) -> Self {
        let head = json!({
            "sim": simulation.number,
            "title": simulation.title,
            "seed": seed,
            "scale": scale,
            "default": DEFAULT,
            "absent": ABSENT,
        });
        let head = head.as_object().cloned().unwrap_or_default();
        Self { head, limits: Vec::new(), policies: Vec::new(), pass: true }
    }

    pub(crate) fn add(&mut self, figures: &[(&'static str, f64)], run: &Run, policy: &Policy, trace: &Trace) {
        let clients = run.scenario.clients;
        let figures: Map<_, _> =
            figures.iter().map(|&(name, value)| (name.to_owned(), json!(rounded(value)))).collect();
        if policy.name == DEFAULT {
            run.limits.iter().for_each(|limit| self.judge(limit, clients, &figures));
        }
        self.policies.push(json!({
            "name": policy.name,
            "by": policy.by,
            "clients": clients,
            "requests": trace.requests(),
            "figures": figures,
        }));
    }

    fn judge(&mut self, limit: &Limit, clients: usize, figures: &Map<String, Value>) {
        // A figure that is not there meets no limit.
        let value = figures.get(limit.figure).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let pass = limit.bound.is_met(value);
        let (word, bound) = match limit.bound {
            Bound::AtLeast(bound) => ("at_least", bound),
            Bound::AtMost(bound) => ("at_most", bound),
            Bound::Below(bound) => ("below", bound),
        };
        self.pass &= pass;
        self.limits.push(json!({
            "clients": clients, "figure": limit.figure, word: bound, "value": value, "pass": pass,
        }));
    }

    /// Nothing passes that was not judged.
    fn pass(&self) -> bool {
        self.pass && !self.limits.is_empty()
    }

    pub(crate) fn json(&self) -> Value {
        let mut object = self.head.clone();
        object.insert("pass".to_owned(), json!(self.pass()));
        object.insert("limits".to_owned(), json!(self.limits));
        object.insert("policies".to_owned(), json!(self.policies));
        Value::Object(object)
    }

    /// The same, to read.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.head["title"].as_str().unwrap_or_default());
        let mut last = None;
        for policy in &self.policies {
            let Some(figures) = policy["figures"].as_object() else { continue };
            if last.replace(&policy["clients"]) != Some(&policy["clients"]) {
                let names: Vec<_> = figures.keys().map(|name| format!("{name:>width$}", width = width(name))).collect();
                text += &format!("\n{:<36}{}\n", format!("clients: {}", policy["clients"]), names.join(""));
            }
            let name = format!("{} ({})", policy["name"].as_str().unwrap_or_default(), policy["by"].as_str().unwrap_or_default());
            text += &format!("{name:<36}");
            for (name, value) in figures {
                text += &format!("{:>width$.4}", value.as_f64().unwrap_or(f64::NAN), width = width(name));
            }
            text.push('\n');
        }
        text += &format!("\nlimits of {DEFAULT}\n");
        for limit in &self.limits {
            text += &format!("  {limit}\n");
        }
        text += &format!("pass: {}\nnot there yet: {}", self.pass(), ABSENT.join(", "));
        text
    }
}

fn width(name: &str) -> usize {
    name.len().max(10) + 2
}
