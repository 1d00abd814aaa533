//! The rules between plugins.

use std::collections::{HashMap, HashSet};

use super::{
    checked::{At, Checked},
    plugin::check_auth,
};
use crate::{
    config::{
        model::{FallbackConfig, PluginConfig, Sections},
        nearest::did_you_mean,
        value::{Flaws, Node},
    },
    error::{Code, Quoted},
};

/// A plugin as it was read, and where.
pub(crate) type Placed<'c> = (&'c PluginConfig, &'c Node, &'c str);

/// What holds for all plugins.
pub(crate) struct Common<'c> {
    pub(crate) at: At<'c>,
    /// The sections of plugins that write none.
    pub(crate) defaults: &'c Sections,
    /// Plugins that the program registers.
    pub(crate) others: &'c [String],
}

/// Checks names, fallbacks, and credentials of all plugins.
pub(crate) fn check_file(plugins: &[Placed<'_>], common: &Common<'_>, flaws: &mut Flaws) {
    let mut by_name = HashMap::new();
    for placed @ (plugin, node, path) in plugins {
        let mut checked = Checked { at: At::new(node, path), flaws };
        if !plugin.name.is_empty() && by_name.insert(&*plugin.name, placed).is_some() {
            let shown = Quoted(&plugin.name);
            let message = format!("there is a plugin `{shown}` already");
            checked.wrong("name", Code::PLUGIN_1010, message);
        }
    }
    if plugins.iter().any(|(plugin, ..)| plugin.auth.is_none()) {
        let mut checked = Checked { at: common.at, flaws };
        check_auth(&common.defaults.auth, "defaults.auth", "", &mut checked);
    }
    let others = common.others.iter().map(String::as_str);
    let mut names = Names::new(plugins.iter().map(|(plugin, ..)| &*plugin.name).chain(others));
    if plugins.iter().any(|(plugin, ..)| plugin.fallback.is_none()) {
        let mut checked = Checked { at: common.at, flaws };
        names.check("defaults.fallback", &common.defaults.fallback, &mut checked);
    }
    for (plugin, node, path) in plugins {
        if let Some(fallback) = &plugin.fallback {
            let mut checked = Checked { at: At::new(node, path), flaws };
            names.check("fallback", fallback, &mut checked);
        }
    }
    let next = |name: &str| {
        let (plugin, ..) = by_name.get(name)?;
        let fallback = plugin.fallback.as_ref().unwrap_or(&common.defaults.fallback);
        fallback.plugin().map(str::to_owned)
    };
    for circle in circles(plugins.iter().map(|(plugin, ..)| &*plugin.name), next) {
        let Some((_, node, path)) = circle.first().and_then(|name| by_name.get(&**name)) else {
            continue;
        };
        let shown: Vec<_> =
            circle.iter().take(MAX_SHOWN).map(|name| Quoted(name).to_string()).collect();
        let more = if circle.len() > MAX_SHOWN { "`, …, `" } else { "`, `" };
        let message =
            format!("this fallback leads in a circle: `{}{more}{}`", shown.join("`, `"), shown[0]);
        Checked { at: At::new(node, path), flaws }.wrong("fallback", Code::CONFIG_1703, message);
    }
}

/// So many names of a circle are shown.
const MAX_SHOWN: usize = 8;

/// So often the nearest name is looked for, among so many.
const MAX_HINTS: usize = 100;

/// The names of all plugins.
struct Names<'c> {
    all: HashSet<&'c str>,
    /// Those among which the nearest is looked for.
    first: Vec<&'c str>,
    /// How often the nearest may still be looked for.
    hints: usize,
}

impl<'c> Names<'c> {
    fn new(names: impl Iterator<Item = &'c str> + Clone) -> Self {
        let ours = FallbackConfig::NAMED.into_iter();
        let first = ours.chain(names.clone().take(10 * MAX_HINTS)).collect();
        Self { all: names.collect(), first, hints: MAX_HINTS }
    }

    fn check(&mut self, key: &str, fallback: &FallbackConfig, checked: &mut Checked<'_>) {
        let Some(name) = fallback.plugin().filter(|name| !self.all.contains(name)) else { return };
        let help = (self.hints > 0).then(|| did_you_mean(name, &self.first)).flatten();
        self.hints = self.hints.saturating_sub(1);
        let message = format!(
            "there is no plugin `{}`, and a fallback without a plugin is `{}`",
            Quoted(name),
            FallbackConfig::NAMED.join("`, `")
        );
        checked.wrong_helped(key, Code::CONFIG_1703, message, help);
    }
}

/// The names in each circle that `next` leads in, from one of `names` on.
pub(crate) fn circles<'n>(
    names: impl IntoIterator<Item = &'n str>,
    next: impl Fn(&str) -> Option<String>,
) -> Vec<Vec<String>> {
    // Each name, and the walk that first came by.
    let mut seen = HashMap::new();
    let mut found = Vec::new();
    for (walk, start) in names.into_iter().enumerate() {
        let (mut way, mut at) = (Vec::new(), Some(start.to_owned()));
        while let Some(name) = at.take() {
            match seen.get(&name) {
                None => {
                    seen.insert(name.clone(), walk);
                    at = next(&name);
                    way.push(name);
                }
                Some(by) if *by == walk => {
                    let begin = way.iter().position(|of| *of == name).unwrap_or_default();
                    found.push(way.split_off(begin));
                }
                Some(_) => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_circle_is_found_once_wherever_the_ways_begin() {
        let circles = |ways: &[(&str, &str)]| {
            let next = |name: &str| {
                let found = ways.iter().find(|(from, _)| *from == name);
                found.map(|(_, to)| (*to).to_owned())
            };
            let found = circles(ways.iter().map(|(from, _)| *from), next);
            found.into_iter().map(|circle| circle.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(circles(&[("a", "b"), ("b", "c"), ("d", "c")]), [""; 0]);
        assert_eq!(circles(&[("a", "a")]), ["a"]);
        assert_eq!(circles(&[("x", "a"), ("a", "b"), ("b", "a"), ("y", "b")]), ["a b"]);
        assert_eq!(circles(&[("b", "a"), ("c", "d"), ("a", "b"), ("d", "c")]), ["b a", "c d"]);
        // As many as a file may have, one after the other.
        let names: Vec<_> = (0..50_000).map(|at: u32| at.to_string()).collect();
        let next =
            |name: &str| Some((name.parse::<u32>().ok()? + 1) % 50_000).map(|at| at.to_string());
        let found = super::circles(names.iter().map(String::as_str), next);
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [50_000]);
    }
}
