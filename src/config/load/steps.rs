//! Text, values, environment, defaults, structs, rules.

use super::options::{ReadOptions, Unknown};
use crate::{
    config::{
        absent::{drop_absent, drop_unset},
        env::{expand_all, override_all, read_secrets},
        error::{ConfigError, Context, Mistake},
        merge::{check_plugins, drop_twice, fill_in, find, find_mut},
        model::{Config, PluginConfig, Preset, Sections},
        names::is_same,
        read::Reading,
        rules::{
            At, Checked, Common, check_defaults, check_file, check_plugin, doubt_level,
            doubt_plugin, helped, note_of, notes,
        },
        value::{
            Flaw, Flaws, Format, Member, Node, Path, Place, Source, Value, drop_repeated, parse,
        },
    },
    error::Code,
};

/// Reads a config, or says everything that is wrong with it.
pub(super) fn load(
    source: Source,
    mut context: Context,
    format: Format,
    options: &ReadOptions,
) -> Result<Config, ConfigError> {
    let mut root = parse(&source, format).map_err(|flaws| ConfigError::new(flaws, &context))?;
    // Those of keys that are given twice, too.
    context = context.with_secrets_of(&root);
    let mut flaws = drop_repeated(&mut root, &source);
    if !matches!(root.value, Value::Map(_)) {
        let message = format!("a config is a map, but this is {}", root.kind());
        flaws.push(Flaw::new(Code::CONFIG_1703, root.place.clone(), message));
        return Err(ConfigError::new(flaws, &context));
    }
    if let Err(flaw) = check_plugins(&root) {
        flaws.push(flaw);
        return Err(ConfigError::new(flaws, &context));
    }
    let mut found = Flaws::default();
    expand_all(&mut root, &Path::Root, &options.env, &mut flaws, &mut found);
    override_all(&mut root, &options.env, &mut flaws);
    read_secrets(&mut root, &Path::Root, &options.env, &mut flaws);
    drop_absent(&mut root);
    drop_unset(&mut root, &mut found);
    drop_twice(&mut root, &mut flaws);
    set_preset(&mut root, options.preset);
    let preset = find(&root, "preset").and_then(Node::text).filter(|text| *text == "go");
    let preset = preset.map(|_| Preset::Go);
    if let Err(flaw) = fill_in(&mut root, &base(preset)) {
        flaws.push(flaw);
        return Err(ConfigError::new(flaws, &context));
    }

    let mut reading = Reading::new(format, source.text());
    found.extend(notes(&root, preset, &options.transports).sorted());
    let config = read(&mut root, &mut reading, options, &mut flaws, &mut found);
    for unknown in reading.found.unknown.sorted() {
        match note_of(&unknown) {
            Some(note) => found.push(note),
            None if options.unknown == Unknown::Note => found.push(unknown),
            None => flaws.push(helped(unknown)),
        }
    }
    flaws.extend(reading.found.flaws.sorted().into_iter().map(|flaw| Flaw {
        code: if flaw.path.ends_with("auth.method") { Code::AUTH_1105 } else { flaw.code },
        ..flaw
    }));
    match config {
        Some(mut config) if flaws.is_empty() => {
            config.set_notes(found.sorted().into_iter().map(|note| Mistake::new(note, &context)));
            if let Some(first) = config.notes().first() {
                let notes = config.notes().len();
                tracing::warn!(notes, "a config has notes, such as {}", first.title());
            }
            Ok(config)
        }
        _ => Err(ConfigError::new(flaws, &context)),
    }
}

/// Writes the preset of the program into a file without one.
fn set_preset(root: &mut Node, preset: Option<Preset>) {
    let is_written = find(root, "preset").is_some_and(|node| node.value != Value::Null);
    let (Some(Preset::Go), false, Some(members)) = (preset, is_written, root.members_mut()) else {
        return;
    };
    members.retain(|member| !is_same(&member.key, "preset"));
    let node = Node { place: Place::Nowhere, value: Value::text("go") };
    members.push(Member { key: "preset".to_owned(), key_place: Place::Nowhere, node });
}

/// The sections of `preset`, which hold where the file has none.
fn base(preset: Option<Preset>) -> Node {
    let go = preset.and_then(|_| serde_json::to_value(Sections::go()).ok());
    Node::from(go.unwrap_or_default())
}

