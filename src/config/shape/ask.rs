//! The shape of a type, found question by question.

use std::{cell::RefCell, marker::PhantomData};

use serde::de::DeserializeOwned;

use super::probe::{NO_KEY, Probe, Seen, Step, Trial};

/// What a type takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Bool,
    Integer {
        is_signed: bool,
    },
    Fraction,
    Text,
    /// One of these texts, or a map of one of them and its settings.
    Choice(&'static [&'static str]),
    List(Box<Shape>),
    /// Keys of any name.
    Map(Box<Shape>),
    Struct {
        fields: Vec<(&'static str, Shape)>,
        /// Whether it may have others.
        is_open: bool,
    },
    /// One of several, and how the type calls them.
    One(Vec<Shape>, String),
    Anything,
}

/// No type is deeper.
const MAX_STEPS: usize = 10;

/// The shape of `T`.
pub(super) fn shape<T: DeserializeOwned>() -> Shape {
    Asked(PhantomData::<T>).at(&mut Vec::new())
}

struct Asked<T>(PhantomData<T>);

impl<T: DeserializeOwned> Asked<T> {
    fn ask(&self, way: &[Step], trial: Trial) -> Seen {
        let seen = RefCell::default();
        // Ends with an error in any case: there is no value.
        let _ = T::deserialize(Probe { way, trial, seen: &seen });
        seen.into_inner()
    }

    fn at(&self, way: &mut Vec<Step>) -> Shape {
        if way.len() > MAX_STEPS {
            return Shape::Anything;
        }
        match self.ask(way, Trial::Look) {
            Seen::Bool => Shape::Bool,
            Seen::Integer(is_signed) => Shape::Integer { is_signed },
            Seen::Fraction => Shape::Fraction,
            Seen::Text => Shape::Text,
            Seen::Choice(choices) => Shape::Choice(choices),
            Seen::List => Shape::List(Box::new(self.step(way, Step::Item))),
            Seen::Map => self.map(way, &[]),
            Seen::Struct(fields) => self.map(way, fields),
            Seen::Any(said) => self.any(way, said),
            Seen::Nothing | Seen::Taken => Shape::Anything,
        }
    }

    fn step(&self, way: &mut Vec<Step>, step: Step) -> Shape {
        way.push(step);
        let shape = self.at(way);
        way.pop();
        shape
    }

    /// A struct, one with the fields of another, or a map of any keys.
    fn map(&self, way: &mut Vec<Step>, own: &[&'static str]) -> Shape {
        let (more, is_open) = match self.ask(way, Trial::Map) {
            Seen::Struct(more) => (more, false),
            Seen::Map => (&[][..], true),
            _ => (&[][..], false),
        };
        let mut names = own.to_vec();
        names.extend(more.iter().filter(|name| !own.contains(name)));
        if names.is_empty() && is_open {
            return Shape::Map(Box::new(self.step(way, Step::Key(NO_KEY))));
        }
        let fields = names.iter().map(|name| (*name, self.step(way, Step::Key(name)))).collect();
        Shape::Struct { fields, is_open }
    }

    fn any(&self, way: &mut Vec<Step>, said: String) -> Shape {
        let [text, number, map, list] = [Trial::Text, Trial::Number, Trial::Map, Trial::List]
            .map(|trial| self.ask(way, trial) != Seen::Nothing);
        if text && number && map && list {
            return Shape::Anything;
        }
        let mut shapes = Vec::new();
        if text {
            shapes.push(Shape::Text);
        }
        if number {
            shapes.push(Shape::Integer { is_signed: false });
        }
        if list {
            shapes.push(Shape::List(Box::new(self.step(way, Step::Item))));
        }
        if map {
            shapes.push(self.map(way, &[]));
        }
        Shape::One(shapes, said)
    }
}
