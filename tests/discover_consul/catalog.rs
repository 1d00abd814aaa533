//! What a Consul knows, and how it writes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// As a recorded one had it.
pub const NODE: &str = "61706c97-1fd5-0c64-a1f9-ff0e8d0428c8";

#[derive(Clone)]
pub struct Check {
    pub id: String,
    pub name: String,
    pub status: String,
    pub output: String,
    pub notes: String,
    pub kind: &'static str,
    pub ttl: Option<Duration>,
    pub expires: Option<Instant>,
    pub deregister_after: Option<Duration>,
    pub critical_since: Option<Instant>,
    pub created: u64,
    pub modified: u64,
}

#[derive(Clone)]
pub struct Instance {
    /// As it was registered.
    pub body: Value,
    pub checks: BTreeMap<String, Check>,
    pub created: u64,
    pub modified: u64,
}

impl Instance {
    pub fn name(&self) -> &str {
        self.body["Name"].as_str().unwrap()
    }

    pub fn tags(&self) -> Vec<&str> {
        let tags = self.body["Tags"].as_array();
        tags.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn index(&self) -> u64 {
        self.checks.values().map(|check| check.modified).max().unwrap_or(0).max(self.modified)
    }

    fn is_passing(&self) -> bool {
        self.checks.values().all(|check| check.status == "passing")
    }
}

/// All of it changes through [`Catalog::change`].
pub struct Catalog {
    pub index: u64,
    pub instances: BTreeMap<String, Instance>,
    /// When instances of a service left last.
    left: BTreeMap<String, u64>,
    pub node_meta: Value,
    pub node_address: String,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            index: 12,
            instances: BTreeMap::new(),
            left: BTreeMap::new(),
            node_meta: json!({"consul-network-segment": ""}),
            node_address: "127.0.0.1".to_owned(),
        }
    }
}

/// The durations that Go reads, of one unit.
fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0)?;
    let number: u64 = text[..at].parse().ok()?;
    match &text[at..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(60 * number)),
        "m0s" => Some(Duration::from_secs(60 * number)),
        "h0m0s" => Some(Duration::from_secs(3_600 * number)),
        _ => None,
    }
}

pub fn wait(text: &str) -> Option<Duration> {
    duration(text)
}

impl Catalog {
    /// The next index.
    pub fn next(&mut self) -> u64 {
        self.index += 1;
        self.index
    }

    pub fn register(&mut self, body: Value, replaces: bool) -> Result<(), String> {
        let name = body["Name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or("Missing service name")?.to_owned();
        let id = body["ID"].as_str().filter(|id| !id.is_empty()).unwrap_or(&name).to_owned();
        for key in body["Meta"].as_object().into_iter().flat_map(Map::keys) {
            if !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
                return Err(format!(
                    "Invalid Service Meta: Couldn't load metadata pair ('{key}', 'x'): Key contains invalid \
                     characters"
                ));
            }
        }
        let before = self.instances.get(&id);
        let mut instance = Instance {
            checks: before.map(|of| of.checks.clone()).unwrap_or_default(),
            created: before.map_or(self.index + 1, |of| of.created),
            modified: self.index + 1,
            body: body.clone(),
        };
        let mut written: Vec<Value> = vec![body["Check"].clone()];
        written.extend(body["Checks"].as_array().cloned().unwrap_or_default());
        written.retain(|check| !check.is_null());
        let (mut checks, many) = (BTreeMap::new(), written.len() > 1);
        for (number, check) in written.iter().enumerate() {
            let time = |key: &str| match check[key].as_str() {
                None => Ok(None),
                Some(text) => duration(text)
                    .map(Some)
                    .ok_or(format!("Request decode failed: time: invalid duration \"{text}\"")),
            };
            let (ttl, deregister_after) = (time("TTL")?, time("DeregisterCriticalServiceAfter")?);
            let kind = ["TTL", "HTTP", "TCP", "GRPC", "H2PING"]
                .into_iter()
                .zip(["ttl", "http", "tcp", "grpc", "h2ping"])
                .find(|(key, _)| check[*key].is_string());
            let (_, kind) = kind.ok_or("Invalid check: Check must be an HTTP, TCP or TTL type")?;
            if kind != "ttl" && time("Interval")?.is_none() {
                return Err(
                    "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks".into()
                );
            }
            let given = check["CheckID"].as_str().map(str::to_owned);
            let check_id = given.unwrap_or_else(|| match many {
                true => format!("service:{id}:{}", number + 1),
                false => format!("service:{id}"),
            });
            let status = check["Status"].as_str().unwrap_or("critical").to_owned();
            checks.insert(
                check_id.clone(),
                Check {
                    id: check_id,
                    name: check["Name"]
                        .as_str()
                        .map_or(format!("Service '{name}' check"), str::to_owned),
                    status: status.clone(),
                    output: String::new(),
                    notes: String::new(),
                    kind,
                    ttl,
                    expires: ttl.map(|ttl| Instant::now() + ttl),
                    deregister_after,
                    critical_since: (status == "critical").then(Instant::now),
                    created: self.index + 1,
                    modified: self.index + 1,
                },
            );
        }
        if replaces {
            // Maintenance, too.
            let before = std::mem::take(&mut instance.checks);
            for (id, check) in &mut checks {
                // A check that was there keeps the status that it had.
                if let Some(was) = before.get(id) {
                    (check.status, check.output) = (was.status.clone(), was.output.clone());
                    check.critical_since = was.critical_since;
                }
            }
        }
        instance.checks.extend(checks);
        self.next();
        self.instances.insert(id, instance);
        Ok(())
    }

