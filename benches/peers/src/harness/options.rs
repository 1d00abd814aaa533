use std::time::Duration;

/// What the command line says.
pub(crate) struct Options {
    pub(crate) filter: Option<String>,
    pub(crate) json: bool,
    pub(crate) quick: bool,
}

/// How often, and how long each time.
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) sample: Duration,
}

impl Options {
    pub(crate) fn from_args() -> Self {
        let mut options = Self { filter: None, json: false, quick: false };
        for arg in std::env::args().skip(1) {
            match arg.as_str() {
                "--json" => options.json = true,
                "--quick" => options.quick = true,
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
        Effort { rounds, sample: Duration::from_millis(millis) }
    }

    pub(super) fn crowd(&self) -> Effort {
        let (rounds, millis) = if self.quick { (3, 30) } else { (9, 60) };
        Effort { rounds, sample: Duration::from_millis(millis) }
    }
}
