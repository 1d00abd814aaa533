//! Checks config files.

use std::{
    env,
    io::{self, Read, Write},
    process::ExitCode,
};

use tower_upstream::config::{Config, ConfigError, Format, Mistake, Preset, ReadOptions, schema};

const USAGE: &str = "\
usage: upstream check [OPTION]... FILE...  says what is wrong with config files; `-` is the standard input
       upstream sample [FORMAT]            prints a file to begin with: json, yaml (the default) or toml
       upstream schema                     prints the JSON Schema of a config file
       upstream --help
       upstream --version

options of `check`:
       --json              prints the mistakes and the notes as JSON
       --transport NAME    there is a factory of this name; may be given several times
       --plugin NAME       the program registers a plugin of this name; may be given several times
       --preset go         whose defaults hold for what the files leave out
       --format FORMAT     format of the standard input: json, yaml (the default) or toml
       --                  what follows is a file

ends with 0, with 1 if there are mistakes, and with 2 if it is called in another way";

/// There are mistakes.
const WRONG: u8 = 1;
/// It is called in another way.
const MISUSED: u8 = 2;

/// The standard input is read no further, in bytes: so long may a file be, and one more is told.
const MAX_INPUT: u64 = (10 << 20) + 1;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        env::args_os().skip(1).map(|of| of.to_string_lossy().into_owned()).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let options = arguments.split(|argument| *argument == "--").next().unwrap_or_default();
    if options.iter().any(|option| ["-h", "--help"].contains(option)) {
        return told(USAGE);
    }
    match arguments[..] {
        ["check", ref rest @ ..] => match Check::of(rest) {
            Ok(check) => check.run(),
            Err(wrong) => misused(&wrong),
        },
        ["sample"] => sample("yaml"),
        ["sample", format] => sample(format),
        ["schema"] => told(&format!("{:#}", schema())),
        ["help"] => told(USAGE),
        ["-V" | "--version" | "version"] => told(concat!("upstream ", env!("CARGO_PKG_VERSION"))),
        [] => misused("it is not said what to do"),
        [first, ..] => misused(&format!("`{first}` is not understood here")),
    }
}

/// What `check` is asked to do.
#[derive(Default)]
struct Check<'a> {
    files: Vec<&'a str>,
    options: ReadOptions,
    as_json: bool,
    format: Option<Format>,
}

impl<'a> Check<'a> {
    fn of(arguments: &[&'a str]) -> Result<Self, String> {
        let mut check = Self::default();
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            let (option, given) = match argument.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value)),
                _ => (argument, None),
            };
            let mut value =
                || given.or_else(|| rest.next()).ok_or(format!("`{option}` needs a value"));
            match option {
                "--json" if given.is_none() => check.as_json = true,
                "--transport" => check.options.transports.push(value()?.to_owned()),
                "--plugin" => check.options.plugins.push(value()?.to_owned()),
                "--preset" => match value()? {
                    "go" => check.options.preset = Some(Preset::Go),
                    other => return Err(format!("there is no preset `{other}`, but `go`")),
                },
                "--format" => {
                    let format = value()?.parse::<Format>();
                    check.format = Some(format.map_err(|error| error.to_string())?);
                }
                "--" => check.files.extend(rest.by_ref()),
                "-" => check.files.push(argument),
                _ if option.starts_with('-') => {
                    return Err(format!("there is no option `{option}`"));
                }
                _ => check.files.push(argument),
            }
        }
        if check.files.is_empty() { Err("`check` needs a file".to_owned()) } else { Ok(check) }
    }

    fn read(&self, file: &str) -> io::Result<Result<Config, ConfigError>> {
        if file != "-" {
            return Ok(Config::from_file_with(file, &self.options));
        }
        let mut text = String::new();
        io::stdin().take(MAX_INPUT).read_to_string(&mut text)?;
        if text.len() as u64 == MAX_INPUT {
            return Err(io::Error::other("it is longer than 10 MiB"));
        }
        let format = self.format.unwrap_or(Format::Yaml);
        Ok(Config::from_str_with(&text, format, &self.options))
    }

    fn run(&self) -> ExitCode {
        let mut mistakes: Vec<Mistake> = Vec::new();
        let mut notes: Vec<Mistake> = Vec::new();
        let mut said = String::new();
        for file in &self.files {
            match self.read(file) {
                Ok(Ok(config)) => {
                    config.notes().iter().for_each(|note| said += &format!("note: {note}\n"));
                    said += &match config.notes().len() {
                        0 => format!("{file}: no mistakes\n"),
                        1 => format!("{file}: no mistakes, 1 note\n"),
                        count => format!("{file}: no mistakes, {count} notes\n"),
                    };
                    notes.extend_from_slice(config.notes());
                }
                Ok(Err(error)) => {
                    said += &format!("{error}\n");
                    mistakes.extend_from_slice(error.mistakes());
                }
                Err(error) => {
                    return misused(&format!("the standard input cannot be read: {error}"));
                }
            }
        }
        if self.as_json {
            said = serde_json::json!({ "mistakes": mistakes, "notes": notes }).to_string() + "\n";
        }
        let _ = io::stdout().write_all(said.as_bytes());
        if mistakes.is_empty() { ExitCode::SUCCESS } else { WRONG.into() }
    }
}

fn sample(format: &str) -> ExitCode {
    match format.parse::<Format>().and_then(Config::sample) {
        Ok(text) => told(text.trim_end()),
        Err(error) => misused(&error.to_string()),
    }
}

#[cold]
fn misused(wrong: &str) -> ExitCode {
    eprintln!("{wrong}\n\n{USAGE}");
    MISUSED.into()
}

/// Writes a text; a reader that has seen enough is no mistake.
fn told(text: &str) -> ExitCode {
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::SUCCESS
}
