//! The rules between plugins.

use std::collections::HashMap;

use super::{
    checked::{At, Checked},
    circle::on_circles,
};
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

/// No more names are compared in all to find those that were meant.
const MAX_COMPARED: usize = 100_000;

/// No more plugins of a circle are named.
const MAX_NAMED: usize = 16;

/// Checks names and fallbacks.
pub(crate) fn check_file(plugins: &[Placed<'_>], flaws: &mut Flaws) {
    let mut by_name = HashMap::with_capacity(plugins.len());
    for (index, (plugin, node, path)) in plugins.iter().enumerate() {
        if !plugin.name.is_empty() && by_name.insert(&*plugin.name, index).is_some() {
            let shown = Quoted(&plugin.name);
            let message = format!("there is a plugin `{shown}` already");
            let mut checked = Checked { at: At::new(node, path), flaws };
            checked.wrong("name", Code::PLUGIN_1010, message);
        }
    }
    let name = |index: usize| plugins[index].0.name.as_str();
    let fallback = |index: usize| {
        let name = plugins[index].0.fallback.as_ref()?.plugin()?;
        (name != "graceful").then_some(name)
    };
    let next = |index: usize| by_name.get(fallback(index)?).copied();
    let on_circle = on_circles(plugins.len(), next);
    let mut hints = MAX_COMPARED / by_name.len().max(1);
    for (index, (_, node, path)) in plugins.iter().enumerate() {
        let mut checked = Checked { at: At::new(node, path), flaws };
        match (fallback(index), next(index)) {
            (Some(other), None) => {
                let help = hints.checked_sub(1).and_then(|left| {
                    hints = left;
                    did_you_mean(other, &by_name.keys().collect::<Vec<_>>())
                });
                let message = format!("there is no plugin `{}`", Quoted(other));
                checked.wrong_helped("fallback", Code::CONFIG_1703, message, help);
            }
            _ if on_circle[index] => {
                let way =
                    std::iter::successors(next(index), |&at| next(at).filter(|_| at != index));
                let way = [index].into_iter().chain(way).take(MAX_NAMED + 1).map(name);
                let mut way: Vec<_> = way.collect();
                if let Some(beyond) = way.get_mut(MAX_NAMED) {
                    *beyond = "…";
                }
                let message = format!("this fallback leads in a circle: `{}`", way.join("`, `"));
                checked.wrong("fallback", Code::CONFIG_1703, message);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        model::FallbackConfig,
        value::{Place, Value},
    };

    #[test]
    fn a_long_circle_is_told_in_short() {
        let (count, node) = (5_000, Node { place: Place::Nowhere, value: Value::Null });
        let plugins: Vec<_> = (0..count)
            .map(|at| {
                let plugin = PluginConfig::new(format!("p{at}"), "http");
                plugin.with_fallback(FallbackConfig::new(format!("p{}", (at + 1) % count)))
            })
            .collect();
        let paths: Vec<_> = (0..count).map(|at| format!("plugins[{at}]")).collect();
        let placed = plugins.iter().zip(&paths).map(|(plugin, path)| (plugin, &node, &**path));
        let mut flaws = Flaws::default();
        check_file(&placed.collect::<Vec<_>>(), &mut flaws);
        let flaws = flaws.sorted();
        assert_eq!(flaws.len(), count);
        assert!(flaws.iter().all(|flaw| flaw.message.len() < 200), "{:?}", flaws[0]);
        assert!(flaws[0].message.starts_with("this fallback leads in a circle: `p0`, `p1`"));
    }
}
