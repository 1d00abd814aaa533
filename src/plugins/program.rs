//! What the plugins of one program have in common, and how one is made of its config.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    answer::Answer,
    body::{Request, Response},
    built_in::Settings,
    by_name::ByName,
    changes::Changes,
    checks::{all_of, check, of_plugin},
    connector::AnyConnector,
    endpoints::AnyDiscover,
    factory::Factories,
    generation::{Generation, Held, Made, refusal, shut_down},
    leaving::Leaving,
    names::Names,
    places,
    slot::{Place, Slot},
    strategy::Sessions,
    warming,
};
use crate::{
    boxed::BoxUpstream,
    config::{Config, PluginConfig, Sections, rules::schemes},
    error::{Code, Error, Kind},
    plugin::{Call, Reply},
    sync::lock,
};

pub(super) struct Program<Req, Res> {
    pub(super) names: Names<Req, Res>,
    /// Copied before one is asked: they are code of others.
    pub(super) factories: Mutex<Arc<Factories<Req, Res>>>,
    pub(super) sources: Mutex<BTreeMap<String, AnyDiscover>>,
    pub(super) leaving: Arc<Leaving<Req, Res>>,
    /// What is to take its place with the next change.
    due: Mutex<Coming<Req, Res>>,
    /// Changes come one after the other.
    changes: Changes<Written>,
    log_level: Mutex<String>,
    is_shut_down: AtomicBool,
}

/// What the last config said.
#[derive(Default)]
struct Written {
    defaults: Arc<Sections>,
    settings: Settings,
    /// Names of the plugins of the config; others were registered in code.
    names: BTreeSet<Arc<str>>,
    /// All were told that they are shut down.
    is_closed: bool,
}

/// Makes the connector of a plugin that was registered in code.
pub(super) type Make<Req, Res> =
    Box<dyn FnOnce(&PluginConfig, &Sections) -> Result<AnyConnector<Req, Res>, Error>>;

/// Places, and what is to stand there later.
type Coming<Req, Res> = Vec<(Arc<Slot<Req, Res>>, Held<Req, Res>)>;

/// Another plugin, for a fallback.
type Other<Req, Res> = BoxUpstream<Call<Req>, Reply<Res>>;

impl<Req: Request, Res: Response> Program<Req, Res> {
    pub(super) fn new() -> Self {
        Self {
            names: Names::new(),
            factories: Mutex::default(),
            sources: Mutex::default(),
            leaving: Leaving::new(),
            due: Mutex::default(),
            changes: Changes::default(),
            log_level: Mutex::default(),
            is_shut_down: AtomicBool::new(false),
        }
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.is_shut_down.load(Ordering::Acquire)
    }

    pub(super) fn log_level(&self) -> String {
        lock(&self.log_level).clone()
    }

    /// Puts one plugin into its place, which must be free.
    pub(super) fn register(
        &self,
        plugin: PluginConfig,
        connector: Option<Make<Req, Res>>,
    ) -> Result<(), Error> {
        self.change(|written| {
            self.check_open()?;
            if self.names.get(&plugin.name).is_some() {
                let text = format!("there is a plugin `{}` already", plugin.name);
                return Err(Error::not_sent(Kind::InvalidConfig)
                    .coded(Some(Code::REGISTRY_1901))
                    .message(text));
            }
            let find = |name: &str| self.names.get(name);
            let fallback = |name: &str| find(name).map(|place| place.core().fallback());
            check(std::slice::from_ref(&plugin), &written.defaults, fallback)?;
            let place = self.names.place(&plugin.name);
            let (plugin, defaults) = (Arc::new(plugin), written.defaults.clone());
            let made =
                self.make(&place, &plugin, &defaults, &written.settings, connector, &find)?;
            let next = Generation::new(plugin, defaults, made);
            next.core().tell_without_effect();
            self.leaving.extend([place.core().put(next)]);
            self.names.publish(vec![place], &[]);
            Ok(())
        })
    }

    /// Names of the plugins that were registered in code.
    pub(super) fn own_names(&self) -> Result<Vec<String>, Error> {
        let written = self.changes.begin()?;
        let all = self.names.all().into_iter().filter(|slot| !written.names.contains(&slot.name));
        Ok(all.map(|slot| (*slot.name).to_owned()).collect())
    }

