//! Checks config files.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Write},
    path::{Component, Path},
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

ends with 0, with 1 if there are mistakes, and with 2 if it is called in another way or cannot write";

/// There are mistakes.
const WRONG: u8 = 1;
/// It is called in another way, or cannot say what it should.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(|of| of.to_string_lossy()).collect();
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
    let options = words.split(|word| *word == "--").next().unwrap_or_default();
    if options.iter().any(|option| ["-h", "--help"].contains(option)) {
        return told(USAGE);
    }
    match words[..] {
        ["check", ..] => match Check::of(&arguments[1..]) {
            Ok(check) => check.run(),
            Err(wrong) => misused(&wrong),
        },
        ["sample"] => sample("yaml"),
        ["sample", format] => sample(format),
        ["schema"] => told(&format!("{:#}", schema())),
        ["help"] => told(USAGE),
        ["-V" | "--version" | "version"] => told(concat!("upstream ", env!("CARGO_PKG_VERSION"))),
        [] => misused("it is not said what to do"),
        ["sample", _, other, ..]
        | ["schema" | "help" | "-V" | "--version" | "version", other, ..]
        | [other, ..] => misused(&format!("`{other}` is not understood here")),
    }
}

/// What `check` is asked to do.
#[derive(Default)]
struct Check<'a> {
    files: Vec<&'a OsStr>,
    options: ReadOptions,
    as_json: bool,
    format: Option<Format>,
}

impl<'a> Check<'a> {
    fn of(arguments: &'a [OsString]) -> Result<Self, String> {
        let mut check = Self::default();
        let mut rest = arguments.iter().map(OsString::as_os_str);
        while let Some(argument) = rest.next() {
            // A file may have any name, an option has not.
            let word = argument.to_string_lossy();
            let (option, given) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value)),
                _ => (&*word, None),
            };
            let mut value = || {
                let next = || rest.next().map(|value| value.to_string_lossy().into_owned());
                let value = given.map(str::to_owned).or_else(next);
                value.ok_or(format!("`{option}` needs a value"))
            };
            match option {
                "--json" if given.is_none() => check.as_json = true,
                "--transport" => check.options.transports.push(value()?),
                "--plugin" => check.options.plugins.push(value()?),
                "--preset" => match &*value()? {
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

    fn read(&self, file: &OsStr) -> Result<Config, ConfigError> {
        if file != "-" {
            // A program takes no `..`, since a part of the path may come from elsewhere. Here all of it is meant.
            let path = Path::new(file);
            let is_above = path.components().any(|part| part == Component::ParentDir);
            let above = path.parent().filter(|_| is_above).and_then(|of| fs::canonicalize(of).ok());
            let whole = above.zip(path.file_name()).map(|(above, name)| above.join(name));
            return Config::from_file_with(whole.as_deref().unwrap_or(path), &self.options);
        }
        let format = self.format.unwrap_or(Format::Yaml);
        Config::from_reader_with(io::stdin(), format, &self.options)
    }

    fn run(&self) -> ExitCode {
        let mut mistakes: Vec<Mistake> = Vec::new();
        let mut notes: Vec<Mistake> = Vec::new();
        let mut said = String::new();
        for file in &self.files {
            match self.read(file) {
                Ok(config) => {
                    config.notes().iter().for_each(|note| said += &format!("note: {}\n", of(note)));
                    let file = file.to_string_lossy();
                    said += &match config.notes().len() {
                        0 => format!("{file}: no mistakes\n"),
                        1 => format!("{file}: no mistakes, 1 note\n"),
                        count => format!("{file}: no mistakes, {count} notes\n"),
                    };
                    notes.extend_from_slice(config.notes());
                }
                Err(error) => {
                    error
                        .mistakes()
                        .iter()
                        .for_each(|mistake| said += &format!("{}\n", of(mistake)));
                    if error.total() > error.mistakes().len() {
                        said += &format!("and {} more\n", error.total() - error.mistakes().len());
                    }
                    mistakes.extend_from_slice(error.mistakes());
                }
            }
        }
        if self.as_json {
            said = serde_json::json!({ "mistakes": mistakes, "notes": notes }).to_string() + "\n";
        }
        written(&said, if mistakes.is_empty() { ExitCode::SUCCESS } else { WRONG.into() })
    }
}

/// A mistake with the name of what it is in, which the standard input has not.
fn of(mistake: &Mistake) -> String {
    match (&mistake.file, &mistake.variable, mistake.line) {
        (None, None, Some(_)) => format!("-:{mistake}"),
        (None, None, None) => format!("-: {mistake}"),
        _ => mistake.to_string(),
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

fn told(text: &str) -> ExitCode {
    written(&format!("{text}\n"), ExitCode::SUCCESS)
}

/// Writes a text, and ends with `code` if that could be; a reader that has seen enough is no mistake.
fn written(text: &str, code: ExitCode) -> ExitCode {
    let mut output = io::stdout();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("the standard output cannot be written: {error}");
            MISUSED.into()
        }
        _ => code,
    }
}
