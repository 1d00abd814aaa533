//! What the plugins of one program have in common, and how one is made of its config.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    answer::Answer,
    body::{Request, Response},
    built_in::Settings,
    checks::{all_of, check, check_name, check_version, of_plugin},
    connector::AnyConnector,
    endpoints::AnyDiscover,
    factory::Factories,
    generation::{Generation, Held, Made, refusal, retire_if_done},
    names::{Names, Place},
    places,
    strategy::Sessions,
    upstream::Upstream,
};
use crate::{
    boxed::BoxUpstream,
    config::{Config, PluginConfig, Sections},
    error::{Code, Error, Kind},
    plugin::{Call, Reply},
    sync::lock,
};

pub(super) struct Program<Req, Res> {
    pub(super) names: Names<Req, Res>,
    pub(super) factories: Mutex<Factories<Req, Res>>,
    pub(super) sources: Mutex<BTreeMap<String, AnyDiscover>>,
    /// Changes come one after the other.
    changing: Mutex<Written<Req, Res>>,
    is_shut_down: AtomicBool,
    is_sweeping: AtomicBool,
}

/// Between two looks at what is leaving.
const PAUSE: Duration = Duration::from_secs(1);

/// One task at a time looks at what is leaving.
struct Sweeping<Req, Res>(Weak<Program<Req, Res>>);

impl<Req, Res> Drop for Sweeping<Req, Res> {
    fn drop(&mut self) {
        if let Some(program) = self.0.upgrade() {
            program.is_sweeping.store(false, Ordering::Release);
        }
    }
}

/// What the last config said, and what became of the one before.
struct Written<Req, Res> {
    defaults: Arc<Sections>,
    settings: Settings,
    log_level: String,
    /// Names of the plugins of the config; others were registered in code.
    names: BTreeSet<Arc<str>>,
    /// Generations that were replaced and have calls still.
    leaving: Vec<Held<Req, Res>>,
}

/// Makes the connector of a plugin that was registered in code.
pub(super) type Make<Req, Res> =
    Box<dyn FnOnce(&PluginConfig, &Sections) -> Result<AnyConnector<Req, Res>, Error>>;

/// Another plugin, for a fallback.
type Other<Req, Res> = BoxUpstream<Call<Req>, Reply<Res>>;

impl<Req: Request, Res: Response> Program<Req, Res> {
    pub(super) fn new() -> Self {
        let written = Written {
            defaults: Arc::default(),
            settings: Settings::default(),
            log_level: String::new(),
            names: BTreeSet::new(),
            leaving: Vec::new(),
        };
        Self {
            names: Names::new(),
            factories: Mutex::default(),
            sources: Mutex::default(),
            changing: Mutex::new(written),
            is_shut_down: AtomicBool::new(false),
            is_sweeping: AtomicBool::new(false),
        }
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.is_shut_down.load(Ordering::Acquire)
    }

    pub(super) fn log_level(&self) -> String {
        lock(&self.changing).log_level.clone()
    }

    /// Puts one plugin into its place, which must be free.
    pub(super) fn register(
        &self,
        plugin: PluginConfig,
        connector: Option<Make<Req, Res>>,
    ) -> Result<(), Error> {
        check_name(&plugin.name)?;
        check_version(&plugin)?;
        let mut written = lock(&self.changing);
        self.check_open()?;
        if self.names.get(&plugin.name).is_some() {
            let text = format!("there is a plugin `{}` already", plugin.name);
            return Err(Error::not_sent(Kind::InvalidConfig)
                .coded(Some(Code::REGISTRY_1901))
                .message(text));
        }
        let place = self.names.place(&plugin.name);
        let find = |name: &str| self.names.get(name);
        let (plugin, defaults) = (Arc::new(plugin), written.defaults.clone());
        let made = self.make(&plugin, &defaults, &written.settings, connector, &find)?;
        written.leaving.push(place.core().put(Generation::new(plugin, defaults, made)));
        self.names.publish(vec![place], &[]);
        written.sweep();
        Ok(())
    }

    /// Takes a plugin out. `false`: there is none of that name.
    pub(super) fn unregister(&self, name: &str) -> bool {
        let mut written = lock(&self.changing);
        let Some(place) = self.names.get(name) else { return false };
        let slot = place.core();
        written.names.remove(&slot.name);
        self.names.publish(vec![], std::slice::from_ref(&slot.name));
        written.leaving.push(slot.put(Generation::gone(name)));
        written.sweep();
        true
    }