    /// Takes a plugin out. `false`: there is none of that name.
    pub(super) fn unregister(&self, name: &str) -> Result<bool, Error> {
        self.change(|written| {
            let Some(place) = self.names.get(name) else { return Ok(false) };
            let slot = place.core();
            written.names.remove(&slot.name);
            self.names.publish(vec![], std::slice::from_ref(&slot.name));
            // Handles to a program that is shut down keep saying so.
            let gone = match self.is_shut_down() {
                true => slot.current().core().shut_down(),
                false => Generation::gone(name),
            };
            self.leaving.extend([slot.put(gone)]);
            Ok(true)
        })
    }

    /// Replaces the plugins of the config before with those of `config`. All are made before the first is
    /// replaced, so that a mistake changes nothing.
    pub(super) fn apply(self: &Arc<Self>, config: Config) -> Result<(), Error> {
        let coming = self.change(|written| {
            self.check_open()?;
            self.replace(written, config)
        })?;
        for (slot, next) in coming {
            let (program, slot) = (Arc::downgrade(self), Arc::downgrade(&slot));
            warming::begin(next.clone(), move || {
                let Some(slot) = slot.upgrade() else { return };
                match program.upgrade() {
                    Some(program) => program.comes(slot, next),
                    // Handles outlive the program.
                    None => drop(slot.comes(&next)),
                }
            });
        }
        Ok(())
    }

    /// What a slot has waited for takes its place.
    fn comes(&self, slot: Arc<Slot<Req, Res>>, next: Held<Req, Res>) {
        lock(&self.due).push((slot, next));
        // If this comes out of a change, which may end a runtime, the change lets it in at its end.
        let _ = self.change(|_| Ok(()));
    }

    /// What has come goes to its place, unless a change has something else stand there.
    fn let_in(&self) -> Coming<Req, Res> {
        let due = mem::take(&mut *lock(&self.due));
        if !due.is_empty() {
            self.leaving.extend(due.iter().filter_map(|(slot, next)| slot.comes(next)));
            self.names.publish(vec![], &[]);
        }
        due
    }

    /// Returns what is to come later.
    fn replace(&self, written: &mut Written, config: Config) -> Result<Coming<Req, Res>, Error> {
        let is_told = config.is_read();
        let Config { defaults, plugins, log_level, security, .. } = config;
        // What was registered in code; all else is in the config, or leaves.
        let own = |name: &str| self.names.get(name).filter(|_| !written.names.contains(name));
        check(&plugins, &defaults, |name| own(name).map(|place| place.core().fallback()))?;
        let (settings, is_secured_anew) = written.settings.next(security)?;
        let plugins: Vec<_> = plugins.into_iter().map(Arc::new).collect();
        let is_same = *written.defaults == defaults;
        let defaults = if is_same { written.defaults.clone() } else { Arc::new(defaults) };
        let places: BTreeMap<&str, Place<Req, Res>> =
            plugins.iter().map(|plugin| (&*plugin.name, self.names.place(&plugin.name))).collect();
        let find = |name: &str| places.get(name).cloned().or_else(|| self.names.get(name));
        // Of what was registered in code, only what may run programs. One that cannot be made any more refuses its
        // calls, and holds up no list of what may run.
        let own_programs = |slot: &Arc<Slot<Req, Res>>| {
            let (place, held) = (own(&slot.name)?, slot.current());
            let of = Some(held.core()).filter(|of| of.may_run_programs())?;
            let (plugin, defaults) = (of.plugin.clone(), of.defaults.clone());
            let made = self.make(&place, &plugin, &defaults, &settings, None, &find);
            Some((place, Generation::new(plugin, defaults, made.unwrap_or_else(Err))))
        };
        let all = if is_secured_anew { self.names.all() } else { Vec::new() };
        let mut made: Vec<_> = all.iter().filter_map(own_programs).collect();
        let (mut stays, mut mistakes) = (Vec::new(), Vec::new());
        for plugin in &plugins {
            let Some(place) = places.get(&*plugin.name) else { continue };
            if own(&plugin.name).is_some() {
                let text = "a plugin of that name was registered in code";
                let error = Error::not_sent(Kind::InvalidConfig).coded(Some(Code::REGISTRY_1901));
                mistakes.push(of_plugin(&plugin.name, error.message(text)));
                continue;
            }
            let is_same = |held: Held<Req, Res>| held.core().is_of(plugin, &defaults);
            if self.names.get(&plugin.name).is_some()
                && !(is_secured_anew && schemes::may_lead_to_programs(plugin))
            {
                if is_same(place.core().latest()) {
                    continue;
                }
                if is_same(place.core().current()) {
                    stays.push(place.clone());
                    continue;
                }
            }
            let next = |stack| Generation::new(plugin.clone(), defaults.clone(), stack);
            match self.make(place, plugin, &defaults, &settings, None, &find) {
                Ok(stack) => made.push((place.clone(), next(stack))),
                Err(error) => mistakes.push(error),
            }
        }
        if let Some(error) = all_of(mistakes) {
            return Err(error);
        }
        // A factory may have ended it all.
        self.check_open()?;
        let names: BTreeSet<Arc<str>> =
            places.values().map(|place| place.core().name.clone()).collect();
        let removed: Vec<_> = written.names.difference(&names).cloned().collect();
        let left: Vec<_> = removed.iter().filter_map(|name| self.names.get(name)).collect();
        if !is_told {
            made.iter().for_each(|(_, next)| next.core().tell_without_effect());
        }
        let added = made.iter().map(|(place, _)| place.clone()).collect();
        stays.iter().for_each(|place| place.core().set_coming(None));
        // What is not allowed any more ends now.
        let (later, now): (Vec<_>, Vec<_>) = made
            .into_iter()
            .partition(|(place, next)| !is_secured_anew && warming::waits(place.core(), next));
        later.iter().for_each(|(place, next)| place.core().set_coming(Some(next.clone())));
        self.leaving.extend(now.into_iter().map(|(place, next)| place.core().put(next)));
        self.names.publish(added, &removed);
        let gone = |place: &Place<Req, Res>| place.core().put(Generation::gone(&place.core().name));
        self.leaving.extend(left.iter().map(gone));
        *written = Written { defaults, settings, names, is_closed: false };
        *lock(&self.log_level) = log_level;
        Ok(later.into_iter().map(|(place, next)| (place.core().clone(), next)).collect())
    }

