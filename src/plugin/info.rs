use std::collections::BTreeMap;

use serde::Serialize;

use super::wire;

/// Description of a plugin: its name, its version, and its capabilities.
///
/// ```
/// use tower_upstream::plugin::PluginInfo;
/// let info = PluginInfo::new("tax", "2.1.0").with_capability("vat");
/// assert_eq!(info.capabilities, ["vat"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PluginInfo {
    /// Name of the plugin.
    pub name: String,
    /// Version of the plugin, such as `2.1.0`.
    pub version: String,
    /// Purpose of the plugin.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Author of the plugin.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Capabilities of the plugin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Any other properties.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl PluginInfo {
    /// Creates a description with a name and a version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), ..Self::default() }
    }

    /// Sets the purpose.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets the author.
    #[must_use]
    pub fn with_author(mut self, author: impl Into<String>) -> Self {
        self.author = author.into();
        self
    }

    /// Adds a capability.
    #[must_use]
    pub fn with_capability(mut self, capability: impl Into<String>) -> Self {
        self.capabilities.push(capability.into());
        self
    }

    /// Adds a pair of metadata, or replaces the value.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    pub(crate) fn read(text: &str) -> Result<Self, serde_json::Error> {
        let [name, version, description, author, capabilities, metadata] = wire::members(
            text,
            ["name", "version", "description", "author", "capabilities", "metadata"],
        )?;
        Ok(Self {
            name: wire::value(name)?,
            version: wire::value(version)?,
            description: wire::value(description)?,
            author: wire::value(author)?,
            capabilities: wire::value(capabilities)?,
            metadata: wire::value::<wire::Pairs>(metadata)?.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_go_writes() {
        let info = PluginInfo::new("tax", "2.1.0").with_capability("vat");
        let text = String::from_utf8(wire::to_json(&info).unwrap()).unwrap();
        assert_eq!(text, r#"{"name":"tax","version":"2.1.0","capabilities":["vat"]}"#);
        assert_eq!(PluginInfo::read(&text).unwrap(), info);
    }
}
