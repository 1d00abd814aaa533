//! Files of `kubectl`: which cluster, which user, which namespace.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

use super::{
    acts_as::ActsAs,
    config::KubernetesConfig,
    found::Found,
    kube_file::{Cluster, Context, KubeFile, User},
    mistake::mistake,
    token::TokenSource,
};
use crate::{
    auth::Secret,
    dial::GivenTls,
    error::{Error, Quoted},
};

/// Longest file that is read, and most files.
const MAX_FILE: u64 = 1 << 20;
const MAX_FILES: usize = 32;
/// The extension of a cluster that is for programs.
const FOR_PROGRAMS: &str = "client.authentication.k8s.io/exec";

/// Where `kubectl` looks: the files of `KUBECONFIG`, or `~/.kube/config`.
pub(super) fn usual(variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<PathBuf>, Error> {
    if let Some(list) = variable("KUBECONFIG") {
        let paths: Vec<PathBuf> =
            std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
        return match paths.len() {
            1..=MAX_FILES => Ok(paths),
            _ => Err(mistake(format!("`KUBECONFIG` must name 1 to {MAX_FILES} files"))),
        };
    }
    let home = variable("HOME").or(variable("USERPROFILE"));
    let home = home.ok_or_else(|| {
        mistake("there is neither a cluster around this, `KUBECONFIG`, nor `HOME`".to_owned())
    })?;
    Ok(vec![Path::new(&home).join(".kube/config")])
}

/// Reads files. What the first of them says of a name counts, as for `kubectl`.
pub(super) fn read(paths: &[PathBuf], config: &KubernetesConfig) -> Result<Found, Error> {
    let mut all = KubeFile::default();
    let mut last = None;
    for path in paths {
        match read_file(path) {
            Ok(file) => merge(&mut all, file),
            // One of a list need not be there.
            Err(Unread::Missing(error)) => last = Some(error),
            Err(Unread::Wrong(error)) => return Err(error),
        }
    }
    match last {
        Some(error) if all.contexts.is_none() && all.clusters.is_none() => Err(error),
        _ => choose(&all, config),
    }
}

enum Unread {
    Missing(Error),
    Wrong(Error),
}

fn read_file(path: &Path) -> Result<KubeFile, Unread> {
    use std::io::Read;
    let unreadable = |error: std::io::Error| {
        let told = format!("the kubeconfig `{}` cannot be read", path.display());
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                let told = told + " (without one, set `address`, or in a cluster `in_cluster`)";
                Unread::Missing(mistake(told).caused_by(error))
            }
            _ => Unread::Wrong(mistake(told).caused_by(error)),
        }
    };
    let mut bytes = Zeroizing::new(Vec::new());
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        let text = format!("the kubeconfig `{}` has more than {MAX_FILE} bytes", path.display());
        return Err(Unread::Wrong(mistake(text)));
    }
    let parsed = KubeFile::parse(&bytes)
        .and_then(|parts| parts.iter().find_map(repeated).map_or(Ok(parts), Err));
    let parts = parsed.map_err(|what| {
        Unread::Wrong(mistake(format!(
            "the kubeconfig `{}` cannot be used: {what}",
            path.display()
        )))
    })?;
    // As if each was a file of a list.
    let mut file = KubeFile::default();
    parts.into_iter().for_each(|part| merge(&mut file, part));
    // Files beside it, wherever this process goes.
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let beside = |of: &mut Option<PathBuf>| {
        if let (Some(path), Some(folder)) = (of.as_mut(), whole.parent()) {
            *path = folder.join(&*path);
        }
    };
    for cluster in file.clusters.iter_mut().flatten().filter_map(|of| of.cluster.as_mut()) {
        beside(&mut cluster.certificate_authority);
    }
    for user in file.users.iter_mut().flatten().filter_map(|of| of.user.as_mut()) {
        beside(&mut user.client_certificate);
        beside(&mut user.client_key);
        beside(&mut user.token_file);
        // A name alone is that of a program in `PATH`.
        if let Some(exec) = user.exec.as_mut().filter(|exec| exec.command.contains('/')) {
            let beside = whole.parent().map(|folder| folder.join(&exec.command));
            exec.command =
                beside.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_default();
        }
    }
    Ok(file)
}

/// A name that two things of a kind have, as after an edit. `kubectl` refuses it, too: it would be chance which of two
/// clusters is asked.
fn repeated(file: &KubeFile) -> Option<String> {
    fn of<'a>(what: &str, mut names: impl Iterator<Item = &'a String>) -> Option<String> {
        let mut seen = HashSet::new();
        let twice = Quoted(names.find(|name| !seen.insert(*name))?);
        Some(format!("it has two {what} with the name `{twice}`: rename or remove one"))
    }
    let contexts = || of("contexts", file.contexts.iter().flatten().map(|of| &of.name));
    let clusters = || of("clusters", file.clusters.iter().flatten().map(|of| &of.name));
    let users = || of("users", file.users.iter().flatten().map(|of| &of.name));
    contexts().or_else(clusters).or_else(users)
}

fn merge(all: &mut KubeFile, file: KubeFile) {
    all.current_context = all.current_context.take().or(file.current_context);
    // The first of a name is found first.
    all.contexts.get_or_insert_default().extend(file.contexts.unwrap_or_default());
    all.clusters.get_or_insert_default().extend(file.clusters.unwrap_or_default());
    all.users.get_or_insert_default().extend(file.users.unwrap_or_default());
}

