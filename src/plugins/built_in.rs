use std::{fmt, sync::Arc};

#[cfg(feature = "grpc")]
use crate::transport::{GrpcConfig, GrpcTransport};
#[cfg(all(feature = "process", unix))]
use crate::{
    allow::AllowList,
    plugin::Handshake,
    transport::{ProcessConfig, ProcessTransport},
};
use crate::{
    config::{PluginConfig, Sections},
    connect::Connect,
    error::{Code, Error, Kind},
    member::Member,
    transport::{
        ByScheme, BySchemeService, HttpTransport, On, Or, Routes, SocketConfig, SocketTransport,
    },
};

type Basic<Req, Res> = Or<On<HttpTransport<Req, Res>>, On<SocketTransport<Req, Res>>>;

#[cfg(feature = "grpc")]
type WithGrpc<Req, Res> = Or<Basic<Req, Res>, On<GrpcTransport<Req, Res>>>;
#[cfg(not(feature = "grpc"))]
type WithGrpc<Req, Res> = Basic<Req, Res>;

#[cfg(all(feature = "process", unix))]
type All<Req, Res> = Or<WithGrpc<Req, Res>, On<ProcessTransport<Req, Res>>>;
#[cfg(not(all(feature = "process", unix)))]
type All<Req, Res> = WithGrpc<Req, Res>;

/// The transports of this crate that the features have, each for the schemes of its addresses.
pub(super) struct BuiltIn<Req, Res> {
    transports: Arc<ByScheme<All<Req, Res>>>,
}

/// Service of one endpoint that a transport of this crate reaches.
pub(super) type BuiltInService<Req, Res> = BySchemeService<<All<Req, Res> as Routes>::Service>;

/// A name that a `transport` may have, and the Cargo feature without which there is none.
struct Name {
    name: &'static str,
    /// Scheme of an address without one.
    scheme: &'static str,
    feature: Option<&'static str>,
}

const fn name(name: &'static str, scheme: &'static str, feature: Option<&'static str>) -> Name {
    Name { name, scheme, feature }
}

const fn unless(has: bool, feature: &'static str) -> Option<&'static str> {
    if has { None } else { Some(feature) }
}

const NAMES: [Name; 6] = [
    name("http", "http://", None),
    name("https", "https://", unless(cfg!(feature = "tls"), "tls")),
    name("grpc", "grpc://", unless(cfg!(feature = "grpc"), "grpc")),
    name("grpc-tls", "grpc-tls://", unless(cfg!(all(feature = "grpc", feature = "tls")), "grpc")),
    name("unix", "unix:", None),
    name("exec", "exec:", unless(cfg!(all(feature = "process", unix)), "process")),
];

/// The names of the transports that there are.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().filter(|known| known.feature.is_none()).map(|known| known.name)
}

/// The Cargo feature that `transport` takes and that is off.
pub(super) fn missing_feature(transport: &str) -> Option<&'static str> {
    NAMES.iter().find(|known| known.name == transport)?.feature
}

/// The address that `text` is, as the endpoint of `transport`.
pub(super) fn address(transport: &str, text: &str) -> String {
    let Some(known) = NAMES.iter().find(|known| known.name == transport) else {
        return text.to_owned();
    };
    // Over gRPC, `http` is but another name of its own schemes, which are those that lead to it.
    if known.scheme.starts_with("grpc") {
        for (http, grpc) in [("http://", "grpc://"), ("https://", "grpc-tls://")] {
            if let Some(rest) = text.strip_prefix(http) {
                return format!("{grpc}{rest}");
            }
        }
    }
    let is_whole = text.contains("://") || text.starts_with("unix:") || text.starts_with("exec:");
    match known.name {
        _ if is_whole || text.is_empty() => text.to_owned(),
        "unix" if !text.starts_with('/') && text.contains(':') => format!("tcp://{text}"),
        "unix" | "exec" => {
            let path = std::path::absolute(text).map_or(text.into(), |path| path.into_os_string());
            format!("{}{}", known.scheme, path.to_string_lossy())
        }
        _ => format!("{}{text}", known.scheme),
    }
}

