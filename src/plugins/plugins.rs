use std::{fmt, path::Path, sync::Arc};

use tower_service::Service;

use super::{
    body::{Request, Response},
    by_name::CallFuture,
    connector::AnyConnector,
    endpoints::AnyDiscover,
    factory::Factory,
    generation::{refusal, shut_down},
    group::Group,
    passage::InFlight,
    places::NOWHERE,
    program::Program,
    upstream::Upstream,
};
use crate::{
    config::{Config, PluginConfig, ReadOptions, nearest::did_you_mean},
    connect::connect_fn,
    discover::Discover,
    endpoint::Endpoint,
    error::{BoxError, Code, Error, Kind, Quoted},
    plugin::{Call, Reply},
    sync::lock,
};

/// The plugins of a program, by their names.
///
/// Clones are handles to the same plugins. `Req` and `Res` are the bodies of calls and replies; with
/// [`Encoded`](crate::plugin::Encoded) for both, plugins of different types stand beside each other, see [`typed`](Self::typed).
/// `Req` must be `Serialize + Clone`, and `Res` must be `Serialize + DeserializeOwned + Clone`: a `cached` fallback
/// counts its bytes and gives it again. [`Request`](super::Request) and [`Response`](super::Response) have all bounds.
///
/// Making plugins connects to nothing and starts no process: that comes with the first call.
///
/// # Example
/// ```
/// use tower_upstream::{config::{Config, PluginConfig}, plugins::Plugins};
///
/// let config = Config::default()
///     .with_plugin(PluginConfig::new("tax", "https").with_endpoint("https://tax.example"))
///     .with_plugin(PluginConfig::new("vat", "http").with_endpoints(["http://a:80", "http://b:80"]));
/// # #[cfg(feature = "tls")] {
/// let plugins = Plugins::<u64, u64>::from_config(config)?;
/// assert_eq!(plugins.names().join(" "), "tax vat");
/// assert!(plugins.get("tax").is_some());
/// # }
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub struct Plugins<Req, Res> {
    pub(super) program: Arc<Program<Req, Res>>,
}

impl<Req: Request, Res: Response> Plugins<Req, Res> {
    /// Begins without plugins.
    pub fn new() -> Self {
        Self { program: Arc::new(Program::new()) }
    }