    pub(super) fn shut_down(&self) {
        if self.is_shut_down.swap(true, Ordering::AcqRel) {
            return;
        }
        // If this comes out of a change, the change does it at its end; so does one that waits for this.
        let _ = self.change(|_| Ok(()));
    }

    fn close(&self) {
        let shut_down = |slot: &Arc<Slot<Req, Res>>| slot.put(slot.current().core().shut_down());
        self.leaving.extend(self.names.all().iter().map(shut_down));
        self.names.publish(vec![], &[]);
    }

    /// How many calls are in flight at generations that were replaced.
    pub(super) fn leaving(&self) -> usize {
        self.leaving.sweep();
        self.leaving.taken()
    }

    fn sweep(&self) {
        self.leaving.sweep();
        self.leaving.sweep_later();
    }

    /// Changes the plugins. All that does goes through here.
    fn change<T>(&self, change: impl FnOnce(&mut Written) -> Result<T, Error>) -> Result<T, Error> {
        let mut written = self.changes.begin()?;
        let changed = change(&mut written);
        let due = self.let_in();
        if self.is_shut_down() && !mem::replace(&mut written.is_closed, true) {
            self.close();
        }
        drop(written);
        // Not in the change: what is let go of may be the user's.
        drop(due);
        self.sweep();
        changed
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_shut_down() {
            return Err(shut_down());
        }
        Ok(())
    }

    /// Makes the stack of a plugin, for its place. Connects to nothing.
    fn make(
        &self,
        place: &Place<Req, Res>,
        plugin: &Arc<PluginConfig>,
        defaults: &Arc<Sections>,
        settings: &Settings,
        connector: Option<Make<Req, Res>>,
        find: &dyn Fn(&str) -> Option<Place<Req, Res>>,
    ) -> Result<Result<Made<Req, Res>, Error>, Error> {
        let name = &place.core().name;
        if !plugin.enabled {
            let text = format!("plugin `{name}` is not enabled (`enabled: false`)");
            return Ok(Err(refusal(Code::PLUGIN_1202, text)));
        }
        let made = || {
            let sections = plugin.sections(defaults);
            sections.validate()?;
            let connector = match connector {
                Some(make) => make(plugin, &sections)?,
                None => {
                    let factories = lock(&self.factories).clone();
                    factories.connector(plugin, defaults, &sections, settings)?
                }
            };
            let endpoints = places::of(plugin, connector.is_built_in(), &lock(&self.sources))?;
            let other: Option<Other<Req, Res>> =
                sections.fallback.plugin().and_then(find).map(ByName::new).map(BoxUpstream::new);
            let fallback = Answer::of(&sections.fallback, other)?;
            let before = place.core().current();
            let before = before.core().made();
            let sessions = Sessions::of(&sections.balance, before.map(|before| &before.sessions));
            Made::new(name, &sections, endpoints, connector, fallback, sessions)
        };
        made().map(Ok).map_err(|error| of_plugin(name, error))
    }
}
