//! The rules of the Go plugin manager for one plugin, in its order, and ours.

use super::{
    backends::check_discover,
    checked::Checked,
    endpoints::check_endpoints,
    identity::{mistake_in_name, mistake_in_version},
    options::check_options,
    schemes::{self, leads_elsewhere, scheme, unknown_scheme},
    sections::check_sections,
};
use crate::{
    auth::AuthConfig,
    config::{
        model::{PluginConfig, Sections},
        nearest::did_you_mean,
    },
    endpoint::Endpoint,
    error::{Code, Quoted},
};

pub(crate) const TRANSPORTS: [&str; 6] = ["http", "https", "grpc", "grpc-tls", "unix", "exec"];

/// Checks one plugin; `transports` are those of the program's own factories.
pub(crate) fn check_plugin(
    plugin: &PluginConfig,
    defaults: &Sections,
    transports: &[String],
    checked: &mut Checked<'_>,
) {
    check_name(plugin, checked);
    check_place(plugin, transports, checked);
    if let Some(auth) = &plugin.auth {
        check_auth(auth, "auth", &plugin.name, checked);
    }
    check_sections(plugin, checked);
    check_times(plugin, defaults, checked);
    let is_own = |name: &String| *name == plugin.kind || *name == plugin.transport;
    // A factory of the program's own knows its options.
    if !transports.iter().any(is_own) {
        check_program(plugin, checked);
        check_options(plugin, defaults, checked);
    }
}

/// What the system hands to no program.
fn check_program(plugin: &PluginConfig, checked: &mut Checked<'_>) {
    let paths = [("executable", &plugin.executable), ("work_dir", &plugin.work_dir)];
    let paths = paths.into_iter().map(|(key, path)| (key.to_owned(), path));
    let args = plugin.args.iter().enumerate().map(|(index, arg)| (format!("args[{index}]"), arg));
    for (key, _) in paths.chain(args).filter(|(_, text)| text.contains('\0')) {
        checked.wrong(&key, Code::CONFIG_1703, "it holds a NUL, which no program can get");
    }
    for (name, value) in &plugin.env {
        let shown = Quoted(name);
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("`{shown}` is no name of a variable");
            checked.wrong("env", Code::CONFIG_1703, message);
        } else if value.expose().contains('\0') {
            let message = format!("the value of `{shown}` holds a NUL, which no program can get");
            checked.wrong("env", Code::CONFIG_1703, message);
        }
    }
}

fn check_name(plugin: &PluginConfig, checked: &mut Checked<'_>) {
    let mistakes =
        [("name", mistake_in_name(&plugin.name)), ("version", mistake_in_version(plugin))];
    for (key, mistake) in mistakes {
        if let Some(mistake) = mistake {
            checked.wrong(key, Code::PLUGIN_1001, mistake);
        }
    }
}

