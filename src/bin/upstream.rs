//! Checks config files.

use std::{env, io::Write, process::ExitCode};

use tower_upstream::config::{Config, Format, Mistake, schema};

const USAGE: &str = "\
usage: upstream check [--json] FILE...   says what is wrong with config files
       upstream sample [FORMAT]          writes a file to begin with: json, yaml (the default) or toml
       upstream schema                   writes the JSON Schema of a config file

ends with 0, with 1 if there are mistakes, and with 2 if it is called in another way";

/// There are mistakes.
const WRONG: u8 = 1;
/// It is called in another way.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["check", "--json", ref files @ ..] if !files.is_empty() => check(files, true),
        ["check", ref files @ ..] if !files.is_empty() && files[0] != "--json" => {
            check(files, false)
        }
        ["sample"] => sample("yaml"),
        ["sample", format] => sample(format),
        ["schema"] => told(&format!("{:#}", schema())),
        ["-h" | "--help" | "help"] => told(USAGE),
        _ => {
            eprintln!("{USAGE}");
            MISUSED.into()
        }
    }
}

fn check(files: &[&str], as_json: bool) -> ExitCode {
    let mut mistakes: Vec<Mistake> = Vec::new();
    let mut notes: Vec<Mistake> = Vec::new();
    let mut told = String::new();
    for file in files {
        match Config::from_file(file) {
            Ok(config) => notes.extend_from_slice(config.notes()),
            Err(error) => {
                told += &format!("{error}\n");
                mistakes.extend_from_slice(error.mistakes());
            }
        }
    }
    if as_json {
        told = serde_json::json!({ "mistakes": mistakes, "notes": notes }).to_string() + "\n";
    } else {
        notes.iter().for_each(|note| told += &format!("note: {note}\n"));
    }
    let _ = std::io::stdout().write_all(told.as_bytes());
    if mistakes.is_empty() { ExitCode::SUCCESS } else { WRONG.into() }
}

fn sample(format: &str) -> ExitCode {
    match format.parse::<Format>().and_then(Config::sample) {
        Ok(text) => told(text.trim_end()),
        Err(error) => {
            eprintln!("{error}");
            MISUSED.into()
        }
    }
}

/// Writes a text; a reader that has seen enough is no mistake.
fn told(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}
