//! A program that tells the credential of the user: `exec` of a kubeconfig.

use std::{fmt, path::PathBuf, process::Command};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    mistake::mistake,
    null::{listed, or_empty},
};
use crate::{
    auth::Secret,
    error::{Error, Quoted, cut},
};

/// How much is told of what a kubeconfig says that one should do.
const MAX_HINT: usize = 256;
/// Which versions of its answer are read.
const VERSIONS: [&str; 2] =
    ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// The `exec` of a user in a kubeconfig. Arguments, too, may be secrets.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Exec {
    #[serde(deserialize_with = "or_empty")]
    pub(super) command: String,
    #[serde(deserialize_with = "listed")]
    args: Option<Vec<Secret>>,
    #[serde(deserialize_with = "listed")]
    env: Option<Vec<Variable>>,
    api_version: Option<String>,
    install_hint: Option<String>,
    provide_cluster_info: Option<bool>,
    interactive_mode: Option<String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
struct Variable {
    #[serde(deserialize_with = "or_empty")]
    name: String,
    #[serde(deserialize_with = "or_empty")]
    value: Secret,
}

/// What a program may ask to be told of the cluster.
pub(super) struct ClusterInfo<'a> {
    pub(super) server: &'a str,
    pub(super) server_name: Option<&'a str>,
    /// PEM, in base64.
    pub(super) ca: Option<String>,
    pub(super) trusts_all: bool,
    /// What the kubeconfig has for such programs.
    pub(super) config: Option<Value>,
}

/// One that may be run.
#[derive(PartialEq)]
pub(super) struct Program {
    command: String,
    args: Vec<Secret>,
    env: Vec<(String, Secret)>,
    version: &'static str,
    hint: Option<String>,
    /// `KUBERNETES_EXEC_INFO`.
    info: String,
}

impl Program {
    /// The one that a kubeconfig names, if it is one of those `allowed`.
    pub(super) fn new<'a>(
        exec: Exec,
        allowed: &[String],
        cluster: impl FnOnce() -> Result<ClusterInfo<'a>, Error>,
    ) -> Result<Self, Error> {
        let command = exec.command;
        if command.is_empty() {
            return Err(mistake("the `exec` of the kubeconfig has no `command`".to_owned()));
        }
        let name = cut(&command, MAX_HINT).escape_debug();
        if !allowed.contains(&command) {
            return Err(mistake(format!(
                "the user of the kubeconfig proves itself by the program `{name}` (`exec`), which may not be \
                 run: add `{name}` to `allow_exec` if it may, or put a token in a file and set \
                 `token_file`, or run `kubectl proxy` and set `address` to `http://127.0.0.1:8001`"
            )));
        }
        let version = exec.api_version.unwrap_or_default();
        let Some(version) = VERSIONS.into_iter().find(|of| *of == version) else {
            let version = Quoted(&version);
            return Err(mistake(format!(
                "the `apiVersion` of `exec` for `{name}` is `{version}`, but must be `{}` or `{}`: write the \
                 kubeconfig anew with what made it",
                VERSIONS[0], VERSIONS[1]
            )));
        };
        if exec.interactive_mode.as_deref() == Some("Always") {
            return Err(mistake(format!(
                "the program `{name}` (`exec`) asks questions (`interactiveMode: Always`), which nothing here \
                 can answer: use one that does not"
            )));
        }
        let mut spec = json!({ "interactive": false });
        if exec.provide_cluster_info == Some(true) {
            spec["cluster"] = cluster()?.json();
        }
        let info = json!({ "kind": "ExecCredential", "apiVersion": version, "spec": spec });
        let env = exec.env.unwrap_or_default().into_iter().map(|of| (of.name, of.value));
        Ok(Self {
            command,
            args: exec.args.unwrap_or_default(),
            env: env.collect(),
            version,
            hint: exec.install_hint.filter(|hint| !hint.trim().is_empty()),
            info: info.to_string(),
        })
    }

    pub(super) fn version(&self) -> &'static str {
        self.version
    }

    /// How to run it. Looks for it.
    pub(super) fn command(&self) -> Result<Command, Error> {
        let Some(path) = self.path() else {
            let hint = self.hint.as_deref().map_or_else(String::new, |hint| {
                format!("; the kubeconfig says: {}", cut(hint.trim(), MAX_HINT).escape_debug())
            });
            return Err(self.failed(&format!("is not there{hint}")));
        };
        let mut command = Command::new(path);
        command.args(self.args.iter().map(Secret::expose));
        command.envs(self.env.iter().map(|(name, value)| (name, value.expose())));
        command.env("KUBERNETES_EXEC_INFO", &self.info);
        Ok(command)
    }

    /// Where it is. A name alone is looked for as this process finds programs, whatever the kubeconfig sets for the
    /// program itself.
    fn path(&self) -> Option<PathBuf> {
        if self.command.contains('/') {
            return Some(PathBuf::from(&self.command)).filter(|path| path.is_file());
        }
        let folders = std::env::var_os("PATH")?;
        let mut paths = std::env::split_paths(&folders).filter(|folder| folder.is_absolute());
        paths.find_map(|folder| Some(folder.join(&self.command)).filter(|path| is_program(path)))
    }

    /// An error that names it.
    pub(super) fn failed(&self, what: &str) -> Error {
        let name = cut(&self.command, MAX_HINT).escape_debug();
        mistake(format!("the program `{name}` (`exec` of the kubeconfig) {what}"))
    }
}

#[cfg(unix)]
fn is_program(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &std::path::Path) -> bool {
    path.is_file()
}

impl ClusterInfo<'_> {
    fn json(self) -> Value {
        let mut cluster = json!({ "server": self.server });
        let pairs = [
            ("tls-server-name", self.server_name.map(Value::from)),
            ("insecure-skip-tls-verify", self.trusts_all.then_some(Value::Bool(true))),
            ("certificate-authority-data", self.ca.map(Value::from)),
            ("config", self.config),
        ];
        for (key, value) in pairs {
            if let Some(value) = value {
                cluster[key] = value;
            }
        }
        cluster
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("command", &self.command).finish_non_exhaustive()
    }
}