/// What the transports go by.
#[derive(Clone, Default)]
pub(super) struct Settings {
    #[cfg(all(feature = "process", unix))]
    pub(super) allowed: Option<AllowList>,
}

impl<Req, Res> BuiltIn<Req, Res> {
    pub(super) fn new(
        plugin: &PluginConfig,
        sections: &Sections,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let credentials = sections.auth.credentials()?;
        let mut http = sections.connection.clone();
        if let Some(path) =
            sections.health_check.endpoint.as_deref().filter(|path| !path.is_empty())
        {
            http = http.with_health_path(path);
        }
        #[cfg(feature = "tls")]
        {
            http.tls = sections.auth.tls(http.tls);
        }
        let socket = socket(plugin, sections)?;
        #[cfg(feature = "grpc")]
        let grpc = grpc(plugin, sections)?;
        let transports = ByScheme::new(
            ["http", "https", "http+unix"],
            HttpTransport::with_config(http).with_credentials(credentials.clone()),
        )
        .or(["unix", "tcp"], SocketTransport::with_config(socket));
        #[cfg(feature = "grpc")]
        let transports = transports.or(
            ["grpc", "grpc-tls", "grpcs"],
            GrpcTransport::with_config(grpc).with_credentials(credentials),
        );
        #[cfg(all(feature = "process", unix))]
        let transports = {
            let process = ProcessTransport::with_config(process(plugin, sections)?);
            let process = match &settings.allowed {
                Some(list) => process.with_allow_list(list.clone()),
                None => process,
            };
            transports.or(["exec"], process)
        };
        let _ = settings;
        Ok(Self { transports: Arc::new(transports) })
    }
}

/// The settings of `part` that its own config takes out of `options`, over those of the sections.
fn with_options<T>(plugin: &PluginConfig, transport: &str, base: T) -> Result<T, Error>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let is_its = match transport {
        "grpc" => plugin.transport.starts_with("grpc"),
        _ => plugin.transport == transport,
    };
    if !is_its || plugin.options.is_empty() {
        return Ok(base);
    }
    let mistake = |error: serde_json::Error| {
        let text = format!("options: {error}");
        Error::not_sent(Kind::InvalidConfig).message(text)
    };
    let mut settings = serde_json::to_value(&base).map_err(mistake)?;
    let Some(known) = settings.as_object_mut() else { return Ok(base) };
    let mut changed = false;
    for (name, value) in &plugin.options {
        if let Some(setting) = known.get_mut(name) {
            *setting = value.clone();
            changed = true;
        }
    }
    if !changed {
        return Ok(base);
    }
    serde_json::from_value(settings).map_err(mistake)
}

fn socket(plugin: &PluginConfig, sections: &Sections) -> Result<SocketConfig, Error> {
    let Sections { connection, auth, .. } = sections;
    let config = SocketConfig::default()
        .with_request_timeout(connection.request_timeout)
        .with_connect_timeout(connection.connect_timeout)
        .with_idle_timeout(connection.idle_timeout)
        .with_max_idle_connections(connection.max_idle_connections)
        .with_max_connections(connection.max_connections)
        .with_max_connection_age(connection.max_connection_age)
        .with_keep_alive(connection.keep_alive);
    let mut config = with_options(plugin, "unix", config)?;
    config.allowed_uids.extend_from_slice(&connection.allowed_uids);
    config.allow_any_user |= connection.allow_any_user;
    let token = if auth.token.is_empty() { &auth.api_key } else { &auth.token };
    config.token = token.clone();
    Ok(config)
}

#[cfg(feature = "grpc")]
fn grpc(plugin: &PluginConfig, sections: &Sections) -> Result<GrpcConfig, Error> {
    let Sections { connection, health_check, .. } = sections;
    let config = GrpcConfig::default()
        .with_request_timeout(connection.request_timeout)
        .with_connect_timeout(connection.connect_timeout)
        .with_idle_timeout(connection.idle_timeout)
        .with_max_connection_age(connection.max_connection_age)
        .with_health_service(health_check.endpoint.clone().unwrap_or_default());
    #[cfg(feature = "tls")]
    let config = config.with_tls(sections.auth.tls(connection.tls.clone()));
    with_options(plugin, "grpc", config)
}

