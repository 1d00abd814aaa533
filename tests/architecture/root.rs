//! What the root of the crate hands on: the paved names alone, each with its one home elsewhere.

use std::collections::BTreeSet;

use crate::{
    imports::flatten,
    sources::{sources, without_comments},
};

/// The list is part of the design: change it only with a reason.
const PAVED: &[&str] = &[
    "Attempts",
    "BalanceLayer",
    "BoxError",
    "Call",
    "CircuitBreakerConfig",
    "CircuitBreakerLayer",
    "Classify",
    "ConcurrencyLimitLayer",
    "Endpoint",
    "Error",
    "FailoverLayer",
    "HealthGateLayer",
    "HttpCheck",
    "LeastRequest",
    "Outcome",
    "PeakEwma",
    "Quota",
    "RateLimitLayer",
    "Reply",
    "connect_fn",
];

/// The names that `text` re-exports, and those of them without `#[doc(no_inline)]`.
fn handed_on(text: &str) -> (Vec<String>, Vec<String>) {
    let code = without_comments(text);
    let (mut names, mut inlined) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(start) = code[at..].find("pub use ").map(|found| found + at) {
        let end = code[start..].find(';').unwrap() + start;
        // The attributes of an item are all that stands between it and the end of the one before.
        let attributes = code[at..start].rsplit([';', '}']).next().unwrap();
        let found = flatten(&code[start + "pub use ".len()..end]).into_iter().map(|(_, name)| name);
        let found: Vec<_> = found.collect();
        if !attributes.contains("#[doc(no_inline)]") {
            inlined.extend(found.clone());
        }
        names.extend(found);
        at = end + 1;
    }
    (names, inlined)
}

#[test]
fn the_root_hands_on_the_paved_names_and_no_others() {
    let root = sources().into_iter().find(|source| source.module.is_empty()).unwrap();
    let (names, inlined) = handed_on(&root.text);
    let expected: BTreeSet<&str> = PAVED.iter().copied().collect();
    let found: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(found, expected);
    assert_eq!(names.len(), PAVED.len(), "one name twice: {names:?}");
    assert!(inlined.is_empty(), "without `#[doc(no_inline)]`: {inlined:?}");
    // Nor is anything defined there.
    for line in root.code.lines().filter(|line| line.starts_with("pub ")) {
        let word = line.split(' ').nth(1).unwrap();
        assert!(["mod", "use"].contains(&word), "defined in the root: {line}");
    }
}

#[test]
fn the_scan_of_the_root_sees_what_it_has_to_see() {
    let text = "
        pub mod one;
        #[cfg(feature = \"http\")]
        #[doc(no_inline)]
        pub use self::one::One;
        pub use self::{one::Two, two::{self, Three as Four}}; // pub use self::Five;
    ";
    let (names, inlined) = handed_on(text);
    assert_eq!(names, ["One", "Two", "two", "Four"]);
    assert_eq!(inlined, ["Two", "two", "Four"]);
}
