//! What is known of a registry, as arithmetic.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    document::{Told, hash},
    info::Info,
    wanted::Wanted,
};

/// Most instances of all applications.
const MAX_INSTANCES: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Book {
    apps: BTreeMap<String, BTreeMap<String, Arc<Info>>>,
    count: usize,
    /// Grows with each change.
    pub(super) version: u64,
}

impl Book {
    /// Takes over all that there is. Tells whether the server counts the same, so that changes may follow.
    ///
    /// # Errors
    /// There is too much.
    pub(super) fn replace(&mut self, told: Told) -> Result<bool, String> {
        let mut whole = Self { version: self.version, ..Self::default() };
        let is_same = whole.apply(told)?;
        if whole.apps != self.apps {
            whole.version = self.version + 1;
            *self = whole;
        }
        Ok(is_same)
    }

    /// Takes over changes, which may be known already. Tells whether the server counts the same then.
    ///
    /// # Errors
    /// There is too much.
    pub(super) fn apply(&mut self, told: Told) -> Result<bool, String> {
        for info in told.instances {
            let is_gone = info.action_type.is("DELETED");
            let of_app = self.apps.entry(info.app.clone()).or_default();
            let was = match is_gone {
                true => of_app.remove(info.id()),
                false => of_app.insert(info.id().to_owned(), info.clone()),
            };
            if of_app.is_empty() {
                self.apps.remove(&info.app);
            }
            match (is_gone, was) {
                (true, None) => {}
                (false, Some(was)) if was == info => {}
                (true, Some(_)) => (self.count, self.version) = (self.count - 1, self.version + 1),
                (false, was) => {
                    self.count += usize::from(was.is_none());
                    self.version += 1;
                }
            }
            if self.count > MAX_INSTANCES {
                return Err(format!("has more than {MAX_INSTANCES} instances"));
            }
        }
        Ok(told.hash.is_some_and(|told| told == self.hash()))
    }

    pub(super) fn hash(&self) -> String {
        hash(self.apps.values().flat_map(BTreeMap::values).map(|info| info.counted()))
    }

    /// Those that are asked for.
    pub(super) fn select(&self, wanted: &Wanted) -> Vec<Arc<Info>> {
        match wanted {
            Wanted::App(app) => {
                self.apps.get(app).into_iter().flat_map(BTreeMap::values).cloned().collect()
            }
            Wanted::Vip { name, is_secure } => {
                let all = self.apps.values().flat_map(BTreeMap::values);
                all.filter(|info| info.is_at(name, *is_secure)).cloned().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `app/id=STATUS`, or `-app/id`.
    fn told(all: &[&str], hash: &str) -> Told {
        let instances = all.iter().map(|text| {
            let (action, text) = match text.strip_prefix('-') {
                Some(rest) => ("DELETED", rest),
                None => ("ADDED", *text),
            };
            let (name, status) = text.split_once('=').unwrap_or((text, "UP"));
            let (app, id) = name.split_once('/').unwrap();
            let json = format!(
                r#"{{"instanceId":"{id}","status":"{status}","vipAddress":"{app},all","actionType":"{action}"}}"#
            );
            Arc::new(serde_json::from_str::<Info>(&json).unwrap().of_app(app))
        });
        Told { instances: instances.collect(), hash: Some(hash.to_owned()) }
    }

    fn ids(book: &Book, wanted: &Wanted) -> Vec<String> {
        book.select(wanted).iter().map(|info| info.id().to_owned()).collect()
    }

    #[test]
    fn changes_are_applied_in_their_order_and_repeats_change_nothing() {
        let mut book = Book::default();
        assert_eq!(book.replace(told(&["a/1", "a/2", "b/1=DOWN"], "DOWN_1_UP_2_")), Ok(true));
        let changes = || told(&["a/3", "-a/1", "a/2=DOWN", "-a/3", "a/3"], "DOWN_2_UP_1_");
        assert_eq!(book.apply(changes()), Ok(true));
        assert_eq!(ids(&book, &Wanted::app("a")), ["2", "3"]);
        let version = book.version;
        assert_eq!(book.apply(changes()), Ok(true));
        assert_eq!(ids(&book, &Wanted::app("A")), ["2", "3"]);
        assert_eq!(book.apply(told(&[], "UP_9_")), Ok(false));
        let again = book.version;
        assert_eq!(book.replace(told(&["a/2=DOWN", "a/3", "b/1=DOWN"], "")), Ok(false));
        assert!(again >= version && book.version == again, "nothing changed");
        assert_eq!(ids(&book, &Wanted::vip("ALL", false)), ["2", "3", "1"]);
        assert!(ids(&book, &Wanted::vip("all", true)).is_empty());
        assert!(book.apply(told(&["-a/2", "-a/3", "-b/1", "-c/1"], "")).unwrap());
        assert_eq!((book.count, book.apps.len()), (0, 0));
    }

    #[test]
    fn more_than_a_bound_is_refused() {
        let all: Vec<String> = (0..=MAX_INSTANCES).map(|of| format!("a/{of}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert!(Book::default().replace(told(&all, "")).is_err());
        assert!(Book::default().replace(told(&all[1..], "")).is_ok());
    }

    proptest! {
        #[test]
        fn the_count_and_the_hash_are_those_of_what_is_there(
            steps in prop::collection::vec(("-?[ab]/[1-4]", prop::option::of("UP|DOWN")), 0..40),
        ) {
            let mut book = Book::default();
            let mut naive = BTreeMap::<String, String>::new();
            for (name, status) in steps {
                let status = status.unwrap_or("UP".to_owned());
                match name.strip_prefix('-') {
                    Some(gone) => drop(naive.remove(gone)),
                    None => drop(naive.insert(name.clone(), status.clone())),
                }
                let step = if name.starts_with('-') { name } else { format!("{name}={status}") };
                let expected = hash(naive.values().map(String::as_str));
                prop_assert_eq!(book.apply(told(&[&step], &expected)), Ok(true));
                prop_assert_eq!(book.count, naive.len());
            }
        }
    }
}
