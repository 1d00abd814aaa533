use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use super::settings;
#[cfg(feature = "grpc")]
use crate::transport::GrpcTransport;
#[cfg(all(feature = "process", unix))]
use crate::{allow::AllowList, transport::ProcessTransport};
use crate::{
    config::{PluginConfig, Sections, SecurityConfig, rules::schemes},
    connect::Connect,
    error::{Code, Error, Kind},
    member::Member,
    transport::{ByScheme, BySchemeService, HttpTransport, On, Or, Routes, SocketTransport},
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
    of: Arc<Of<Req, Res>>,
}

type Transports<Req, Res> = Arc<ByScheme<All<Req, Res>>>;

/// What the transports are made of, when the first endpoint is connected to: until then they take no memory.
struct Of<Req, Res> {
    plugin: Arc<PluginConfig>,
    defaults: Arc<Sections>,
    settings: Settings,
    transports: OnceLock<Result<Transports<Req, Res>, Error>>,
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

impl Settings {
    /// Those of another config, and whether they are others.
    #[cfg(all(feature = "process", unix))]
    pub(super) fn next(&self, security: Option<SecurityConfig>) -> Result<(Self, bool), Error> {
        let allow = security.filter(|security| security.is_on()).map(|security| security.allow);
        match (allow, &self.allowed) {
            (None, before) => Ok((Self::default(), before.is_some())),
            (Some(allow), Some(list)) if list.config() == allow => Ok((self.clone(), false)),
            (Some(allow), _) => Ok((Self { allowed: Some(AllowList::from_file(allow)?) }, true)),
        }
    }

    #[cfg(not(all(feature = "process", unix)))]
    pub(super) fn next(&self, _: Option<SecurityConfig>) -> Result<(Self, bool), Error> {
        Ok((Self::default(), false))
    }
}

impl<Req, Res> BuiltIn<Req, Res> {
    pub(super) fn new(
        plugin: &Arc<PluginConfig>,
        defaults: &Arc<Sections>,
        sections: &Sections,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let (plugin, defaults, settings) = (plugin.clone(), defaults.clone(), settings.clone());
        let of = Of { plugin, defaults, settings, transports: OnceLock::new() };
        // A mistake is told now.
        of.make_by(sections)?;
        Ok(Self { of: Arc::new(of) })
    }
}

impl<Req, Res> Of<Req, Res> {
    fn make(&self) -> Result<ByScheme<All<Req, Res>>, Error> {
        self.make_by(&self.plugin.sections(&self.defaults))
    }

    /// By the sections of the plugin.
    fn make_by(&self, sections: &Sections) -> Result<ByScheme<All<Req, Res>>, Error> {
        let plugin = &*self.plugin;
        let credentials = sections.auth.credentials()?;
        let transports = ByScheme::new(
            schemes::HTTP,
            HttpTransport::with_config(settings::http(sections))
                .with_credentials(credentials.clone()),
        )
        .or(schemes::SOCKETS, SocketTransport::with_config(settings::socket(plugin, sections)?));
        #[cfg(feature = "grpc")]
        let transports = transports.or(
            schemes::GRPC,
            GrpcTransport::with_config(settings::grpc(plugin, sections)?)
                .with_credentials(credentials),
        );
        #[cfg(all(feature = "process", unix))]
        let transports = {
            let process = ProcessTransport::with_config(settings::process(plugin, sections)?);
            let process = match &self.settings.allowed {
                Some(list) => process.with_allow_list(list.clone()),
                None => process,
            };
            transports.or(schemes::PROGRAMS, process)
        };
        let _ = &self.settings;
        Ok(transports)
    }
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
        match self.of.transports.get_or_init(|| self.of.make().map(Arc::new)) {
            Ok(transports) => transports.connect(member),
            Err(error) => BuiltInService::refusing(error.clone()),
        }
    }
}

impl<Req, Res> Clone for BuiltIn<Req, Res> {
    fn clone(&self) -> Self {
        Self { of: self.of.clone() }
    }
}

impl<Req, Res> fmt::Debug for BuiltIn<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BuiltIn(")?;
        f.debug_list().entries(names()).finish()?;
        f.write_str(")")
    }
}