/// Names of options that Go has, and of which only some mean something here.
#[cfg(all(feature = "process", unix))]
const ENVIRONMENT: [&str; 2] = ["env", "environment"];

#[cfg(all(feature = "process", unix))]
fn process(plugin: &PluginConfig, sections: &Sections) -> Result<ProcessConfig, Error> {
    use std::collections::BTreeMap;

    let mistake = |name: &str, error: serde_json::Error| {
        Error::not_sent(Kind::InvalidConfig).message(format!("options.{name}: {error}"))
    };
    // Those of Go have other meanings than those of the same name here.
    let mut ours = plugin.clone();
    ours.options.retain(|name, _| name != "args" && !ENVIRONMENT.contains(&name.as_str()));
    let mut config = with_options(&ours, "exec", ProcessConfig::default())?
        .with_request_timeout(sections.connection.request_timeout)
        .with_args(plugin.args.iter())
        .with_work_dir(plugin.work_dir.as_str());
    config.env.extend(plugin.env.clone());
    // Of Go: `env_NAME`.
    for (name, value) in &plugin.annotations {
        if let Some(name) = name.strip_prefix("env_") {
            config = config.with_env(name, value.as_str());
        } else if name == "args" && config.args.is_empty() {
            config = config.with_args(value.split_whitespace());
        }
    }
    let mut handshake = Handshake::default();
    handshake.plugin_name.clone_from(&plugin.name);
    if !plugin.version.is_empty() {
        handshake.plugin_version.clone_from(&plugin.version);
    }
    for (name, value) in &plugin.options {
        let value = value.clone();
        match name.as_str() {
            "args" => {
                let args: Vec<String> =
                    serde_json::from_value(value).map_err(|error| mistake(name, error))?;
                config = config.with_args(args);
            }
            "stream_sync_config" => {
                config.output =
                    serde_json::from_value(value).map_err(|error| mistake(name, error))?;
            }
            "env" | "environment" => {
                let env: BTreeMap<String, String> =
                    serde_json::from_value(value).map_err(|error| mistake(name, error))?;
                for (name, value) in env {
                    config = config.with_env(name, value);
                }
            }
            "handshake_config" => {
                let members: BTreeMap<String, serde_json::Value> =
                    serde_json::from_value(value).map_err(|error| mistake(name, error))?;
                for (member, value) in members {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    match member.to_ascii_lowercase().replace('_', "").as_str() {
                        "protocolversion" => {
                            handshake.protocol_version = text.parse().unwrap_or(1);
                        }
                        "magiccookiekey" => handshake.magic_cookie_key = text,
                        "magiccookievalue" => handshake.magic_cookie_value = text,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(config.with_handshake(handshake))
}

/// Why there is no transport of that name.
#[cold]
pub(super) fn unknown(transport: &str, known: &[String]) -> Error {
    let names: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    let text = match missing_feature(transport) {
        Some(feature) => {
            format!("transport `{transport}` takes the Cargo feature `{feature}`; there are ")
        }
        None => format!("no factory for the transport `{transport}`; there are "),
    };
    Error::not_sent(Kind::InvalidConfig)
        .coded(Some(Code::PLUGIN_1008))
        .message(text + &names.join(", "))
}

impl<Req, Res> Connect for BuiltIn<Req, Res> {
    type Service = BuiltInService<Req, Res>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        self.transports.connect(member)
    }

    fn is_known_client(&self) -> bool {
        self.transports.is_known_client()
    }
}

impl<Req, Res> Clone for BuiltIn<Req, Res> {
    fn clone(&self) -> Self {
        Self { transports: self.transports.clone() }
    }
}

impl<Req, Res> fmt::Debug for BuiltIn<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BuiltIn(")?;
        f.debug_list().entries(names()).finish()?;
        f.write_str(")")
    }
}
