//! What a server of Eureka knows, by the rules of Netflix's.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// How long changes are told.
const RECENT: Duration = Duration::from_secs(180);

#[derive(Debug)]
struct Lease {
    renewed: Instant,
    lasts: Duration,
}

#[derive(Debug, Default)]
pub struct Registry {
    /// By application and id.
    apps: BTreeMap<String, BTreeMap<String, Value>>,
    leases: BTreeMap<(String, String), Lease>,
    overrides: BTreeMap<(String, String), String>,
    recent: Vec<(Instant, Value)>,
    version: u64,
    /// Whether the hash is another one.
    pub counts_wrong: bool,
    /// Whether a list of one is that one, and numbers are text, as XStream writes them.
    pub is_xstream: bool,
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_default()
}

impl Registry {
    fn key(app: &str, id: &str) -> (String, String) {
        (app.to_uppercase(), id.to_owned())
    }

    pub fn get(&self, app: &str, id: &str) -> Option<&Value> {
        self.apps.get(&app.to_uppercase())?.get(id)
    }

    pub fn get_mut(&mut self, app: &str, id: &str) -> Option<&mut Value> {
        self.apps.get_mut(&app.to_uppercase())?.get_mut(id)
    }

    pub fn all(&self) -> impl Iterator<Item = &Value> {
        self.apps.values().flat_map(BTreeMap::values)
    }

    fn tell(&mut self, action: &str, mut of: Value) {
        of["actionType"] = action.into();
        self.version += 1;
        self.recent.push((Instant::now(), of));
    }

    /// Which status it has: the rules of the server, the first that applies.
    fn status(&self, key: &(String, String), own: &str) -> String {
        let known = self.get(&key.0, &key.1).map(|of| text(of, "status"));
        match (own, self.overrides.get(key), known) {
            ("UP" | "OUT_OF_SERVICE", Some(overridden), _) => overridden.clone(),
            ("UP" | "OUT_OF_SERVICE", None, Some(known @ ("UP" | "OUT_OF_SERVICE"))) => {
                known.to_owned()
            }
            _ => own.to_owned(),
        }
    }

    /// `Err`: what is missing.
    pub fn register(&mut self, app: &str, mut info: Value) -> Result<(), String> {
        for key in ["hostName", "ipAddr", "app"] {
            if text(&info, key).is_empty() {
                return Err(format!("Missing {key}"));
            }
        }
        if !text(&info, "app").eq_ignore_ascii_case(app) {
            return Err(format!("Mismatched appName, expecting {app}"));
        }
        let class = text(&info["dataCenterInfo"], "@class");
        if class.is_empty() || text(&info["dataCenterInfo"], "name").is_empty() {
            return Err("Missing dataCenterInfo Name".to_owned());
        }
        let id = match text(&info, "instanceId") {
            "" => text(&info, "hostName"),
            id => id,
        };
        let key = Self::key(app, id);
        let time = |of: &Value| text(of, "lastDirtyTimestamp").parse::<u64>().unwrap_or(u64::MAX);
        if self.get(&key.0, &key.1).is_some_and(|known| time(known) > time(&info)) {
            // What is newer stays.
            info = self.get(&key.0, &key.1).unwrap().clone();
        }
        let overridden = text(&info, "overriddenstatus");
        if !matches!(overridden, "" | "UNKNOWN") {
            self.overrides.entry(key.clone()).or_insert(overridden.to_owned());
        }
        let own = match text(&info, "status") {
            "" => "UP",
            own => own,
        };
        info["status"] = self.status(&key, own).into();
        info["overriddenstatus"] =
            self.overrides.get(&key).map_or("UNKNOWN", String::as_str).into();
        info["app"] = key.0.clone().into();
        let lasts = info["leaseInfo"]["durationInSecs"].as_u64().unwrap_or(90);
        let lasts = Duration::from_secs(lasts);
        self.leases.insert(key.clone(), Lease { renewed: Instant::now(), lasts });
        self.apps.entry(key.0).or_default().insert(key.1, info.clone());
        self.tell("ADDED", info);
        Ok(())
    }

    /// `false`: it is not known as it is there.
    pub fn renew(&mut self, app: &str, id: &str, dirty: Option<u64>) -> bool {
        let key = Self::key(app, id);
        let Some(info) = self.get(app, id) else { return false };
        if text(info, "status") == "UNKNOWN" {
            // What an override has left without a status is announced again.
            return false;
        }
        let known = text(info, "lastDirtyTimestamp").parse::<u64>();
        if known.is_ok_and(|known| dirty.is_some_and(|dirty| dirty > known)) {
            return false;
        }
        self.leases.get_mut(&key).unwrap().renewed = Instant::now();
        true
    }

