//! One pass over a section: what it leaves out, and what it ends at.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
};

use super::refused::Refused;
use crate::config::value::{Format, Member, Node, Path, Place, Value};

/// How the passes over a section see its values.
pub(super) struct Pass<'t> {
    pub(super) format: Format,
    /// The file.
    pub(super) text: &'t str,
    /// What was not taken in earlier passes.
    left_out: RefCell<HashSet<*const Node>>,
    /// Keys that are written in another case than the field, by their values.
    renamed: RefCell<HashMap<*const Node, &'static str>>,
    /// The innermost value that was not taken, while the error travels up.
    ended: RefCell<Option<Ended<'t>>>,
    /// The key that was read last.
    key: Cell<Option<&'t Member>>,
    /// How many values were looked at.
    looked_at: Cell<usize>,
}

/// What was not taken.
#[derive(Debug)]
pub(super) struct Ended<'t> {
    /// What to leave out, so that the rest can be read.
    pub(super) out: &'t Node,
    pub(super) place: Place,
    pub(super) path: String,
    pub(super) refused: Refused,
}

impl<'t> Pass<'t> {
    pub(super) fn new(format: Format, text: &'t str) -> Self {
        Self {
            format,
            text,
            left_out: RefCell::default(),
            renamed: RefCell::default(),
            ended: RefCell::default(),
            key: Cell::default(),
            looked_at: Cell::default(),
        }
    }

    pub(super) fn looks_at(&self, node: &Node) -> bool {
        self.looked_at.set(self.looked_at.get() + 1);
        !self.left_out.borrow().contains(&std::ptr::from_ref(node))
    }

    pub(super) fn looked_at(&self) -> usize {
        self.looked_at.get()
    }

    /// Leaves a value out of the next passes; `false` if it was left out already.
    pub(super) fn leave_out(&self, node: &Node) -> bool {
        self.left_out.borrow_mut().insert(node)
    }

    /// All that was left out.
    pub(super) fn left_out(self) -> HashSet<*const Node> {
        self.left_out.into_inner()
    }

    /// Whether something in it was left out already: then what is wrong now may come of that.
    pub(super) fn lacks(&self, node: &Node) -> bool {
        let lacks = |node: &Node| {
            self.left_out.borrow().contains(&std::ptr::from_ref(node)) || self.lacks(node)
        };
        match &node.value {
            Value::List(nodes) => nodes.iter().any(lacks),
            Value::Map(members) => members.iter().any(|member| lacks(&member.node)),
            _ => false,
        }
    }

    /// Reads a key as that of `known` which it is in another case, as Go reads JSON; `false` if there is none.
    pub(super) fn rename(&self, node: &Node, given: &str, known: &[&'static str]) -> bool {
        let same = |name: &&&'static str| name.eq_ignore_ascii_case(given);
        let name = known.iter().find(same).filter(|_| self.format == Format::Json);
        name.is_some_and(|name| self.renamed.borrow_mut().insert(node, name).is_none())
    }

    /// The name of a key that is being read.
    pub(super) fn name(&self, member: &'t Member) -> &'t str {
        self.key.set(Some(member));
        let renamed = self.renamed.borrow();
        renamed.get(&std::ptr::from_ref(&member.node)).copied().unwrap_or(&member.key)
    }

    /// Passes on what was read, or remembers what was not taken, unless something in it was the reason.
    pub(super) fn watch<T>(
        &self,
        read: Result<T, Refused>,
        out: &'t Node,
        place: &Place,
        path: &Path<'_>,
    ) -> Result<T, Refused> {
        let mut ended = self.ended.borrow_mut();
        match &read {
            // Whatever was wrong in it was one of several readings.
            Ok(_) => *ended = None,
            Err(refused) if ended.is_none() => {
                // What is said of a key is said after it was read, by its struct.
                let is_key = refused.is_of_key();
                let refused = refused.clone();
                *ended = Some(match self.key.get().filter(|_| is_key) {
                    Some(Member { key, key_place, node }) => {
                        let path = path.key(key).to_string();
                        Ended { out: node, place: key_place.clone(), path, refused }
                    }
                    None => Ended { out, place: place.clone(), path: path.to_string(), refused },
                });
            }
            Err(_) => {}
        }
        read
    }

    /// What the pass ended at.
    pub(super) fn take(&self) -> Option<Ended<'t>> {
        self.ended.take()
    }
}