/// A plugin as it was read, and where.
struct Placed<'n> {
    plugin: Option<PluginConfig>,
    node: &'n Node,
    path: String,
}

/// Reads the file, and each of its plugins for itself, so that many mistakes take little time; then checks
/// the rules.
fn read(
    root: &mut Node,
    reading: &mut Reading<'_>,
    options: &ReadOptions,
    flaws: &mut Flaws,
    notes: &mut Flaws,
) -> Option<Config> {
    let nowhere = Node { place: root.place.clone(), value: Value::Null };
    let empty = || Node { value: Value::Null, ..nowhere.clone() };
    let plugins = find_mut(root, "plugins").map(|node| std::mem::replace(node, empty()));
    let plugins = plugins.unwrap_or(nowhere);

    let config = reading.read::<Config>(root, &Path::Root);
    let defaults = config.as_ref().map(|config| config.defaults.clone()).unwrap_or_default();
    check_defaults(&defaults, At::new(root, ""), flaws);
    if let Some(security) = config.as_ref().and_then(|config| config.security.as_ref()) {
        let checked = if security.is_on() { security.validate() } else { Ok(()) };
        Checked { at: At::new(root, ""), flaws }.section("security", checked);
    }

    if let Some(config) = &config {
        doubt_level(&config.log_level, &mut Checked { at: At::new(root, ""), flaws: notes });
    }

    let placed = read_plugins(&plugins, reading, flaws);
    for Placed { plugin, node, path } in &placed {
        if let Some(plugin) = plugin {
            let at = At::new(node, path).without(&reading.left_out);
            check_plugin(plugin, &defaults, &options.transports, &mut Checked { at, flaws });
            let is_own = |name: &String| *name == plugin.transport || *name == plugin.kind;
            if !options.transports.iter().any(is_own) {
                doubt_plugin(plugin, &defaults, &mut Checked { at, flaws: notes });
            }
        }
    }
    let readable = placed.iter().filter_map(|Placed { plugin, node, path }| {
        plugin.as_ref().map(|plugin| (plugin, *node, path.as_str()))
    });
    let common = Common { at: At::new(root, ""), defaults: &defaults, others: &options.plugins };
    check_file(&readable.collect::<Vec<_>>(), &common, flaws);
    let mut config = config?;
    config.plugins = placed.into_iter().map(|placed| placed.plugin).collect::<Option<_>>()?;
    Some(config)
}

/// A list of plugins, or a map of plugins by name.
fn read_plugins<'n, 's: 'n>(
    plugins: &'n Node,
    reading: &mut Reading<'s>,
    flaws: &mut Flaws,
) -> Vec<Placed<'n>> {
    let parent = Path::Root.key("plugins");
    let mut placed = |node: &'n Node, path: Path<'_>| {
        let plugin = reading.read::<PluginConfig>(node, &path);
        Placed { plugin, node, path: path.to_string() }
    };
    let placed: Vec<_> = match &plugins.value {
        Value::List(nodes) => {
            let nodes = nodes.iter().enumerate();
            nodes.map(|(index, node)| placed(node, parent.index(index))).collect()
        }
        Value::Map(members) => {
            let mut by_name = Vec::with_capacity(members.len());
            for Member { key, node, key_place } in members {
                let mut placed = placed(node, parent.key(key));
                if let Some(plugin) = &mut placed.plugin {
                    if !plugin.name.is_empty() && plugin.name != *key {
                        let message = "its `name` is another than its key; leave `name` out";
                        let flaw = Flaw::new(Code::CONFIG_1703, key_place.clone(), message);
                        flaws.push(flaw.at(&placed.path));
                    }
                    plugin.name.clone_from(key);
                }
                by_name.push(placed);
            }
            by_name
        }
        Value::Null => Vec::new(),
        _ => {
            let found = plugins.kind();
            let message = format!("expected a list of plugins, or a map by name, found {found}");
            let flaw = Flaw::new(Code::CONFIG_1703, plugins.place.clone(), message);
            flaws.push(flaw.at("plugins"));
            return Vec::new();
        }
    };
    if placed.is_empty() {
        let flaw = Flaw::new(Code::PLUGIN_1009, plugins.place.clone(), "no plugins are configured");
        flaws.push(flaw.at("plugins"));
    }
    placed
}
