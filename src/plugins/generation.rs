use std::sync::{
    Arc, LazyLock, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use super::{
    body::{Request, Response},
    calls::{Counted, in_flight},
    connector::{AnyConnector, AnyConnectorService},
    endpoints::AnyDiscover,
    idle::Idle,
    layers::{Layers, Stack},
    settings::without_effect,
    strategy::Sessions,
};
use crate::{
    config::{BreakerScope, PluginConfig, Sections, rules::schemes},
    error::{Code, Error, Kind},
    health::PluginCheck,
    sync::{WaitList, shards},
};

/// The stack of a plugin.
pub type PluginStack<Req, Res> = Stack<Req, Res, AnyConnectorService<Req, Res>>;

/// What a plugin is between two reloads. Calls are those that are in flight, and handles that are ready for one.
pub(super) type Held<Req, Res> = Counted<Generation<Req, Res>>;

/// Where generations stand, one after the other.
pub(super) trait Stands<Req, Res>: Send + Sync {
    fn current(&self) -> Held<Req, Res>;
}

/// A plugin as its config has made it.
pub(super) struct Generation<Req, Res> {
    pub(super) plugin: Arc<PluginConfig>,
    /// For the sections that the plugin leaves out.
    pub(super) defaults: Arc<Sections>,
    /// What calls go to; or why there is nothing.
    pub(super) stack: Result<Made<Req, Res>, Error>,
    /// Handles that wait for it. If another one takes its place, they go on there.
    pub(super) waiting: WaitList,
    /// Clones of the stack, for calls by name.
    pub(super) idle: Idle<PluginStack<Req, Res>>,
    /// Where another one has taken its place, for the calls that go on there.
    at: OnceLock<Arc<dyn Stands<Req, Res>>>,
    /// Another one has taken its place.
    is_replaced: AtomicBool,
    is_retired: AtomicBool,
}

/// A stack, and what it was made of.
pub(super) struct Made<Req, Res> {
    pub(super) layers: Layers<Req, Res>,
    pub(super) service: PluginStack<Req, Res>,
    pub(super) scope: BreakerScope,
    /// What the next generation goes on with.
    pub(super) sessions: Sessions,
    /// Whether its transport is one of this crate.
    pub(super) is_built_in: bool,
    /// Whether its messages are Protocol Buffers.
    #[cfg(feature = "grpc")]
    pub(super) is_native: bool,
    endpoints: AnyDiscover,
}

impl<Req: Request, Res: Response> Made<Req, Res> {
    pub(super) fn new(
        name: &Arc<str>,
        sections: &Sections,
        endpoints: AnyDiscover,
        connector: AnyConnector<Req, Res>,
        fallback: super::answer::Answer<Req, Res>,
        sessions: Sessions,
    ) -> Result<Self, Error> {
        use tower_layer::Layer;

        let (check, has_health) = (PluginCheck::new(connector.clone()), connector.has_health());
        let (name, discover) = (Some(name), endpoints.clone());
        let layers = Layers::of(sections, name, discover, fallback, &sessions, check, has_health)?;
        let (scope, is_built_in) = (sections.circuit_breaker.scope, connector.is_built_in());
        #[cfg(feature = "grpc")]
        let is_native = connector.is_native();
        let service = layers.layer(connector);
        Ok(Self {
            layers,
            service,
            scope,
            sessions,
            is_built_in,
            #[cfg(feature = "grpc")]
            is_native,
            endpoints,
        })
    }
}

impl<Req, Res> Generation<Req, Res> {
    pub(super) fn new(
        plugin: Arc<PluginConfig>,
        defaults: Arc<Sections>,
        stack: Result<Made<Req, Res>, Error>,
    ) -> Held<Req, Res> {
        let (waiting, idle, at) = Default::default();
        let (is_replaced, is_retired) = Default::default();
        let all = Self { plugin, defaults, stack, waiting, idle, at, is_replaced, is_retired };
        Counted::new(all, shards())
    }

    /// In place of a plugin that is there no more, or not yet.
    pub(super) fn gone(name: &str) -> Held<Req, Res> {
        /// Nothing is taken from them, so they are made once.
        static DEFAULTS: LazyLock<Arc<Sections>> = LazyLock::new(Arc::default);

        Self::new(Arc::new(PluginConfig::new(name, "")), DEFAULTS.clone(), Err(gone(name)))
    }

    /// In place of this one, once the program is done with its plugins. What its config says stays.
    pub(super) fn shut_down(&self) -> Held<Req, Res> {
        Self::new(self.plugin.clone(), self.defaults.clone(), Err(shut_down()))
    }

    /// What stands in its place since it was replaced.
    pub(super) fn next(&self) -> Option<Held<Req, Res>> {
        Some(self.at.get()?.current())
    }

    /// Whether it stands for a plugin, be it one that is not enabled or shut down.
    pub(super) fn is_there(&self) -> bool {
        !matches!(&self.stack, Err(error) if error.code() == Code::PLUGIN_1201)
    }

    /// Whether a plugin of this config is the same.
    pub(super) fn is_of(&self, plugin: &PluginConfig, defaults: &Arc<Sections>) -> bool {
        let are_same = || self.plugin.sections(&self.defaults) == plugin.sections(defaults);
        *self.plugin == *plugin && (Arc::ptr_eq(&self.defaults, defaults) || are_same())
    }

    /// Which plugin answers for it after a failure.
    pub(super) fn fallback(&self) -> Option<String> {
        let of = self.plugin.fallback.as_ref().unwrap_or(&self.defaults.fallback);
        of.plugin().map(str::to_owned)
    }

    /// Whether calls may run a program by the settings of this crate, which say what is allowed.
    pub(super) fn may_run_programs(&self) -> bool {
        self.made().is_none_or(|made| made.is_built_in)
            && schemes::may_lead_to_programs(&self.plugin)
    }

    /// Logs the options that have no effect. A file says it of itself.
    pub(super) fn tell_without_effect(&self) {
        let is_built_in = self.made().is_some_and(|made| made.is_built_in);
        if let Some(text) = is_built_in.then(|| without_effect(&self.plugin)).flatten() {
            tracing::warn!(plugin = %self.plugin.name, "{text}");
        }
    }

    pub(super) fn made(&self) -> Option<&Made<Req, Res>> {
        self.stack.as_ref().ok()
    }

    #[inline]
    pub(super) fn is_replaced(&self) -> bool {
        // Acquire: the number of what took its place is there. A call that misses it is followed by another look.
        self.is_replaced.load(Ordering::Acquire)
    }

    /// Another one stands there. It keeps its place from then on, which does not keep it any more.
    pub(super) fn replaced_at(&self, at: Arc<dyn Stands<Req, Res>>) {
        let _ = self.at.set(at);
        self.set_replaced();
    }

    fn set_replaced(&self) {
        // SeqCst: a call that misses it is seen by the count that follows, and a handle that misses it is woken.
        self.is_replaced.store(true, Ordering::SeqCst);
    }

    /// Whether it has ended.
    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }
}

