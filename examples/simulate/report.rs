//! What was found: one object, or a table to read.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::{
    policy::Policy,
    sims::{Bound, Figures, Limit, Simulation},
    trace::Trace,
};

pub(crate) struct Report {
    sim: u8,
    title: &'static str,
    default: &'static str,
    seed: u64,
    scale: f64,
    rows: Vec<Row>,
    judged: Vec<Judged>,
}

/// A policy in a run, and its figures in the order of the simulation.
struct Row {
    policy: &'static Policy,
    clients: usize,
    requests: usize,
    figures: Figures,
}

/// A limit of the default, and the figure that it is about.
struct Judged {
    clients: usize,
    limit: Limit,
    value: f64,
}

impl Report {
    pub(crate) fn new(simulation: &Simulation, seed: u64, scale: f64) -> Self {
        Self {
            sim: simulation.number,
            title: simulation.title,
            default: simulation.judged,
            seed,
            scale,
            rows: Vec::new(),
            judged: Vec::new(),
        }
    }

    /// Adds what `policy` did, and judges it by the limits if it is the default.
    pub(crate) fn add(
        &mut self,
        policy: &'static Policy,
        trace: &Trace,
        mut figures: Figures,
        limits: &[Limit],
    ) {
        let (clients, requests) = (trace.scenario.clients, trace.requests());
        for (_, value) in &mut figures {
            // To what can be told apart; what is judged is what is shown.
            *value = (*value * 1e6).round() / 1e6;
        }
        if policy.name == self.default {
            let of = |figures: &Figures, name| {
                let figure = figures.iter().find(|(of, _)| *of == name);
                // A figure that is missing meets no limit.
                figure.map_or(f64::NAN, |&(_, value)| value)
            };
            let judged = limits.iter().map(|&limit| {
                let is_of =
                    |row: &&Row, policy| row.policy.name == policy && row.clients == clients;
                let of_policy = |policy| {
                    let row = self.rows.iter().find(|row| is_of(row, policy));
                    row.map_or(f64::NAN, |row| of(&row.figures, limit.figure))
                };
                let bound = limit.bound.times(limit.of.map_or(1.0, of_policy));
                Judged {
                    clients,
                    limit: Limit { bound, ..limit },
                    value: limit.policy.map_or_else(|| of(&figures, limit.figure), of_policy),
                }
            });
            self.judged.extend(judged);
        }
        self.rows.push(Row { policy, clients, requests, figures });
    }

    /// Whether the default met all limits; nothing passes that was not judged.
    fn passes(&self) -> bool {
        !self.judged.is_empty() && self.judged.iter().all(Judged::passes)
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "sim": self.sim,
            "title": self.title,
            "seed": self.seed,
            "scale": self.scale,
            "default": self.default,
            "pass": self.passes(),
            "limits": self.judged.iter().map(Judged::json).collect::<Vec<_>>(),
            "policies": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        })
    }
}

impl Row {
    fn json(&self) -> Value {
        let figures = self.figures.iter().map(|&(name, value)| (name.to_owned(), json!(value)));
        json!({
            "name": self.policy.name,
            "by": self.policy.by,
            "clients": self.clients,
            "requests": self.requests,
            "figures": figures.collect::<Map<_, _>>(),
        })
    }
}

impl Judged {
    fn passes(&self) -> bool {
        match self.limit.bound {
            Bound::AtLeast(bound) => self.value >= bound,
            Bound::AtMost(bound) => self.value <= bound,
            Bound::Below(bound) => self.value < bound,
        }
    }

    fn bound(&self) -> (&'static str, f64) {
        match self.limit.bound {
            Bound::AtLeast(bound) => ("at_least", bound),
            Bound::AtMost(bound) => ("at_most", bound),
            Bound::Below(bound) => ("below", bound),
        }
    }

    fn json(&self) -> Value {
        let (word, bound) = self.bound();
        json!({
            "clients": self.clients,
            "policy": self.limit.policy,
            "figure": self.limit.figure,
            word: bound,
            "value": self.value,
            "pass": self.passes(),
        })
    }
}

/// Tables, one for each number of clients, and then the limits.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "simulation {}: {} (seed {})", self.sim, self.title, self.seed)?;
        for run in self.rows.chunk_by(|one, next| one.clients == next.clients) {
            let [first, ..] = run else { continue };
            let requests = first.requests;
            let head = match first.clients {
                1 => format!("1 client, {requests} requests"),
                clients => format!("{clients} clients, {requests} requests"),
            };
            write!(f, "\n{head:<38}")?;
            for (name, _) in &first.figures {
                write!(f, "{name:>width$}", width = width(name))?;
            }
            writeln!(f)?;
            for Row { policy, figures, .. } in run {
                write!(f, "{:<38}", format!("{} ({})", policy.name, policy.by))?;
                for (name, value) in figures {
                    write!(f, "{value:>width$.4}", width = width(name))?;
                }
                writeln!(f)?;
            }
        }
        writeln!(f, "\nlimits of our default, {}:", self.default)?;
        for judged in &self.judged {
            let (word, bound) = judged.bound();
            let (figure, clients) = (judged.limit.figure, judged.clients);
            let (word, met) = (word.replace('_', " "), judged.passes());
            let (value, met) = (judged.value, if met { "met" } else { "NOT MET" });
            let of = judged.limit.policy.map(|of| format!(" of {of}")).unwrap_or_default();
            writeln!(f, "  {figure}{of} {word} {bound} (clients: {clients}): {value}, {met}")?;
        }
        write!(f, "pass: {}", self.passes())
    }
}

fn width(name: &str) -> usize {
    name.len().max(10) + 2
}
