//! What holds of the names of plugins and between them, and how mistakes are told.

use std::collections::BTreeMap;

use crate::{
    config::{PluginConfig, Sections},
    error::{Code, Error, Kind},
};

/// Characters that no name of a plugin has.
const FORBIDDEN: [&str; 12] = ["..", "/", "\\", "<", ">", "|", "&", ";", "`", "$", "*", "?"];

pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let mistake = |text: String| {
        Err(Error::not_sent(Kind::InvalidConfig).coded(Some(Code::PLUGIN_1001)).message(text))
    };
    if name.is_empty() {
        return mistake("a plugin has no `name`".to_owned());
    }
    if name.contains(char::is_control) || FORBIDDEN.iter().any(|part| name.contains(part)) {
        let shown: String = name.escape_debug().take(64).collect();
        return mistake(format!("a plugin cannot have the name `{shown}`"));
    }
    Ok(())
}

/// What holds between plugins.
pub(super) fn check(plugins: &[PluginConfig], defaults: &Sections) -> Result<(), Error> {
    let mut fallbacks = BTreeMap::new();
    for plugin in plugins {
        check_name(&plugin.name)?;
        let fallback = plugin.sections(defaults).fallback.plugin().map(str::to_owned);
        if fallbacks.insert(&*plugin.name, fallback).is_some() {
            let text = format!("two plugins have the name `{}`", plugin.name);
            let error = Error::not_sent(Kind::InvalidConfig).coded(Some(Code::PLUGIN_1010));
            return Err(error.message(text));
        }
    }
    for &name in fallbacks.keys() {
        let next = |name: &str| fallbacks.get(name).and_then(Option::as_deref);
        let way = std::iter::successors(next(name), |name| next(name));
        if way.take(plugins.len()).any(|on_the_way| on_the_way == name) {
            let text = format!("the fallback of plugin `{name}` leads back to it");
            return Err(Error::not_sent(Kind::InvalidConfig).message(text));
        }
    }
    Ok(())
}

#[cold]
pub(super) fn of_plugin(name: &str, error: Error) -> Error {
    let text = error.what().to_owned();
    if text.contains(&format!("plugin `{name}`")) {
        return error;
    }
    error.message(format!("plugin `{name}`: {text}"))
}

/// All mistakes as one, with the code of the first.
pub(super) fn all_of(mistakes: Vec<Error>) -> Option<Error> {
    let mut mistakes = mistakes.into_iter();
    let first = mistakes.next()?;
    let mut text = first.what().to_owned();
    for error in mistakes {
        text.push_str("; ");
        text.push_str(error.what());
    }
    Some(first.message(text))
}