/// Another generation has taken its place: it ends with its last call.
pub(super) fn replace<Req, Res>(held: &Held<Req, Res>) {
    held.core().set_replaced();
    held.core().waiting.wake_all();
    retire_if_done(held);
}

/// Ends the checks and connections of a generation that was replaced and has no call left. A handle that is
/// not used may keep what is left of it for long.
#[cold]
pub(super) fn retire_if_done<Req, Res>(held: &Held<Req, Res>) {
    let of = held.core();
    if !of.is_replaced() || in_flight(held) > 0 {
        return;
    }
    if !of.is_retired.swap(true, Ordering::AcqRel) {
        if let Ok(made) = &of.stack {
            made.endpoints.retire();
            let health = made.layers.health.handle();
            // It cannot be wrong: it is what it was.
            let _ = health.update(&health.config().with_enabled(false));
        }
    }
}

#[cold]
pub(super) fn gone(name: &str) -> Error {
    refusal(Code::PLUGIN_1201, format!("there is no plugin `{name}` any more"))
}

#[cold]
pub(super) fn shut_down() -> Error {
    refusal(Code::REGISTRY_1901, "the plugins are shut down".to_owned())
}

#[cold]
pub(super) fn refusal(code: Code, text: String) -> Error {
    Error::refused(Kind::Unavailable).coded(Some(code)).message(text)
}
