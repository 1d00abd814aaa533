//! Secrets that are written elsewhere: `{env: NAME}` and `{file: /run/secrets/tax}`.

use super::{options::EnvOptions, text::checked};
use crate::{
    config::{
        error::{is_secret_of_file, is_secrets},
        file::of_regular,
        value::{Flaw, Flaws, Member, Node, Path, Value},
    },
    error::{Code, Quoted},
};

/// No secret is longer, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// Puts each secret in place of what says where it is, which a variable may have set.
pub(crate) fn read_secrets(
    node: &mut Node,
    path: &Path<'_>,
    options: &EnvOptions,
    flaws: &mut Flaws,
) {
    match &mut node.value {
        Value::List(nodes) => {
            for (index, node) in nodes.iter_mut().enumerate() {
                read_secrets(node, &path.index(index), options, flaws);
            }
        }
        Value::Map(members) => {
            for Member { key, node, .. } in members {
                let path = path.key(key);
                read_secrets(node, &path, options, flaws);
                read(node, &path, options, flaws);
            }
        }
        _ => {}
    }
}

fn read(node: &mut Node, path: &Path<'_>, options: &EnvOptions, flaws: &mut Flaws) {
    let [member] = node.members() else { return };
    let Some(name) = member.node.text() else { return };
    let read = match &*member.key {
        // One of several, whose name happens to be that.
        "env" | "file" if !is_secret_of_file(path) || is_secrets(path) => return,
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
    let wrong =
        |what: &str| format!("the secret cannot be read from `{}`: {what}", path.escape_debug());
    let bytes = of_regular(path.as_ref(), MAX_SECRET).map_err(|flaw| wrong(&flaw.message))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("the file is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    match text.strip_suffix('\r').unwrap_or(text) {
        "" => Err(wrong("the file is empty")),
        secret => Ok(secret.to_owned()),
    }
}