fn choose(all: &KubeFile, config: &KubernetesConfig) -> Result<Found, Error> {
    let Some(name) = config.context.as_deref().or(all.current_context.as_deref()) else {
        return Err(mistake("the kubeconfig has no `current-context`; set `context`".to_owned()));
    };
    let missing = |what: &str, name: &str, known: Vec<&str>| {
        let name = Quoted(name);
        let known = known.into_iter().take(8).map(|known| Quoted(known).to_string());
        let known = known.collect::<Vec<_>>().join("`, `");
        let known = if known.is_empty() { "is none".into() } else { format!("are `{known}`") };
        mistake(format!("the kubeconfig has no {what} `{name}`; there {known}"))
    };
    let contexts = all.contexts.as_deref().unwrap_or_default();
    let context = contexts.iter().find(|of| of.name == name).and_then(|of| of.context.as_ref());
    let context = context
        .ok_or_else(|| missing("context", name, contexts.iter().map(|of| &*of.name).collect()))?;
    let clusters = all.clusters.as_deref().unwrap_or_default();
    let cluster =
        clusters.iter().find(|of| of.name == context.cluster).and_then(|of| of.cluster.as_ref());
    let cluster = cluster.ok_or_else(|| {
        missing("cluster", &context.cluster, clusters.iter().map(|of| &*of.name).collect())
    })?;
    let users = all.users.as_deref().unwrap_or_default();
    let user = match context.user.as_deref() {
        None => User::default(),
        Some(name) => {
            let user = users.iter().find(|of| of.name == name);
            let user = user
                .ok_or_else(|| missing("user", name, users.iter().map(|of| &*of.name).collect()))?;
            user.user.clone().unwrap_or_default()
        }
    };
    found(context, cluster, user, config)
}

fn found(
    context: &Context,
    cluster: &Cluster,
    user: User,
    config: &KubernetesConfig,
) -> Result<Found, Error> {
    if cluster.server.is_empty() {
        return Err(mistake("the cluster of the kubeconfig has no `server`".to_owned()));
    }
    if cluster.proxy_url.is_some() {
        return Err(mistake(
            "`proxy-url` is not supported: run `kubectl proxy`, and set `address` to it".to_owned(),
        ));
    }
    let trusts_all = cluster.insecure_skip_tls_verify.unwrap_or(false);
    if trusts_all && !config.allow_insecure_tls {
        return Err(mistake(
            "the kubeconfig says `insecure-skip-tls-verify`: give it the `certificate-authority` of \
             the server, or set `allow_insecure_tls` if it may be another"
                .to_owned(),
        ));
    }
    let has_token = user.token.is_some() || user.token_file.is_some();
    let overrides = !config.token.is_empty() || config.token_file.is_some();
    let is_proven = has_token || overrides;
    // A certificate goes with a program, and makes a password needless.
    let is_certified = user.client_certificate.is_some()
        || user.client_certificate_data.is_some()
        || config.tls_cert.is_some();
    if !is_proven && !is_certified {
        refuse_others(&user)?;
    }
    let acts_as = ActsAs::of(&user)?;
    let token = match (user.token_file, user.token) {
        (Some(path), first) => TokenSource::File(path, first),
        (None, Some(token)) => TokenSource::Text(token),
        (None, None) => TokenSource::None,
    };
    let ca = data("certificate-authority-data", cluster.certificate_authority_data.as_deref())?;
    let cert = data("client-certificate-data", user.client_certificate_data.as_deref())?;
    let key = data("client-key-data", user.client_key_data.as_ref().map(Secret::expose))?;
    let extensions = cluster.extensions.iter().flatten();
    let exec_config = extensions.into_iter().find(|of| of.name == FOR_PROGRAMS);
    Ok(Found {
        address: cluster.server.clone(),
        namespace: context.namespace.clone(),
        token,
        ca_file: cluster.certificate_authority.clone(),
        cert_file: user.client_certificate,
        key_file: user.client_key,
        server_name: cluster.tls_server_name.clone(),
        given: GivenTls {
            ca: ca.map(|ca| ca.to_vec()),
            cert: cert.map(|cert| cert.to_vec()),
            key,
            trusts_all,
        },
        acts_as,
        exec: user.exec.filter(|_| !is_proven),
        exec_config: exec_config.and_then(|of| of.extension.clone()),
    })
}

/// What proves a user otherwise than by a token, a certificate, or a program.
fn refuse_others(user: &User) -> Result<(), Error> {
    const INSTEAD: &str = "put a token in a file and set `token_file`, or run `kubectl proxy` and set \
                           `address` to `http://127.0.0.1:8001`";
    let what = if user.exec.is_some() {
        return Ok(());
    } else if user.auth_provider.is_some() {
        "an `auth-provider`"
    } else if user.username.is_some() {
        "a password"
    } else {
        return Ok(());
    };
    Err(mistake(format!(
        "the user of the kubeconfig proves itself by {what}, which Kubernetes has given up: {INSTEAD}"
    )))
}

fn data(key: &str, text: Option<&str>) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let Some(text) = text else { return Ok(None) };
    let text: Zeroizing<String> =
        Zeroizing::new(text.chars().filter(|of| !of.is_ascii_whitespace()).collect());
    match BASE64_STANDARD.decode(&*text) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(_) => Err(mistake(format!("`{key}` of the kubeconfig is no base64"))),
    }
}

#[cfg(test)]
#[path = "kubeconfig_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "kubeconfig_forms_tests.rs"]
mod forms_tests;