    pub fn deregister(&mut self, id: &str) {
        if let Some(instance) = self.instances.remove(id) {
            let index = self.next();
            self.left.insert(instance.name().to_owned(), index);
        }
    }

    /// Tells whether there is such a check with a TTL.
    pub fn update_check(&mut self, id: &str, status: &str, output: &str) -> bool {
        let index = self.index + 1;
        let check = self.instances.values_mut().find_map(|of| of.checks.get_mut(id));
        let Some(check) = check.filter(|check| check.ttl.is_some()) else { return false };
        check.expires = check.ttl.map(|ttl| Instant::now() + ttl);
        if check.status != status || check.output != output {
            (check.status, check.output) = (status.to_owned(), output.to_owned());
            check.critical_since = (status == "critical").then(Instant::now);
            check.modified = index;
            self.next();
        }
        true
    }

    pub fn maintain(&mut self, id: &str, reason: Option<&str>) -> bool {
        let index = self.index + 1;
        let Some(instance) = self.instances.get_mut(id) else { return false };
        let check_id = format!("_service_maintenance:{id}");
        match reason {
            None => {
                if instance.checks.remove(&check_id).is_none() {
                    return true;
                }
                instance.modified = index;
            }
            Some(notes) => {
                let check = Check {
                    id: check_id.clone(),
                    name: "Service Maintenance Mode".to_owned(),
                    status: "critical".to_owned(),
                    output: String::new(),
                    notes: notes.to_owned(),
                    kind: "maintenance",
                    ttl: None,
                    expires: None,
                    deregister_after: None,
                    critical_since: None,
                    created: index,
                    modified: index,
                };
                instance.checks.insert(check_id, check);
            }
        }
        self.next();
        true
    }

    /// When something happens by itself: a TTL ends, or a service is removed for good.
    pub fn due(&self) -> Option<Instant> {
        let checks = || self.instances.values().flat_map(|of| of.checks.values());
        let expiries =
            checks().filter(|check| check.status != "critical").filter_map(|c| c.expires);
        let reaped = checks().filter_map(|c| Some(c.critical_since? + c.deregister_after?));
        expiries.chain(reaped).min()
    }

    /// Does what is due. Tells whether anything was.
    pub fn settle(&mut self, now: Instant) -> bool {
        let (mut changed, mut reaped) = (false, BTreeSet::new());
        let next = self.index + 1;
        for (id, instance) in &mut self.instances {
            for check in instance.checks.values_mut() {
                if check.status != "critical" && check.expires.is_some_and(|at| at <= now) {
                    check.status = "critical".to_owned();
                    check.output = "TTL expired".to_owned();
                    check.critical_since = Some(now);
                    check.modified = next;
                    changed = true;
                }
                let since = check.critical_since.zip(check.deregister_after);
                if since.is_some_and(|(since, after)| since + after <= now) {
                    reaped.insert(id.clone());
                }
            }
        }
        if changed {
            self.next();
        }
        for id in &reaped {
            self.deregister(id);
        }
        changed || !reaped.is_empty()
    }

    /// The index of what a query for a service sees: that of everything if there is none.
    pub fn index_of(&self, service: &str) -> u64 {
        let of_it = self.instances.values().filter(|instance| instance.name() == service);
        match of_it.map(Instance::index).max() {
            None => self.index,
            Some(index) => index.max(self.left.get(service).copied().unwrap_or(0)),
        }
    }

    pub fn entries(&self, service: &str, passing: bool) -> Vec<Value> {
        let of_it = self.instances.iter().filter(|(_, of)| of.name() == service);
        of_it
            .filter(|(_, of)| !passing || of.is_passing())
            .map(|(id, of)| self.entry(id, of))
            .collect()
    }