    /// Replaces the plugins of the config before with those of `config`. All are made before the first is
    /// replaced, so that a mistake changes nothing.
    pub(super) fn apply(&self, config: Config) -> Result<(), Error> {
        let mut written = lock(&self.changing);
        self.check_open()?;
        let Config { defaults, plugins, log_level, security, .. } = config;
        check(&plugins, &defaults)?;
        let (settings, is_secured_anew) = self.settings(security, &written)?;
        let is_same = *written.defaults == defaults;
        let defaults = if is_same { written.defaults.clone() } else { Arc::new(defaults) };
        let places: BTreeMap<&str, Place<Req, Res>> =
            plugins.iter().map(|plugin| (&*plugin.name, self.names.place(&plugin.name))).collect();
        let find = |name: &str| places.get(name).cloned().or_else(|| self.names.get(name));
        let (mut made, mut mistakes) = (Vec::new(), Vec::new());
        for plugin in &plugins {
            let Some(place) = places.get(&*plugin.name) else { continue };
            let known = self.names.get(&plugin.name).map(|place| place.core().current());
            if known.is_some() && !written.names.contains(&*plugin.name) {
                let text = "a plugin of that name was registered in code";
                let error = Error::not_sent(Kind::InvalidConfig).coded(Some(Code::REGISTRY_1901));
                mistakes.push(of_plugin(&plugin.name, error.message(text)));
                continue;
            }
            let is_same = known.is_some_and(|known| known.core().is_of(plugin, &defaults));
            if is_same && !(is_secured_anew && plugin.transport == "exec") {
                continue;
            }
            let plugin = Arc::new(plugin.clone());
            match self.make(&plugin, &defaults, &settings, None, &find) {
                Ok(stack) => {
                    let next = Generation::new(plugin, defaults.clone(), stack);
                    made.push((place.clone(), next));
                }
                Err(error) => mistakes.push(error),
            }
        }
        if let Some(error) = all_of(mistakes) {
            return Err(error);
        }
        let names: BTreeSet<Arc<str>> =
            places.values().map(|place| place.core().name.clone()).collect();
        let removed: Vec<_> = written.names.difference(&names).cloned().collect();
        let left: Vec<_> = removed.iter().filter_map(|name| self.names.get(name)).collect();
        let added = made.iter().map(|(place, _)| place.clone()).collect();
        for (place, next) in made {
            let before = place.core().put(next);
            written.leaving.push(before);
        }
        self.names.publish(added, &removed);
        for place in left {
            let gone = Generation::gone(&place.core().name);
            written.leaving.push(place.core().put(gone));
        }
        (written.defaults, written.settings, written.log_level) = (defaults, settings, log_level);
        written.names = names;
        written.sweep();
        Ok(())
    }

    pub(super) fn shut_down(&self) {
        let mut written = lock(&self.changing);
        if self.is_shut_down.swap(true, Ordering::AcqRel) {
            return;
        }
        for slot in self.names.all() {
            written.leaving.push(slot.put(Generation::shut_down(&slot.name)));
        }
        written.sweep();
        self.names.tell();
    }

    /// How many calls are in flight at generations that were replaced.
    pub(super) fn leaving(&self) -> usize {
        let mut written = lock(&self.changing);
        written.sweep();
        written.leaving.iter().map(Held::taken).sum()
    }

    /// Looks again at what is leaving until there is nothing: two calls that end at once may each take the
    /// other for one that is still there.
    pub(super) fn sweep_later(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if lock(&self.changing).leaving.is_empty() || self.is_sweeping.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let sweeping = Sweeping(Arc::downgrade(self));
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(PAUSE).await;
                let Some(program) = sweeping.0.upgrade() else { return };
                let mut written = lock(&program.changing);
                written.sweep();
                if written.leaving.is_empty() {
                    return;
                }
            }
        });
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_shut_down() {
            return Err(refusal(Code::REGISTRY_1901, "the plugins are shut down".to_owned()));
        }
        Ok(())
    }

    /// Makes the stack of a plugin. Connects to nothing.
    fn make(
        &self,
        plugin: &Arc<PluginConfig>,
        defaults: &Arc<Sections>,
        settings: &Settings,
        connector: Option<Make<Req, Res>>,
        find: &dyn Fn(&str) -> Option<Place<Req, Res>>,
    ) -> Result<Result<Made<Req, Res>, Error>, Error> {
        let name = &plugin.name;
        if !plugin.enabled {
            let text = format!("plugin `{name}` is not enabled (`enabled: false`)");
            return Ok(Err(refusal(Code::PLUGIN_1202, text)));
        }
        let made = || {
            let sections = plugin.sections(defaults);
            sections.validate()?;
            let connector = match connector {
                Some(make) => make(plugin, &sections)?,
                None => lock(&self.factories).connector(plugin, defaults, settings)?,
            };
            let endpoints = places::of(plugin, connector.is_built_in(), &lock(&self.sources))?;
            let other: Option<Other<Req, Res>> =
                sections.fallback.plugin().and_then(find).map(Upstream::new).map(BoxUpstream::new);
            let fallback = Answer::of(&sections.fallback, other)?;
            let before = self.names.get(name).map(|place| place.core().current());
            let before = before.as_ref().and_then(|before| before.core().made());
            let sessions = Sessions::of(&sections.balance, before.map(|before| &before.sessions));
            Made::new(name, &sections, endpoints, connector, fallback, sessions)
        };
        made().map(Ok).map_err(|error| of_plugin(name, error))
    }

    /// What the transports go by, and whether that has changed.
    #[cfg(all(feature = "process", unix))]
    fn settings(
        &self,
        security: Option<crate::config::SecurityConfig>,
        written: &Written<Req, Res>,
    ) -> Result<(Settings, bool), Error> {
        use crate::allow::AllowList;

        let allow = security.filter(|security| security.is_on()).map(|security| security.allow);
        let before = written.settings.allowed.as_ref();
        match (allow, before) {
            (None, before) => Ok((Settings::default(), before.is_some())),
            (Some(allow), Some(list)) if list.config() == allow => {
                Ok((written.settings.clone(), false))
            }
            (Some(allow), _) => {
                Ok((Settings { allowed: Some(AllowList::from_file(allow)?) }, true))
            }
        }
    }

    #[cfg(not(all(feature = "process", unix)))]
    fn settings(
        &self,
        _: Option<crate::config::SecurityConfig>,
        _: &Written<Req, Res>,
    ) -> Result<(Settings, bool), Error> {
        Ok((Settings::default(), false))
    }
}

impl<Req, Res> Written<Req, Res> {
    /// Lets go of generations whose last call has ended.
    fn sweep(&mut self) {
        self.leaving.retain(|held| !retire_if_done(held));
    }
}
