//! What holds of the names of plugins and between them, and how mistakes are told.

use std::collections::HashMap;

use crate::{
    config::{PluginConfig, Sections, on_circles},
    error::{Code, Error, Kind, Quoted},
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
        let shown = Quoted(name);
        return mistake(format!("a plugin cannot have the name `{shown}`"));
    }
    Ok(())
}

/// A program has a semantic version, if it has one: Go's plugin manager registers no other.
pub(super) fn check_version(plugin: &PluginConfig) -> Result<(), Error> {
    if plugin.transport != "exec" || plugin.version.is_empty() || is_semantic(&plugin.version) {
        return Ok(());
    }
    let shown = Quoted(&plugin.version);
    let text = format!("plugin `{}`: its version `{shown}` is not such as `1.4.2`", plugin.name);
    Err(Error::not_sent(Kind::InvalidConfig).coded(Some(Code::PLUGIN_1001)).message(text))
}

/// As Semantic Versioning 2.0 has it: three numbers, maybe a pre-release, maybe metadata of the build.
fn is_semantic(version: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_number = |word: &str| word.parse::<u64>().is_ok_and(|n| n.to_string() == word);
    let is_digits = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let (version, build) = version.split_once('+').map_or((version, None), |(v, b)| (v, Some(b)));
    let (core, pre) = version.split_once('-').map_or((version, None), |(v, p)| (v, Some(p)));
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(|pre| {
            pre.split('.').all(|word| is_word(word) && (!is_digits(word) || is_number(word)))
        })
        && build.is_none_or(|build| build.split('.').all(is_word))
}

/// What holds between plugins.
pub(super) fn check(plugins: &[PluginConfig], defaults: &Sections) -> Result<(), Error> {
    let mut by_name = HashMap::with_capacity(plugins.len());
    for (index, plugin) in plugins.iter().enumerate() {
        check_name(&plugin.name)?;
        check_version(plugin)?;
        if by_name.insert(&*plugin.name, index).is_some() {
            let text = format!("two plugins have the name `{}`", plugin.name);
            let error = Error::not_sent(Kind::InvalidConfig).coded(Some(Code::PLUGIN_1010));
            return Err(error.message(text));
        }
    }
    let on_circle = on_circles(plugins.len(), |index| {
        let fallback = plugins[index].fallback.as_ref().unwrap_or(&defaults.fallback);
        by_name.get(fallback.plugin()?).copied()
    });
    let mut on_circle = plugins.iter().zip(on_circle).filter(|(_, is_on_circle)| *is_on_circle);
    match on_circle.next() {
        Some((PluginConfig { name, .. }, _)) => {
            let text = format!("the fallback of plugin `{name}` leads back to it");
            Err(Error::not_sent(Kind::InvalidConfig).message(text))
        }
        None => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_program_is_a_semantic_one() {
        for fine in [
            "0.0.0",
            "1.4.2",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-0.3.7",
            "1.0.0-x-y.7",
            "1.0.0+20130313144700",
            "1.0.0-beta+exp.sha.5114f85",
            "1.0.0+21AF26D3---117B344092BD",
            "99999999999999999.0.0",
            "1.0.0--",
            "1.0.0-0A.is.legal",
        ] {
            assert!(is_semantic(fine), "{fine}");
        }
        for wrong in [
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "01.2.3",
            "1.02.3",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3-a..b",
            "1.2.3+",
            "1.2.3+a+b",
            " 1.2.3",
            "1.2.3 ",
            "1.2.x",
            "+1.2.3",
            "1.2.3-a_b",
            "-1.2.3",
        ] {
            assert!(!is_semantic(wrong), "{wrong}");
        }
        let version = |transport: &str, version: &str| {
            check_version(&PluginConfig::new("tax", transport).with_version(version))
        };
        assert_eq!(version("exec", "1.2").unwrap_err().code(), Code::PLUGIN_1001);
        for (transport, text) in [("exec", ""), ("exec", "1.2.0"), ("http", "1.2")] {
            version(transport, text).unwrap();
        }
    }
}
