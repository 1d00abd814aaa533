//! The rules between plugins.

use std::collections::{HashMap, HashSet};

use super::checked::{At, Checked};
use crate::{
    config::{
        model::PluginConfig,
        nearest::did_you_mean,
        value::{Flaws, Node},
    },
    error::{Code, Quoted},
};

/// A plugin as it was read, and where.
pub(crate) type Placed<'c> = (&'c PluginConfig, &'c Node, &'c str);

/// Checks names and fallbacks.
pub(crate) fn check_file(plugins: &[Placed<'_>], flaws: &mut Flaws) {
    let mut by_name = HashMap::new();
    for (plugin, node, path) in plugins {
        let mut checked = Checked { at: At::new(node, path), flaws };
        if !plugin.name.is_empty() && by_name.insert(&*plugin.name, *plugin).is_some() {
            let shown = Quoted(&plugin.name);
            let message = format!("there is a plugin `{shown}` already");
            checked.wrong("name", Code::PLUGIN_1010, message);
        }
    }
    for (plugin, node, path) in plugins {
        let mut checked = Checked { at: At::new(node, path), flaws };
        check_fallback(plugin, &by_name, &mut checked);
    }
}

fn check_fallback(
    plugin: &PluginConfig,
    by_name: &HashMap<&str, &PluginConfig>,
    checked: &mut Checked<'_>,
) {
    let next = |plugin: &PluginConfig| {
        let name = plugin.fallback.as_ref()?.plugin()?;
        Some(name.to_owned()).filter(|name| name != "graceful")
    };
    let Some(first) = next(plugin) else { return };
    if !by_name.contains_key(&*first) {
        let names: Vec<_> = by_name.keys().copied().collect();
        let shown = Quoted(&first);
        let message = format!("there is no plugin `{shown}`");
        let help = did_you_mean(&first, &names);
        return checked.wrong_helped("fallback", Code::CONFIG_1703, message, help);
    }
    let (mut seen, mut name) = (HashSet::from([plugin.name.clone()]), Some(first));
    let mut way = vec![plugin.name.clone()];
    while let Some(of) = name {
        way.push(of.clone());
        if of == plugin.name {
            let message = format!("this fallback leads in a circle: `{}`", way.join("`, `"));
            return checked.wrong("fallback", Code::CONFIG_1703, message);
        }
        name = if seen.insert(of.clone()) {
            by_name.get(&*of).and_then(|plugin| next(plugin))
        } else {
            None
        };
    }
}