/// How it is reached, and where it is.
fn check_place(plugin: &PluginConfig, transports: &[String], checked: &mut Checked<'_>) {
    let transport = plugin.transport.as_str();
    let is_own = |name: &str| transports.iter().any(|own| own == name);
    let is_made = is_own(&plugin.kind) || is_own(transport);
    let places =
        [!plugin.endpoint.is_empty(), !plugin.endpoints.is_empty(), plugin.discover.is_some()];
    let has_place = places.contains(&true);
    if places.iter().filter(|given| **given).count() > 1 {
        let message = "`endpoint`, `endpoints` and `discover` are one or the other";
        let key = if plugin.discover.is_some() { "discover" } else { "endpoints" };
        checked.wrong(key, Code::CONFIG_1703, message);
    }
    let needs = |checked: &mut Checked<'_>, code, what: &str| {
        if !has_place {
            let key = if code == Code::PLUGIN_1007 { "executable" } else { "endpoint" };
            let missing = ["endpoint", "endpoints", "discover", "executable"];
            checked.lacking(key, code, format!("`{transport}` needs {what}"), None, &missing);
        }
    };
    match transport {
        _ if is_made => {}
        "" => {
            let meant = [scheme(&plugin.endpoint), Some(plugin.kind.as_str())];
            let meant = meant.into_iter().flatten().find(|name| TRANSPORTS.contains(name));
            let help = match meant {
                Some(name) => format!("did you mean `transport: {name}`?"),
                None => format!("there are `{}`", TRANSPORTS.join("`, `")),
            };
            let message = "a plugin needs a `transport`";
            checked.wrong_helped("transport", Code::PLUGIN_1002, message, help);
        }
        "http" | "https" => {
            needs(
                checked,
                Code::PLUGIN_1003,
                "an `endpoint`, such as `https://tax.example`, or `endpoints`, or `discover`",
            );
            for (key, address) in addresses(plugin) {
                if key != "endpoint" && leads_elsewhere(address) {
                    check_address(&key, address, checked);
                } else {
                    check_url(transport, &key, address, checked);
                }
                check_private(transport, &key, address, checked);
            }
        }
        "grpc" | "grpc-tls" => {
            needs(
                checked,
                Code::PLUGIN_1003,
                "an `endpoint`, such as `tax.example:50051`, or `endpoints`, or `discover`",
            );
            for (key, address) in addresses(plugin) {
                let whole = match address.contains(':') {
                    true => address.to_owned(),
                    false => format!("grpc://{address}"),
                };
                check_address(&key, &whole, checked);
                check_private(transport, &key, address, checked);
            }
        }
        "unix" => needs(checked, Code::PLUGIN_1006, "the path of its socket as `endpoint`"),
        "exec" if plugin.executable.is_empty() => {
            needs(checked, Code::PLUGIN_1007, "the path of its program as `executable`");
        }
        "exec" => {}
        other => {
            let known: Vec<&str> =
                TRANSPORTS.into_iter().chain(transports.iter().map(String::as_str)).collect();
            let shown = Quoted(other);
            let message = format!("there is no transport `{shown}`, but `{}`", known.join("`, `"));
            let own = "a transport of your own needs `Plugins::register_factory` before `Plugins::apply_file`, or, to read a \
                 `Config` alone, `ReadOptions::with_transports`";
            let help = did_you_mean(other, &known).unwrap_or_else(|| own.to_owned());
            checked.wrong_helped("transport", Code::PLUGIN_1008, message, help);
        }
    }
    if !is_made {
        for (key, address) in addresses(plugin) {
            check_scheme(&key, address, checked);
        }
    }
    if let Some(discover) = &plugin.discover {
        check_discover(&plugin.name, discover, checked);
    }
    check_endpoints(plugin, is_made, checked);
}

/// Each address, by its key.
fn addresses(plugin: &PluginConfig) -> Vec<(String, &str)> {
    let one = (!plugin.endpoint.is_empty()).then(|| ("endpoint".to_owned(), &*plugin.endpoint));
    let more = plugin.endpoints.iter().enumerate();
    let more = more.map(|(index, of)| (format!("endpoints[{index}]"), &*of.address));
    one.into_iter().chain(more).collect()
}

fn check_url(transport: &str, key: &str, address: &str, checked: &mut Checked<'_>) {
    if leads_elsewhere(address) {
        let scheme = scheme(address).unwrap_or_default();
        let message = format!("`{transport}` does not reach what begins with `{scheme}:`");
        let help = match TRANSPORTS.contains(&scheme) {
            true => format!("write the transport `{scheme}`"),
            false => "write it as one of `endpoints`".to_owned(),
        };
        return checked.wrong_helped(key, Code::PLUGIN_1005, message, help);
    }
    let (scheme, rest) = address.split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    if scheme.is_empty() || host.is_empty() || host.starts_with(':') {
        let message = "the address lacks its scheme or host, as in `https://tax.example`";
        let is_whole = Endpoint::new(format!("{transport}://{address}")).is_ok();
        let help =
            (is_whole && is_host(address)).then(|| format!("write `{transport}://` before it"));
        checked.wrong_helped(key, Code::PLUGIN_1005, message, help);
    } else {
        check_address(key, address, checked);
    }
}

