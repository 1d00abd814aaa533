//! Which of all mistakes the Go plugin manager would have returned: it stops at the first.

use crate::{config::value::Flaw, error::Code};

/// The code of the whole.
pub(super) fn whole(flaws: &[Flaw]) -> Code {
    // The file could not be read, or not be understood; or it is empty of plugins.
    let of_file = flaws.iter().find(|flaw| {
        let is_file = flaw.code.category() == "CONFIG" && flaw.code != Code::CONFIG_1703;
        let is_first = is_file || flaw.is_syntax || flaw.code == Code::PLUGIN_1009;
        is_first && (flaw.path.is_empty() || flaw.path == "plugins")
    });
    if let Some(flaw) = of_file {
        return flaw.code;
    }
    // Plugin by plugin: its own rules, then its name.
    match flaws.iter().find(|flaw| is_rule(flaw.code)) {
        Some(first) => {
            let plugin = plugin(&first.path);
            let of_it = |flaw: &&Flaw| is_rule(flaw.code) && self::plugin(&flaw.path) == plugin;
            let has_own = flaws.iter().filter(of_it).any(|flaw| flaw.code != Code::PLUGIN_1010);
            if has_own { Code::PLUGIN_1001 } else { Code::PLUGIN_1010 }
        }
        None => flaws.first().map_or(Code::CONFIG_1703, |flaw| flaw.code),
    }
}

/// Whether the Go plugin manager has such a rule for one plugin.
fn is_rule(code: Code) -> bool {
    let plugin =
        (Code::PLUGIN_1001..=Code::PLUGIN_1010).contains(&code) && code != Code::PLUGIN_1009;
    plugin || code.category() == "AUTH"
}

/// `plugins[2]` of `plugins[2].auth`.
fn plugin(path: &str) -> &str {
    let from = path.find(['[', '.']).map_or(path.len(), |at| at + 1);
    let end = path[from..].find(['.', '[', ']']).map_or(path.len(), |at| from + at);
    &path[..end]
}
