//! Secrets that are written elsewhere: `{env: NAME}` and `{file: /run/secrets/tax}`.

use std::{fs::File, io::Read};

use super::{options::EnvOptions, text::checked};
use crate::{
    config::{
        error::is_secret,
        value::{Flaw, Flaws, Node, Path, Value},
    },
    error::{Code, Quoted},
};

/// No secret is longer, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// Puts the secret in place of what says where it is.
pub(super) fn read(node: &mut Node, path: &Path<'_>, options: &EnvOptions, flaws: &mut Flaws) {
    let [member] = node.members() else { return };
    let Some(name) = member.node.text() else { return };
    let read = match &*member.key {
        "env" | "file" if !is_secret(path) => return,
        "env" => from_env(name, options).map_err(|wrong| (Code::CONFIG_1703, wrong)),
        "file" => from_file(name).map_err(|wrong| (Code::CONFIG_1706, wrong)),
        _ => return,
    };
    match read {
        Ok(secret) => node.value = Value::text(secret),
        Err((code, wrong)) => {
            flaws.push(Flaw::new(code, member.node.place.clone(), wrong).at(path));
            // Told already: what follows need not say that a map is no text.
            node.value = Value::text("");
        }
    }
}

fn from_env(name: &str, options: &EnvOptions) -> Result<String, String> {
    match options.variable(name) {
        Some(value) => checked(name, value?, options),
        None => Err(format!("the environment variable `{}` is not set", Quoted(name))),
    }
}

fn from_file(path: &str) -> Result<String, String> {
    let wrong = |what: &dyn std::fmt::Display| {
        format!("the secret cannot be read from `{}`: {what}", path.escape_debug())
    };
    let mut text = String::new();
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let read = file.take(MAX_SECRET + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(&error))?;
    if text.len() as u64 > MAX_SECRET {
        return Err(wrong(&"it is longer than 64 KiB"));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