    /// Makes the plugins of `config`.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn from_config(config: Config) -> Result<Self, Error> {
        let plugins = Self::new();
        plugins.apply(config)?;
        Ok(plugins)
    }

    /// Makes the plugins of a file: JSON, TOML, or with the feature `yaml` YAML, by its extension.
    ///
    /// For plugins of own factories, begin with [`new`](Self::new), register those, and
    /// [`apply_file`](Self::apply_file).
    ///
    /// # Errors
    /// Those of [`apply_file`](Self::apply_file).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let plugins = Self::new();
        plugins.apply_file(path)?;
        Ok(plugins)
    }

    /// Reads a file, and [applies](Self::apply) it. A `fallback` of the file may name a plugin that was registered in
    /// code. If the file says what has no effect, one warning is logged, with the first of it.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) with everything that is wrong with the file; a
    /// [`ConfigError`](crate::config::ConfigError) is its source. Otherwise those of [`apply`](Self::apply).
    ///
    /// ```
    /// use tower_upstream::{error::Code, plugins::Plugins};
    /// let error = Plugins::<u64, u64>::from_file("/etc/plugins/none.json").unwrap_err();
    /// assert_eq!(error.code(), Code::CONFIG_1701);
    /// ```
    pub fn apply_file(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let options = ReadOptions::default()
            .with_transports(lock(&self.program.factories).own())
            .with_plugins(self.program.own_names()?);
        let config = Config::from_file_with(path, &options).map_err(|error| {
            let code = Some(error.code());
            let text = error.to_string();
            Error::not_sent(Kind::InvalidConfig).coded(code).message(text).caused_by(error)
        })?;
        self.apply(config)
    }

    /// Replaces the plugins of the config before with those of `config`, as a whole.
    ///
    /// A plugin whose config has not changed stays as it is, with all that its layers have learned. Others are
    /// made anew; those that were registered in code stay. All are made before the first is replaced. Calls
    /// that are in flight end where they began, and handles stay valid. If `security` has changed, all plugins that
    /// may run a program are made anew, also those of [`register_config`](Self::register_config).
    ///
    /// Inside a runtime, one that has to find its endpoints takes its place [once it has](crate::plugins#replacing-plugins),
    /// or 15 s later, if what stands there has some. Until then [`config`](Self::config), [`layers`](Self::layers) and the
    /// like are about what stands there.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names every plugin that cannot be made, with the code of the first mistake:
    /// `PLUGIN_1008` for a transport that there is not, `REGISTRY_1907` if its factory failed or panicked,
    /// `REGISTRY_1901` for a name that was registered in code, or after a [`shutdown`](Self::shutdown). Then
    /// nothing has changed.
    ///
    /// ```
    /// use tower_upstream::{config::{Config, PluginConfig}, plugins::Plugins};
    /// let plugins = Plugins::<u64, u64>::new();
    /// let tax = PluginConfig::new("tax", "http").with_endpoint("http://a:80");
    /// plugins.apply(Config::default().with_plugin(tax))?;
    /// let handle = plugins.get("tax");
    /// plugins.apply(Config::default())?;
    /// assert!(handle.is_some() && plugins.get("tax").is_none());
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn apply(&self, config: Config) -> Result<(), Error> {
        self.program.apply(config)
    }

    /// Returns the plugin of that name, as a service.
    #[inline]
    pub fn get(&self, name: &str) -> Option<Upstream<Req, Res>> {
        self.program.names.get(name).map(Upstream::new)
    }

    /// Calls the plugin of that name.
    ///
    /// # Errors
    /// `PLUGIN_1201`, with the nearest name, if there is no such plugin; otherwise those of [`Upstream`].
    #[inline]
    pub fn call(&self, name: &str, call: Call<Req>) -> CallFuture<Req, Res> {
        CallFuture::new(self.find(name), call)
    }

    /// Begins a call of that name.
    #[inline]
    pub(super) fn find(&self, name: &str) -> Result<InFlight<Req, Res>, Error> {
        self.program.names.find(name).ok_or_else(|| self.unknown(name))
    }

    /// Returns the plugins of one `type`, as one service that balances over them. Each has a set of its own: keep it,
    /// and clone it for calls.
    ///
    /// ```
    /// use tower_upstream::{Call, error::Code, plugins::Plugins};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use tower::ServiceExt;
    /// let payment = Plugins::<u64, u64>::new().group("payment");
    /// let error = payment.oneshot(Call::new(1)).await.unwrap_err();
    /// assert_eq!(error.code(), Code::LOADBALANCER_1701);
    /// # }
    /// ```
    pub fn group(&self, kind: impl Into<Arc<str>>) -> Group<Req, Res> {
        Group::new(self.program.clone(), kind.into())
    }

    /// Registers a service under a name: a plugin of this process, with the default sections.
    ///
    /// # Errors
    /// `REGISTRY_1901` if there is a plugin of that name, or after a shutdown; `PLUGIN_1001` for a name that no
    /// plugin may have.
    pub fn register<S>(&self, name: impl Into<String>, service: S) -> Result<(), Error>
    where
        S: Service<Call<Req>, Response = Reply<Res>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError> + 'static,
        S::Future: Send + 'static,
    {
        let connector = AnyConnector::new(connect_fn(move |_: &Endpoint| service.clone()));
        let mut plugin = PluginConfig::new(name, "in-process").with_endpoint(NOWHERE);
        // Its key is its name.
        plugin.endpoints = vec![crate::config::EndpointConfig::new(NOWHERE).with_id(&*plugin.name)];
        self.register_with(plugin, connector)
    }

    /// Registers a plugin whose endpoints `connector` connects to.
    ///
    /// # Errors
    /// Those of [`register`](Self::register), and [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) for a config that cannot be used.
    ///
    /// ```
    /// use tower_upstream::{
    ///     config::PluginConfig, plugins::{AnyConnector, Plugins}, transport::HttpTransport,
    /// };
    /// let plugins = Plugins::<u64, u64>::new();
    /// let tax = PluginConfig::new("tax", "mine").with_endpoints(["http://a:80", "http://b:80"]);
    /// plugins.register_with(tax, AnyConnector::with_health(HttpTransport::new()))?;
    /// assert_eq!(plugins.names().join(" "), "tax");
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn register_with(
        &self,
        plugin: PluginConfig,
        connector: AnyConnector<Req, Res>,
    ) -> Result<(), Error> {
        self.program.register(plugin, Some(Box::new(|_, _| Ok(connector))))
    }

    /// Registers a plugin by its config, as one of a file is made.
    ///
    /// It may run the programs that `security` of the last applied config allows.
    ///
    /// # Errors
    /// Those of [`register_with`](Self::register_with), and of its factory: `REGISTRY_1904` for a `type` without
    /// one and without a `transport`.
    pub fn register_config(&self, plugin: PluginConfig) -> Result<(), Error> {
        self.program.register(plugin, None)
    }

    /// Takes a plugin out. Calls that are in flight end where they began.
    ///
    /// # Errors
    /// `PLUGIN_1201`, with the nearest name, if there is no such plugin; `REGISTRY_1901` if a factory calls this.
    pub fn unregister(&self, name: &str) -> Result<(), Error> {
        if self.program.unregister(name)? { Ok(()) } else { Err(self.unknown(name)) }
    }

    /// Registers a factory for a `type` or a `transport` of this name, and for those that it serves.
    ///
    /// # Errors
    /// `REGISTRY_1904`, with the names that there are, if one of them has a factory.
    pub fn register_factory(
        &self,
        name: &str,
        factory: impl Factory<Req, Res>,
    ) -> Result<(), Error> {
        // Asked before anything is locked, and dropped after it: it is code of others.
        let names = [name.to_owned()].into_iter().chain(factory.transports()).collect();
        let factory = Arc::new(factory);
        let of_it = factory.clone();
        let registered = Arc::make_mut(&mut *lock(&self.program.factories)).register(names, of_it);
        drop(factory);
        registered
    }

    /// Registers a source of endpoints, for `discover: {memory: {}, service: name}`. One that is registered
    /// again replaces it for plugins that are made from then on.
    ///
    /// ```
    /// use tower_upstream::{
    ///     config::{Config, DiscoverConfig, PluginConfig}, discover::Memory, plugins::Plugins,
    /// };
    /// let endpoints = Memory::new(["http://a:80"])?;
    /// let plugins = Plugins::<u64, u64>::new();
    /// plugins.register_source("tax", endpoints.clone());
    /// let discover = DiscoverConfig::new("memory", Default::default());
    /// let tax = PluginConfig::new("tax", "http").with_discover(discover);
    /// plugins.apply(Config::default().with_plugin(tax))?;
    /// endpoints.insert("http://b:80")?;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn register_source(&self, name: impl Into<String>, source: impl Discover) {
        let (name, source) = (name.into(), AnyDiscover::new(source));
        let before = lock(&self.program.sources).insert(name, source);
        drop(before);
    }

    #[cold]
    pub(super) fn unknown(&self, name: &str) -> Error {
        if self.is_shutdown() {
            return shut_down();
        }
        if name.is_empty() {
            return refusal(Code::PLUGIN_1201, "the call names no plugin".to_owned());
        }
        let names = self.names();
        let hint = did_you_mean(name, &names).map(|hint| format!("; {hint}")).unwrap_or_default();
        let shown = Quoted(name);
        refusal(Code::PLUGIN_1201, format!("there is no plugin `{shown}`{hint}"))
    }

    /// Refuses all calls from now on, at once. Calls that are in flight end, which this does not wait for: in a server,
    /// call it after the graceful shutdown of the server has returned, since its requests have ended by then.
    pub fn shutdown(&self) {
        self.program.shut_down();
    }
}

impl<Req: Request, Res: Response> Default for Plugins<Req, Res> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req, Res> Clone for Plugins<Req, Res> {
    fn clone(&self) -> Self {
        Self { program: self.program.clone() }
    }
}

impl<Req: Request, Res: Response> fmt::Debug for Plugins<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugins").field("names", &self.names()).finish_non_exhaustive()
    }
}
