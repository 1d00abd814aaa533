use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{
    body::{Request, Response},
    built_in::{self, BuiltIn},
    connector::AnyConnector,
};
use crate::{
    config::{PluginConfig, Sections, nearest::did_you_mean},
    error::{BoxError, Code, Error, Kind},
};

/// Makes the connector of a plugin, by its config.
///
/// It is looked up by the `type` of a plugin, and then by its `transport`. Of a transport of its own, the text of
/// an endpoint is its [`key`](crate::Endpoint::key): what is no URL or `host:port`, such as `tax.wasm`, has the
/// [`address`](crate::Endpoint::address) `in-process:1`, which means nothing. A closure
/// `Fn(&PluginConfig) -> Result<AnyConnector<_, _>, BoxError>` is a factory.
///
/// It may look at the [`Plugins`](super::Plugins) that it makes one for, and shut them down. All other changes of them are
/// `REGISTRY_1901` as long as it runs, since changes come one after the other. Those of other threads wait until it
/// returns, so it must not wait for one.
///
/// # Example
/// ```
/// use tower::service_fn;
/// use tower_upstream::{
///     BoxError, Call, Endpoint, Reply, config::{Config, PluginConfig}, connect_fn,
///     plugins::{AnyConnector, Plugins},
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let plugins = Plugins::<u64, u64>::new();
/// plugins.register_factory("wasm", |plugin: &PluginConfig| {
///     let add: u64 = plugin.options["add"].as_u64().ok_or("`add` must be a number")?;
///     Ok(AnyConnector::new(connect_fn(move |_: &Endpoint| {
///         service_fn(move |call: Call<u64>| async move {
///             Ok::<_, BoxError>(Reply::new(call.into_body() + add))
///         })
///     })))
/// })?;
/// let tax = PluginConfig::new("tax", "wasm").with_endpoint("tax.wasm").with_option("add", 2);
/// plugins.apply(Config::default().with_plugin(tax))?;
/// assert_eq!(plugins.call("tax", Call::new(1)).await?.into_body(), 3);
/// # Ok(()) }
/// ```
pub trait Factory<Req, Res>: Send + Sync + 'static {
    /// Returns the transports that it serves, beside the name under which it is registered. Default: none.
    fn transports(&self) -> Vec<String> {
        Vec::new()
    }

    /// Checks the config of a plugin, before it is made. Default: every config is fine.
    ///
    /// # Errors
    /// What is wrong with it, such as an [`Error::invalid_config`].
    fn validate(&self, plugin: &PluginConfig) -> Result<(), Error> {
        let _ = plugin;
        Ok(())
    }

    /// Makes the connector. All sections of `plugin` are there. Must connect to nothing.
    ///
    /// # Errors
    /// Becomes the source of an [`Error`] with the code `REGISTRY_1907`; so does a panic.
    fn create(&self, plugin: &PluginConfig) -> Result<AnyConnector<Req, Res>, BoxError>;
}

impl<F, Req, Res> Factory<Req, Res> for F
where
    F: Fn(&PluginConfig) -> Result<AnyConnector<Req, Res>, BoxError> + Send + Sync + 'static,
{
    fn create(&self, plugin: &PluginConfig) -> Result<AnyConnector<Req, Res>, BoxError> {
        self(plugin)
    }
}

/// The factories of one program, by the names that they go by.
pub(super) struct Factories<Req, Res> {
    by_name: BTreeMap<String, Arc<dyn Factory<Req, Res>>>,
}

impl<Req: Request, Res: Response> Factories<Req, Res> {
    pub(super) fn register(
        &mut self,
        names: Vec<String>,
        factory: Arc<dyn Factory<Req, Res>>,
    ) -> Result<(), Error> {
        let known = self.names();
        if let Some(twice) = names.iter().find(|name| known.contains(name)) {
            let text = format!("there is a factory `{twice}` already");
            return Err(of_factory(text, "", &known));
        }
        self.by_name.extend(names.into_iter().map(|name| (name, factory.clone())));
        Ok(())
    }

    /// The names that a `type` or a `transport` may have.
    pub(super) fn names(&self) -> Vec<String> {
        let built_in = built_in::names().map(str::to_owned);
        built_in.chain(self.by_name.keys().cloned()).collect()
    }

    /// Those of the program's own factories.
    pub(super) fn own(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    fn of(&self, plugin: &PluginConfig) -> Option<&Arc<dyn Factory<Req, Res>>> {
        self.by_name.get(&plugin.kind).or_else(|| self.by_name.get(&plugin.transport))
    }

    /// Whether a transport of this crate reaches the plugin.
    fn is_built_in(&self, plugin: &PluginConfig) -> bool {
        self.of(plugin).is_none() && built_in::names().any(|name| name == plugin.transport)
    }

    /// Makes the connector of a plugin.
    pub(super) fn connector(
        &self,
        plugin: &Arc<PluginConfig>,
        defaults: &Arc<Sections>,
        sections: &Sections,
        settings: &built_in::Settings,
    ) -> Result<AnyConnector<Req, Res>, Error> {
        let known = self.names();
        let Some(factory) = self.of(plugin) else {
            return match (&*plugin.transport, &*plugin.kind) {
                ("", "") => Err(Error::not_sent(Kind::InvalidConfig)
                    .coded(Some(Code::PLUGIN_1002))
                    .message(format!("no `transport`: there are `{}`", known.join("`, `")))),
                ("", kind) => {
                    Err(of_factory(format!("no factory for the type `{kind}`"), kind, &known))
                }
                (transport, _) if self.is_built_in(plugin) => {
                    let _ = transport;
                    BuiltIn::new(plugin, defaults, sections, settings).map(AnyConnector::built_in)
                }
                (transport, _) => Err(built_in::unknown(transport, &known)),
            };
        };
        let whole = PluginConfig::clone(plugin).with_sections(sections);
        // Code of others, and its panic is no reason to take the program down.
        let made = catch_unwind(AssertUnwindSafe(|| {
            factory.validate(&whole)?;
            factory.create(&whole).map_err(|error| failed(&plugin.name, error))
        }));
        match made {
            Ok(made) => made,
            Err(panic) => {
                let text = format!("the factory panicked: {}", said(&*panic));
                Err(failed(&plugin.name, text.into()))
            }
        }
    }
}

impl<Req, Res> Clone for Factories<Req, Res> {
    fn clone(&self) -> Self {
        Self { by_name: self.by_name.clone() }
    }
}

impl<Req, Res> Default for Factories<Req, Res> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new() }
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

#[cold]
fn of_factory(what: String, wanted: &str, known: &[String]) -> Error {
    let hint = did_you_mean(wanted, known).map(|hint| format!("{hint} ")).unwrap_or_default();
    Error::not_sent(Kind::InvalidConfig)
        .coded(Some(Code::REGISTRY_1904))
        .message(format!("{what}; {hint}there are `{}`", known.join("`, `")))
}

#[cold]
fn failed(plugin: &str, source: BoxError) -> Error {
    Error::not_sent(Kind::InvalidConfig)
        .coded(Some(Code::REGISTRY_1907))
        .message(format!("plugin `{plugin}` could not be made"))
        .caused_by(source)
}

impl<Req, Res> fmt::Debug for Factories<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(built_in::names()).entries(self.by_name.keys()).finish()
    }
}