/// Whether it is a host, with a port or without, and nothing else.
fn is_host(address: &str) -> bool {
    let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    !matches!(port, Some(Err(_))) && !address.contains(['@', '/'])
}

/// An address that is well, and leads nowhere.
fn check_scheme(key: &str, address: &str, checked: &mut Checked<'_>) {
    let Some(scheme) = unknown_scheme(address) else { return };
    let known =
        [&schemes::HTTP[..], &schemes::GRPC, &schemes::SOCKETS, &schemes::PROGRAMS].concat();
    let message =
        format!("no transport reaches `{}`; there are `{}`", Quoted(scheme), known.join("`, `"));
    checked.wrong_helped(key, Code::PLUGIN_1004, message, did_you_mean(scheme, &known));
}

fn check_address(key: &str, address: &str, checked: &mut Checked<'_>) {
    if let Err(error) = Endpoint::new(address) {
        checked.wrong(key, Code::PLUGIN_1004, error.what().to_owned());
    }
}

/// Calls of a transport with TLS do not leave without it.
fn check_private(transport: &str, key: &str, address: &str, checked: &mut Checked<'_>) {
    let scheme = address.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let (private, open) = match (transport, scheme.as_deref()) {
        ("https", Some("http")) => ("https", "http"),
        ("grpc-tls", Some("http" | "grpc")) => ("grpc-tls", "grpc"),
        _ => return,
    };
    let message = format!(
        "the transport is `{transport}`, but the address is `{}://`: calls would be readable",
        scheme.unwrap_or_default()
    );
    let help = format!("write `{private}://`, or the transport `{open}`");
    checked.wrong_helped(key, Code::CONFIG_1703, message, help);
}

/// Credentials below `key`, of a plugin or of all, which have no name.
pub(super) fn check_auth(auth: &AuthConfig, key: &str, name: &str, checked: &mut Checked<'_>) {
    let Err(error) = auth.validate() else { return };
    let what = error.what();
    let message = what.strip_prefix("auth: ").unwrap_or(what).to_owned();
    let variable = |what: &str| Some(format!("write it, or \"${{{}}}\"", variable(name, what)));
    let (help, missing): (_, &[_]) = match error.code() {
        // What is there, and wrong.
        _ if !message.contains(" needs ") => (None, &[]),
        Code::AUTH_1101 => (variable("API_KEY"), &["api_key"]),
        Code::AUTH_1102 => (variable("TOKEN"), &["token"]),
        Code::AUTH_1103 => (variable("PASSWORD"), &["username", "password"]),
        Code::AUTH_1104 => (None, &["cert_file", "key_file"]),
        _ => (None, &[]),
    };
    let missing: Vec<_> = missing.iter().map(|of| format!("{key}.{of}")).collect();
    let missing: Vec<_> = missing.iter().map(String::as_str).collect();
    checked.lacking(key, error.code(), message, help, &missing);
}

/// A name that a variable may have.
fn variable(name: &str, what: &str) -> String {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = name.to_ascii_uppercase();
    match name.chars().next() {
        None => what.to_owned(),
        Some(first) if first.is_ascii_digit() => format!("PLUGIN_{name}_{what}"),
        Some(_) => format!("{name}_{what}"),
    }
}

/// A time that ends before one inside it could.
fn check_times(plugin: &PluginConfig, defaults: &Sections, checked: &mut Checked<'_>) {
    let Some(whole) = plugin.timeout.filter(|timeout| !timeout.is_zero()) else { return };
    let attempt = plugin.failover.as_ref().and_then(|failover| failover.timeout);
    let request = plugin.connection.as_ref().map(|connection| connection.request_timeout);
    for (key, inner) in [("failover.timeout", attempt), ("connection.request_timeout", request)] {
        // A default that is longer is cut off, which is what a shorter `timeout` is for.
        let is_written = inner.is_some_and(|inner| inner > whole)
            && inner != Some(defaults.connection.request_timeout);
        if is_written && checked.at.writes(key) {
            let message =
                format!("{:?} is longer than `timeout`, {whole:?}", inner.unwrap_or_default());
            checked.wrong(key, Code::CONFIG_1703, message);
        }
    }
}
