//! The rules for the `endpoints` of a plugin.

use std::collections::HashSet;

use super::checked::Checked;
use crate::{config::model::PluginConfig, error::Code};

/// Checks what the endpoints say; `is_made` if a factory of the program's own connects to them.
pub(super) fn check_endpoints(plugin: &PluginConfig, is_made: bool, checked: &mut Checked<'_>) {
    let mut seen = HashSet::new();
    for (index, endpoint) in plugin.endpoints.iter().enumerate() {
        let key = format!("endpoints[{index}]");
        let is_url = matches!(&*plugin.transport, "http" | "https") && !is_made;
        // Of a URL, it is what the URL lacks.
        if endpoint.address.is_empty() && !is_url {
            checked.wrong(&key, Code::PLUGIN_1003, "an endpoint needs an `address`");
        }
        let id = if endpoint.id.is_empty() { &endpoint.address } else { &endpoint.id };
        if !seen.insert(id) && !id.is_empty() {
            checked.wrong(&key, Code::CONFIG_1703, "this endpoint is given twice");
        }
        let Some(check) = &endpoint.health_check else { continue };
        let key = format!("{key}.health_check");
        checked.section(&key, check.validate());
        let address = endpoint.address.as_str();
        let is_over_http = match address.split_once(':').filter(|_| address.contains("://")) {
            Some((scheme, _)) => scheme.to_ascii_lowercase().starts_with("http"),
            None => !address.starts_with("unix:") && !address.starts_with("exec:"),
        };
        if check.asks() && !is_made && !(is_url && is_over_http) {
            let message =
                "only `http` and `https` are asked for a path; here write `interval` and `timeout`";
            checked.wrong(&key, Code::CONFIG_1703, message);
        }
    }
}
