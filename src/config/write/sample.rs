//! A file to begin with.

use std::{borrow::Cow, fmt::Write as _, fs, io::Write as _, path::Path};

use serde_json::{Map, Value, json};

use super::text::Secrets;
use crate::{
    config::{
        model::{Config, PluginConfig},
        shape::{OTHER_NAME, schema},
        value::Format,
    },
    error::{Code, Error, Kind},
};

/// What the sample is about.
const ABOUT: &str = "\
# Plugins of a program. Every key is here with its default, and those without one behind a `#`.
# Values may be \"${NAME}\" or \"${NAME:-default}\", of the environment.
";

/// No line of a comment is longer, if its words let it.
const WIDTH: usize = 100;

/// Sections that have an effect if they are there, whatever they say.
const OFF: [&str; 3] = ["discover", "discovery", "security"];

impl Config {
    /// Returns a file to begin with: every key with its default and what it is for, and one plugin. In JSON,
    /// which has no comments, the keys that have a default.
    ///
    /// It is made from the structs that read it, and reading it gives the defaults.
    ///
    /// # Errors
    /// Those of [`to_text`](Self::to_text).
    ///
    /// ```
    /// use tower_upstream::config::{Config, Format, Sections};
    /// let sample = Config::sample(Format::Toml)?;
    /// assert!(sample.contains("\n# Number of attempts in all, from 1 to 64. Default: 3.\nattempts = 3\n"));
    /// assert_eq!(Config::from_str(&sample, Format::Toml)?.defaults, Sections::default());
    /// # Ok::<(), tower_upstream::BoxError>(())
    /// ```
    pub fn sample(format: Format) -> Result<String, Error> {
        if format == Format::Json {
            let plugin = PluginConfig::new("example", "https").with_endpoint("https://example.com");
            return Self::default().with_plugin(plugin).to_text(format, Secrets::Masked);
        }
        let schema = schema();
        let mut sample = Sample { schema: &schema, format, text: ABOUT.to_owned() };
        let file = sample.properties(&schema);
        sample.keys(&file, "", false);
        let sections = sample.properties(&schema["properties"]["defaults"]);
        let mut plugin = sample.properties(&schema["$defs"]["plugin"]);
        plugin.retain(|key, _| key != "name" && !sections.contains_key(key));
        for (key, value) in [("transport", "https"), ("endpoint", "https://example.com")] {
            plugin[key]["default"] = json!(value);
        }
        sample.header("plugins", &schema["properties"]["plugins"], false);
        let about = json!({ "description": "It may have each section of `defaults`, too." });
        sample.header("plugins.example", &about, false);
        sample.keys(&plugin, "plugins.example", false);
        Ok(sample.text)
    }

    /// Writes the [sample](Self::sample) to a new file, in the format of its extension. Only the user may
    /// read it: it has mode 0600, and directories that are made for it have 0750.
    ///
    /// # Errors
    /// `InvalidConfig` with the code `CONFIG_1706` if there is such a file already, or if it cannot be
    /// written; that of [`Format::of`].
    pub fn write_sample(path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let text = Self::sample(Format::of(path)?)?;
        create(path, &text).map_err(|error| {
            let text = format!("the sample cannot be written to `{}`", path.display());
            let failed = Error::not_sent(Kind::InvalidConfig).coded(Some(Code::CONFIG_1706));
            failed.message(text).caused_by(error)
        })
    }
}

/// A file as far as it is written.
struct Sample<'s> {
    schema: &'s Value,
    format: Format,
    text: String,
}

