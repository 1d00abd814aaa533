//! The sections of a plugin, or those for all plugins.

use super::checked::{At, Checked};
use crate::{
    config::{
        model::{PluginConfig, Sections},
        value::Flaws,
    },
    error::Error,
};

macro_rules! each_section {
    ($sections:expr, $check:expr, $($section:ident)+) => {
        $($check(stringify!($section), $sections.$section.validate());)+
    };
}

/// The sections for all plugins, by the names that the file has for them, but for `auth`: plugins may add to it.
pub(crate) fn check_defaults(sections: &Sections, at: At<'_>, flaws: &mut Flaws) {
    let mut checked = Checked { at, flaws };
    let mut check = |section: &str, result: Result<(), Error>| {
        let go = format!("default_{section}");
        let name = if at.has(&go) { go } else { format!("defaults.{section}") };
        checked.section(&name, result);
    };
    each_section!(
        sections, check, retry circuit_breaker health_check connection rate_limit balance failover
        budget concurrency fallback
    );
}

/// The sections of one plugin, but for `auth`.
pub(super) fn check_sections(plugin: &PluginConfig, checked: &mut Checked<'_>) {
    macro_rules! each {
        ($($section:ident)+) => {
            $(if let Some(section) = &plugin.$section {
                checked.section(stringify!($section), section.validate());
            })+
        };
    }
    each!(
        retry circuit_breaker health_check connection rate_limit balance failover budget concurrency
        fallback
    );
}
