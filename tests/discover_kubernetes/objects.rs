//! What a cluster knows: objects, each change with the next revision, and a log of the changes that is kept for a
//! while.

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub const LABEL: &str = "kubernetes.io/service-name";

/// A change of a slice.
#[derive(Debug, Clone)]
pub struct Change {
    pub revision: u64,
    pub kind: &'static str,
    pub object: Value,
}

impl Change {
    pub fn line(&self) -> String {
        json!({"type": self.kind, "object": self.object}).to_string() + "\n"
    }
}

/// Namespace, name.
type Key = (String, String);

#[derive(Debug)]
pub struct Objects {
    pub slices: BTreeMap<Key, Value>,
    pub services: BTreeMap<Key, Value>,
    pub revision: u64,
    log: Vec<Change>,
    /// The last revision whose change is not kept any more.
    pub compacted: u64,
}

impl Default for Objects {
    fn default() -> Self {
        let (slices, services, log) = Default::default();
        Self { slices, services, revision: 182, log, compacted: 182 }
    }
}

/// The part of a list.
pub struct Page {
    pub items: Vec<Value>,
    pub revision: u64,
    /// Where the next page begins, and how many items are left.
    pub next: Option<(String, usize)>,
}

impl Objects {
    fn note(&mut self, kind: &'static str, mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.log.push(Change { revision: self.revision, kind, object: object.clone() });
        object
    }

    pub fn put(&mut self, slice: Value) {
        let part = |key: &str| slice["metadata"][key].as_str().unwrap_or("default").to_owned();
        let key = (part("namespace"), part("name"));
        let kind = if self.slices.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        let noted = self.note(kind, slice);
        self.slices.insert(key, noted);
    }

    /// Tells whether it was there.
    pub fn delete(&mut self, namespace: &str, name: &str) -> bool {
        let gone = self.slices.remove(&(namespace.to_owned(), name.to_owned()));
        gone.map(|gone| self.note("DELETED", gone)).is_some()
    }

    pub fn put_service(&mut self, namespace: &str, name: &str, service: Value) {
        self.revision += 1;
        self.services.insert((namespace.to_owned(), name.to_owned()), service);
    }

    /// Forgets all changes so far.
    pub fn compact(&mut self) {
        self.compacted = self.revision;
        self.log.clear();
    }

    /// Those of a namespace after a revision.
    pub fn since(&self, revision: u64, namespace: &str, selector: &Selector) -> Vec<Change> {
        let changes = self.log.iter().filter(|change| change.revision > revision);
        let is_meant = |change: &&Change| {
            change.object["metadata"]["namespace"] == json!(namespace)
                && selector.matches(&change.object)
        };
        changes.filter(is_meant).cloned().collect()
    }

    /// The slices of a namespace from a name on, and at most so many.
    pub fn page(&self, namespace: &str, selector: &Selector, from: &str, limit: usize) -> Page {
        let all = self.slices.iter().filter(|((of, name), slice)| {
            of == namespace && &**name >= from && selector.matches(slice)
        });
        let all: Vec<_> = all.collect();
        let next = (limit > 0 && all.len() > limit)
            .then(|| (format!("{}\0", all[limit - 1].0.1), all.len() - limit));
        let limit = if limit == 0 { all.len() } else { limit };
        let items = all.iter().take(limit).map(|(_, slice)| (*slice).clone()).collect();
        Page { items, revision: self.revision, next }
    }
}

/// Labels that an object must have, with a value or any.
#[derive(Debug, Clone, Default)]
pub struct Selector(Vec<(String, Option<String>)>);

impl Selector {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with('=') {
            return Err("found '==', expected: !, identifier, or 'end of string'");
        }
        let parts = text.split(',').filter(|part| !part.is_empty());
        Ok(Self(
            parts
                .map(|part| match part.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (part.to_owned(), None),
                })
                .collect(),
        ))
    }

    fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(key, value)| {
            let label = object["metadata"]["labels"][key].as_str();
            match value {
                Some(value) => label == Some(value),
                None => label.is_some(),
            }
        })
    }
}

/// A slice of a Service with endpoints at a port.
pub fn slice(service: &str, name: &str, port: u16, endpoints: Vec<Value>) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "default", "labels": {LABEL: service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}

/// How a pod is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pod {
    Ready,
    /// It ends, and still serves.
    Terminating,
    NotReady,
}

pub fn pod(uid: &str, host: &str, is: Pod) -> Value {
    let (ready, serving, terminating) = match is {
        Pod::Ready => (true, true, false),
        Pod::Terminating => (false, true, true),
        Pod::NotReady => (false, false, false),
    };
    json!({
        "addresses": [host],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "nodeName": "n1", "zone": "a",
        "targetRef": {"kind": "Pod", "name": uid, "namespace": "default", "uid": uid},
    })
}
