//! What holds of the names of plugins and between them, and how mistakes are told.

use std::collections::BTreeMap;

use crate::{
    config::{
        PluginConfig, Sections,
        nearest::did_you_mean,
        rules::{circles, mistake_in_name, mistake_in_version},
    },
    error::{Code, Error, Kind, Quoted},
};

/// Checks what holds of plugins that come together, and between them and those that stay: whether there is one of a
/// name, and which plugin answers for it after a failure.
pub(super) fn check(
    plugins: &[PluginConfig],
    defaults: &Sections,
    stays: impl Fn(&str) -> Option<Option<String>>,
) -> Result<(), Error> {
    let wrong = |code: Option<Code>, text: String| {
        Err(Error::not_sent(Kind::InvalidConfig).coded(code).message(text))
    };
    let mut fallbacks = BTreeMap::new();
    for plugin in plugins {
        if let Some(text) = mistake_in_name(&plugin.name) {
            return wrong(Some(Code::PLUGIN_1001), text);
        }
        if let Some(text) = mistake_in_version(plugin) {
            return wrong(Some(Code::PLUGIN_1001), format!("plugin `{}`: {text}", plugin.name));
        }
        let fallback = plugin.fallback.as_ref().unwrap_or(&defaults.fallback).plugin();
        if fallbacks.insert(&*plugin.name, fallback.map(str::to_owned)).is_some() {
            let text = format!("two plugins have the name `{}`", plugin.name);
            return wrong(Some(Code::PLUGIN_1010), text);
        }
    }
    let of = |name: &str| fallbacks.get(name).cloned().or_else(|| stays(name));
    for (&name, fallback) in &fallbacks {
        let Some(fallback) = fallback.as_deref() else { continue };
        if of(fallback).is_none() {
            let names: Vec<_> = fallbacks.keys().collect();
            let hint = did_you_mean(fallback, &names).map(|hint| format!("; {hint}"));
            let (shown, hint) = (Quoted(fallback), hint.unwrap_or_default());
            let text = format!("plugin `{name}`: fallback: there is no plugin `{shown}`{hint}");
            return wrong(Some(Code::PLUGIN_1201), text);
        }
    }
    match &circles(fallbacks.keys().copied(), |name| of(name).flatten())[..] {
        [] => Ok(()),
        [circle, ..] => {
            let name = circle.first().map(String::as_str).unwrap_or_default();
            wrong(None, format!("the fallback of plugin `{name}` leads back to it"))
        }
    }
}

#[cold]
pub(super) fn of_plugin(name: &str, error: Error) -> Error {
    let text = error.what().to_owned();
    if text.contains(&format!("plugin `{name}`")) {
        return error;
    }
    error.message(format!("plugin `{name}`: {text}"))
}

/// All mistakes as one, with the code of the first, and the cause of each in its place.
pub(super) fn all_of(mistakes: Vec<Error>) -> Option<Error> {
    if mistakes.len() < 2 {
        return mistakes.into_iter().next();
    }
    let texts: Vec<_> = mistakes.iter().map(with_cause).collect();
    mistakes.into_iter().next().map(|first| first.message(texts.join("; ")))
}

/// All that it says but for its code.
fn with_cause(error: &Error) -> String {
    let said = error.to_string();
    let code = format!("[{}] ", error.code());
    said.strip_prefix(&code).map(str::to_owned).unwrap_or(said)
}
