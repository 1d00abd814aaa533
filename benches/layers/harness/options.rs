/// What the command line says.
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) filter: Option<String>,
    pub(crate) json: bool,
    pub(crate) instructions: bool,
}

pub(crate) enum Mode {
    Measure,
    /// Only whether all works.
    Check,
    /// One case, in a process of its own.
    UnderCallgrind {
        case: String,
        calls: u64,
    },
}

impl Options {
    pub(crate) fn from_args() -> Self {
        let mut options = Self {
            // `cargo bench` says `--bench`, `cargo test` does not.
            mode: Mode::Check,
            filter: None,
            json: false,
            instructions: false,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--bench" => options.mode = Mode::Measure,
                "--json" => options.json = true,
                "--instructions" => options.instructions = true,
                super::callgrind::CASE => {
                    options.mode = Mode::UnderCallgrind {
                        case: args.next().expect("the name of a case"),
                        calls: args.next().and_then(|n| n.parse().ok()).expect("a number"),
                    };
                }
                unknown if unknown.starts_with('-') => panic!("no option `{unknown}`"),
                _ => options.filter = Some(arg),
            }
        }
        options
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        let filter = self.filter.as_deref();
        filter.is_none_or(|filter| name.contains(filter))
    }
}