    fn entry(&self, id: &str, instance: &Instance) -> Value {
        let address = &self.node_address;
        let mut service = agent_service(id, instance);
        let service_of = service.as_object_mut().unwrap();
        if service_of["Meta"].as_object().is_some_and(Map::is_empty) {
            service_of.insert("Meta".to_owned(), Value::Null);
        }
        service_of.extend(
            [
                ("Proxy", json!({"MeshGateway": {}, "Expose": {}})),
                ("Connect", json!({})),
                ("CreateIndex", instance.created.into()),
                ("ModifyIndex", instance.modified.into()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        let mut checks = vec![json!({
            "Node": "n1", "CheckID": "serfHealth", "Name": "Serf Health Status", "Status": "passing",
            "Notes": "", "Output": "Agent alive and reachable", "ServiceID": "", "ServiceName": "",
            "ServiceTags": [], "Type": "", "Definition": {}, "CreateIndex": 10, "ModifyIndex": 10,
        })];
        checks.extend(instance.checks.values().map(|check| {
            json!({
                "Node": "n1", "CheckID": check.id, "Name": check.name, "Status": check.status,
                "Notes": check.notes, "Output": check.output, "ServiceID": id,
                "ServiceName": instance.name(), "ServiceTags": instance.tags(), "Type": check.kind,
                "Definition": {}, "CreateIndex": check.created, "ModifyIndex": check.modified,
            })
        }));
        json!({
            "Node": {
                "ID": NODE, "Node": "n1", "Address": address, "Datacenter": "dc1",
                "TaggedAddresses":
                    {"lan": address, "lan_ipv4": address, "wan": address, "wan_ipv4": address},
                "Meta": self.node_meta, "CreateIndex": 10, "ModifyIndex": 12,
            },
            "Service": service,
            "Checks": checks,
        })
    }

    /// `/v1/agent/services`.
    pub fn local(&self) -> Value {
        let services = self.instances.iter().map(|(id, of)| (id.clone(), agent_service(id, of)));
        Value::Object(services.collect())
    }

    /// `/v1/agent/health/service/id/ID`, with its status.
    pub fn local_health(&self, id: &str) -> (u16, Value) {
        let Some(instance) = self.instances.get(id) else {
            return (404, json!({"AggregatedStatus": "critical", "Service": null, "Checks": null}));
        };
        let worst = ["critical", "warning", "passing"].into_iter().find(|status| {
            instance
                .checks
                .values()
                .any(|check| check.kind != "maintenance" && check.status == *status)
        });
        let is_maintained = instance.checks.values().any(|check| check.kind == "maintenance");
        let status = if is_maintained { "maintenance" } else { worst.unwrap_or("passing") };
        let code = match status {
            "passing" => 200,
            "warning" => 429,
            _ => 503,
        };
        let checks: Vec<_> = instance.checks.values().collect();
        let checks = checks.iter().map(|of| json!({"CheckID": of.id, "Status": of.status}));
        let checks: Vec<_> = checks.collect();
        let service = agent_service(id, instance);
        (code, json!({"AggregatedStatus": status, "Service": service, "Checks": checks}))
    }

    /// `/v1/catalog/services`.
    pub fn services(&self) -> Value {
        let mut services: BTreeMap<&str, BTreeSet<&str>> =
            BTreeMap::from([("consul", BTreeSet::new())]);
        for instance in self.instances.values() {
            services.entry(instance.name()).or_default().extend(instance.tags());
        }
        json!(services)
    }
}

fn agent_service(id: &str, instance: &Instance) -> Value {
    let body = &instance.body;
    let or = |key: &str, default: Value| match &body[key] {
        Value::Null => default,
        value => value.clone(),
    };
    let address = or("Address", "".into());
    let port = or("Port", 0.into());
    let tagged = match address.as_str() {
        _ if body["TaggedAddresses"].is_object() => body["TaggedAddresses"].clone(),
        Some("") | None => Value::Null,
        Some(text) => {
            let family = if text.contains(':') { "ipv6" } else { "ipv4" };
            let at = json!({"Address": text, "Port": port});
            json!({format!("lan_{family}"): at, format!("wan_{family}"): at})
        }
    };
    let mut service = json!({
        "ID": id, "Service": instance.name(), "Tags": instance.tags(), "Meta": or("Meta", json!({})),
        "Port": port, "Address": address, "TaggedAddresses": tagged,
        "Weights": or("Weights", json!({"Passing": 1, "Warning": 1})), "EnableTagOverride": false,
    });
    if let (Value::Object(service), Value::String(kind)) = (&mut service, &body["Kind"]) {
        service.insert("Kind".to_owned(), kind.clone().into());
    }
    service
}