    pub fn cancel(&mut self, app: &str, id: &str) -> bool {
        let key = Self::key(app, id);
        let Some(of_app) = self.apps.get_mut(&key.0) else { return false };
        let Some(info) = of_app.remove(id) else { return false };
        if of_app.is_empty() {
            self.apps.remove(&key.0);
        }
        self.leases.remove(&key);
        self.overrides.remove(&key);
        self.tell("DELETED", info);
        true
    }

    /// `None` ends an override; `value` is the status until the next registration.
    pub fn set_override(
        &mut self,
        app: &str,
        id: &str,
        overridden: Option<&str>,
        value: &str,
    ) -> bool {
        let key = Self::key(app, id);
        if self.get(app, id).is_none() {
            return false;
        }
        match overridden {
            Some(status) => drop(self.overrides.insert(key, status.to_owned())),
            None => drop(self.overrides.remove(&key)),
        }
        let info = self.get_mut(app, id).unwrap();
        info["status"] = value.into();
        info["overriddenstatus"] = overridden.unwrap_or("UNKNOWN").into();
        let info = info.clone();
        self.tell("MODIFIED", info);
        true
    }

    /// When the next lease ends.
    pub fn due(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.renewed + lease.lasts).min()
    }

    pub fn settle(&mut self, now: Instant) {
        let over = self.leases.iter().filter(|(_, lease)| lease.renewed + lease.lasts <= now);
        let over: Vec<_> = over.map(|(key, _)| key.clone()).collect();
        for (app, id) in over {
            self.cancel(&app, &id);
        }
        self.recent.retain(|(at, _)| *at + RECENT > now);
    }

    pub fn hash(&self) -> String {
        let mut counts = BTreeMap::<&str, u32>::new();
        for info in self.all() {
            *counts.entry(text(info, "status")).or_default() += 1;
        }
        let hash: String = counts.iter().map(|(of, count)| format!("{of}_{count}_")).collect();
        if self.counts_wrong { format!("{hash}UNKNOWN_7_") } else { hash }
    }

    pub fn ids(&self) -> BTreeSet<&str> {
        self.all().map(|info| text(info, "instanceId")).collect()
    }

    /// All that are chosen.
    pub fn applications(&self, choose: impl Fn(&Value) -> bool) -> Value {
        self.wrapped(self.all().filter(|of| choose(of)).cloned().collect())
    }

    pub fn delta(&self) -> Value {
        self.wrapped(self.recent.iter().map(|(_, info)| info.clone()).collect())
    }

    pub fn application(&self, app: &str) -> Option<Value> {
        let of_app = self.apps.get(&app.to_uppercase())?;
        let instances = of_app.values().cloned().map(|info| self.written(info)).collect();
        let instances = self.listed(instances);
        Some(json!({"application": {"name": app.to_uppercase(), "instance": instances}}))
    }

    fn wrapped(&self, instances: Vec<Value>) -> Value {
        let mut by_app = Vec::<(String, Vec<Value>)>::new();
        for info in instances {
            let app = text(&info, "app").to_owned();
            let info = self.written(info);
            match by_app.iter_mut().find(|(name, _)| *name == app) {
                Some((_, list)) => list.push(info),
                None => by_app.push((app, vec![info])),
            }
        }
        let apps = by_app
            .into_iter()
            .map(|(name, list)| json!({"name": name, "instance": self.listed(list)}));
        let apps = self.listed(apps.collect());
        let (hash, version) = (self.hash(), self.version.to_string());
        json!({"applications": {"versions__delta": version, "apps__hashcode": hash, "application": apps}})
    }

    fn listed(&self, mut list: Vec<Value>) -> Value {
        match self.is_xstream && list.len() == 1 {
            true => list.remove(0),
            false => list.into(),
        }
    }

    fn written(&self, mut info: Value) -> Value {
        if self.is_xstream {
            for key in ["port", "securePort"] {
                if let Some(port) = info[key].as_object_mut() {
                    for value in port.values_mut().filter(|value| !value.is_string()) {
                        *value = value.to_string().into();
                    }
                }
            }
            let overridden = info["overriddenstatus"].take();
            info["overriddenStatus"] = overridden;
            if info["metadata"].as_object().is_none_or(Map::is_empty) {
                info["metadata"] = json!({"@class": "java.util.Collections$EmptyMap"});
            }
        }
        info
    }
}