impl Sample<'_> {
    fn resolved<'v>(&'v self, of: &'v Value) -> &'v Value {
        // But for one of zeros.
        let link = of["$ref"].as_str().or(of["else"]["$ref"].as_str());
        let link = link.and_then(|link| link.strip_prefix("#/$defs/"));
        link.map_or(of, |name| &self.schema["$defs"][name])
    }

    /// Whether it has keys of its own and cannot be written as a value.
    fn is_section(&self, of: &Value) -> bool {
        let is = &self.resolved(of)["type"];
        *is == "object" || *is == json!(["object", "null"])
    }

    /// The keys of a section, by our names. None if it is a value.
    fn properties(&self, of: &Value) -> Map<String, Value> {
        let mut properties =
            self.resolved(of)["properties"].as_object().cloned().unwrap_or_default();
        let said = |of: &Value| of["description"].as_str().unwrap_or_default().to_owned();
        properties.retain(|_, of| !said(of).starts_with(OTHER_NAME));
        properties
    }

    /// Writes keys, and then sections. What is off would have an effect, and is a comment.
    fn keys(&mut self, keys: &Map<String, Value>, path: &str, is_off: bool) {
        let depth = self.depth(path);
        let mut sections = Vec::new();
        for (key, of) in keys.iter().filter(|(key, _)| !path.is_empty() || *key != "plugins") {
            let own = self.properties(of);
            if !own.is_empty() && self.is_section(of) {
                sections.push((key, of, own));
                continue;
            }
            self.comment(of, depth);
            let default = of.get("default").unwrap_or(&self.resolved(of)["default"]);
            let (value, is_set) = match default {
                Value::Null => (String::new(), false),
                value => (format!(" {}", inline(value, self.format)), !is_off),
            };
            let line = match self.format {
                Format::Yaml => format!("{key}:{value}"),
                _ => format!("{} ={value}", key_of_toml(key)),
            };
            self.line(depth, is_set, &line);
        }
        for (key, of, own) in sections {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let is_off = is_off || OFF.contains(&&**key);
            self.header(&path, of, is_off);
            self.keys(&own, &path, is_off);
        }
    }

    /// Begins a section.
    fn header(&mut self, path: &str, of: &Value, is_off: bool) {
        let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
        let depth = self.depth(parent);
        self.text.push('\n');
        self.comment(of, depth);
        match self.format {
            Format::Yaml => self.line(depth, !is_off, &format!("{key}:")),
            // Each plugin is a table.
            _ if path == "plugins" => {}
            _ => self.line(depth, !is_off, &format!("[{path}]")),
        }
    }

    /// How far the keys of a section stand to the right.
    fn depth(&self, path: &str) -> usize {
        match self.format {
            Format::Yaml if !path.is_empty() => 1 + path.matches('.').count(),
            _ => 0,
        }
    }

    /// Writes what a key is for.
    fn comment(&mut self, of: &Value, depth: usize) {
        let words = of["description"].as_str().unwrap_or_default().split(' ');
        let mut line = String::new();
        for word in words.filter(|word| !word.is_empty()) {
            if !line.is_empty() && line.len() + word.len() > WIDTH {
                self.line(depth, false, &line);
                line.clear();
            }
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
        if !line.is_empty() {
            self.line(depth, false, &line);
        }
    }

    fn line(&mut self, depth: usize, is_set: bool, text: &str) {
        let mark = if is_set { "" } else { "# " };
        let _ = writeln!(self.text, "{:1$}{mark}{text}", "", 2 * depth);
    }
}

/// A key, in quotes where TOML asks for them.
fn key_of_toml(key: &str) -> Cow<'_, str> {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if key.chars().all(is_bare) { key.into() } else { format!("\"{key}\"").into() }
}

/// A value in one line.
fn inline(value: &Value, format: Format) -> String {
    match value {
        Value::Object(members) if format == Format::Toml => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let members = members.map(|(key, value)| format!("{key} = {}", inline(value, format)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut directories = fs::DirBuilder::new();
    directories.recursive(true);
    let mut file = fs::OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        directories.mode(0o750);
        file.mode(0o600);
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        directories.create(parent)?;
    }
    // Half of one would be in the way of the next.
    file.open(path)?.write_all(text.as_bytes()).inspect_err(|_| drop(fs::remove_file(path)))
}
