use std::time::Duration;

use super::callgrind;

/// What the command line says.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) filter: Option<String>,
    pub(crate) json: bool,
    pub(crate) quick: bool,
    pub(crate) instructions: bool,
    /// Run this case so often, and nothing else: callgrind counts.
    pub(crate) under_callgrind: Option<(String, u64)>,
}

/// How often, and how long each time.
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) sample: Duration,
    /// How long to wait in all for others to be done.
    pub(crate) patience: Duration,
}

impl Options {
    pub(crate) fn from_args() -> Self {
        let mut options = Self::default();
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--json" => options.json = true,
                "--quick" => options.quick = true,
                "--instructions" => options.instructions = true,
                callgrind::CASE => {
                    let case = args.next().expect("the name of a case");
                    let calls = args.next().and_then(|calls| calls.parse().ok());
                    options.under_callgrind = Some((case, calls.expect("a number")));
                }
                unknown if unknown.starts_with('-') => panic!("no option `{unknown}`"),
                _ => options.filter = Some(arg),
            }
        }
        options
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter.as_deref().is_none_or(|filter| name.contains(filter))
    }

    pub(super) fn alone(&self) -> Effort {
        let (rounds, millis) = if self.quick { (9, 1) } else { (31, 4) };
        // Processor time needs no quiet.
        Effort { rounds, sample: Duration::from_millis(millis), patience: Duration::ZERO }
    }

    pub(super) fn crowd(&self) -> Effort {
        let (rounds, millis, patience) = if self.quick { (3, 30, 0) } else { (9, 60, 60) };
        let patience = Duration::from_secs(patience);
        Effort { rounds, sample: Duration::from_millis(millis), patience }
    }
}
