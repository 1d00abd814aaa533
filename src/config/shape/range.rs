//! The range of a number, found by asking the section that has it.

use serde_json::{Value, json};

use crate::config::{model::Sections, names::is_same, rules::mistakes};

/// The least and the greatest value that a key may have, and whether they are just out of range.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Range<T> {
    pub(super) min: Option<T>,
    pub(super) max: Option<T>,
    pub(super) is_above_min: bool,
    pub(super) is_below_max: bool,
}

/// Sections in which one key decides what the others are.
const CHOICES: [(&str, &str, &[&str]); 2] = [
    ("budget", "rule", &["share", "throttle", "standard", "concurrent"]),
    ("fallback", "strategy", &["cached"]),
];

/// A number of a section, such as `balance.outlier.interval`.
pub(super) struct Number<'p> {
    section: &'p str,
    keys: Vec<&'p str>,
    /// The section, with a place for the number.
    base: Value,
}

impl<'p> Number<'p> {
    /// Finds a section in which the key may have one of some values, and that value.
    pub(super) fn new<T: Copy + Into<Value>>(
        path: &'p str,
        sections: &Value,
        tried: &[T],
    ) -> Option<(Self, T)> {
        let mut keys = path.split('.');
        let section = keys.next().filter(|section| sections.get(section).is_some())?;
        let keys: Vec<_> = keys.collect();
        let choices = CHOICES.iter().filter(|(of, ..)| *of == section);
        let mut bases: Vec<_> = choices
            .flat_map(|(_, key, choices)| choices.iter().map(move |choice| json!({ *key: choice })))
            .collect();
        if bases.is_empty() {
            bases.extend([sections[section].clone(), json!({})]);
        }
        bases.into_iter().find_map(|base| {
            let number = Self { section, keys: keys.clone(), base };
            let fits = tried.iter().find(|value| number.fits((**value).into()));
            fits.map(|value| (number, *value))
        })
    }

    /// Whether the section takes a value, or says that it is another key which is wrong then.
    pub(super) fn fits(&self, value: Value) -> bool {
        let mut section = self.base.clone();
        let mut at = &mut section;
        for key in &self.keys {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[*key];
        }
        *at = value;
        let Ok(sections) = serde_json::from_value::<Sections>(json!({ self.section: section }))
        else {
            return false;
        };
        let Err(error) = sections.validate() else { return true };
        let name = self.keys.last().copied().unwrap_or_default();
        mistakes(error.what()).iter().all(|(key, said)| {
            let last = key.and_then(|key| key.rsplit('.').next());
            let is_own = last.is_some_and(|key| self.keys.iter().any(|own| is_same(key, own)));
            let mut others = said.split('`').skip(1).step_by(2);
            !is_own || others.any(|other| !is_same(other, name))
        })
    }
}

/// The range of a natural number.
pub(super) fn naturals(path: &str, sections: &Value) -> Range<u64> {
    let tried = [1, 2, 4, 10, 50, 100, 1_000, 10_000, 100_000, 1 << 20];
    let Some((number, good)) = Number::new(path, sections, &tried) else { return Range::default() };
    let fits = |value: u64| number.fits(value.into());
    Range {
        min: (!fits(0)).then(|| turn(0, good, &fits)),
        max: (!fits(u64::MAX)).then(|| turn(u64::MAX, good, &fits)),
        ..Range::default()
    }
}

/// The last good value on the way from a good one to a bad one.
pub(super) fn turn(mut bad: u64, mut good: u64, fits: &impl Fn(u64) -> bool) -> u64 {
    while bad.abs_diff(good) > 1 {
        let between = bad.min(good) + bad.abs_diff(good) / 2;
        *if fits(between) { &mut good } else { &mut bad } = between;
    }
    good
}

/// The range of a fraction, whose ends are those that people choose.
pub(super) fn fractions(path: &str, sections: &Value) -> Range<f64> {
    const ENDS: [f64; 9] = [0.0, 0.001, 0.5, 0.999, 1.0, 10.0, 100.0, 1e6, 1e9];
    /// Nearer to an end than any number that is meant.
    const NEAR: f64 = 1e-9;
    let tried = [0.5, 0.75, 1.0, 2.0, 10.0, 100.0, 0.01];
    let Some((number, good)) = Number::new(path, sections, &tried) else { return Range::default() };
    let fits = |value: f64| number.fits(value.into());
    // An end, on the good side of which all is well, and on the other nothing.
    let is_end = |end: f64, out: f64| !fits(end + out) && fits(end - out);
    let min = ENDS.into_iter().find(|&end| end <= good && is_end(end, -NEAR));
    let max = ENDS.into_iter().find(|&end| end >= good && is_end(end, NEAR * end.max(1.0)));
    Range {
        min,
        max,
        is_above_min: min.is_some_and(|min| !fits(min)),
        is_below_max: max.is_some_and(|max| !fits(max)),
    }
}
