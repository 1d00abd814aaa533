//! The name that is meant by one that nothing has.

use crate::error::Quoted;

/// `did you mean `burst_size`?`, if one of the names is near enough.
pub(crate) fn did_you_mean<N: AsRef<str>>(given: &str, known: &[N]) -> Option<String> {
    let known = || known.iter().map(AsRef::as_ref);
    let name = nearest(given, known()).or_else(|| by_words(given, known()))?;
    Some(format!("did you mean `{}`?", Quoted(name)))
}

/// The first of the names that has all words of `given`, which may be plural: `weighted-robin`, `retries`. One word
/// is a name, and not a part of one.
fn by_words<'n>(given: &str, mut known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let words = |name: &str| -> Vec<String> {
        let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_lowercase).collect()
    };
    let given = Some(given).filter(|given| given.len() <= 64).map(words)?;
    let is = |word: &str, of: &String| {
        let singular = word.strip_suffix("ies").map(|stem| format!("{stem}y"));
        of == word || singular.as_ref() == Some(of) || word.strip_suffix('s') == Some(of)
    };
    known.find(|name| {
        let name = words(name);
        let is_known = |word: &String| name.iter().any(|of| is(word, of));
        !given.is_empty() && (given.len() > 1 || name.len() == 1) && given.iter().all(is_known)
    })
}

/// The nearest of the names, if it is near enough to be meant.
pub(crate) fn nearest<'n>(
    given: &str,
    known: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let given = folded(given);
    // A name of that length is no slip.
    if given.is_empty() || given.len() > 64 {
        return None;
    }
    let far = 1 + given.len() / 4;
    let scored = known.into_iter().filter_map(|name| {
        let folded = folded(name);
        let is_part = given.len().min(folded.len()) > 3
            && (folded.starts_with(&given) || folded.ends_with(&given) || given.ends_with(&folded));
        let distance = distance(&given, &folded, far);
        let score = if is_part { distance.min(far) } else { distance };
        (score <= far).then_some((score, name))
    });
    scored.min_by_key(|(score, _)| *score).map(|(_, name)| name)
}

/// Whether `given` is `name` with a slip; both in small letters and digits.
pub(crate) fn is_slip(given: &str, name: &str) -> bool {
    let far = name.len() / 4;
    // Most are told apart by that. Of bytes, there are as many as letters or more.
    if given.len() + far < name.len() || given.len() > 4 * (name.len() + far) {
        return false;
    }
    let letters = |text: &str| -> Vec<char> { text.chars().take(MAX_LETTERS).collect() };
    distance(&letters(given), &letters(name), far) <= far
}

/// No name is compared beyond.
const MAX_LETTERS: usize = 80;

/// Its letters and digits: `maxRetries`, `max-retries` and `max_retries` are one name.
fn folded(name: &str) -> Vec<char> {
    let letters = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase);
    letters.take(MAX_LETTERS).collect()
}

/// How many letters were left out, put in, changed, or swapped with the next; if they are more than `far`, any
/// number above it.
fn distance(a: &[char], b: &[char], far: usize) -> usize {
    if a.len().abs_diff(b.len()) > far {
        return far + 1;
    }
    // The row before the last one, the last one, and the next.
    let mut rows = [[0_u8; MAX_LETTERS + 1]; 3];
    let (mut before, mut row, mut next) = (0, 1, 2);
    for (cell, index) in rows[row].iter_mut().zip(0..) {
        *cell = index;
    }
    let mut least = 0;
    for ((i, x), step) in a.iter().enumerate().zip(1..) {
        rows[next][0] = step;
        let mut least_now = step;
        for (j, y) in b.iter().enumerate() {
            let change = rows[row][j] + u8::from(x != y);
            let mut cell = change.min(rows[row][j + 1] + 1).min(rows[next][j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cell = cell.min(rows[before][j - 1] + 1);
            }
            rows[next][j + 1] = cell;
            least_now = least_now.min(cell);
        }
        // A cell comes from one of the two rows before it.
        if usize::from(least.min(least_now)) > far {
            return far + 1;
        }
        least = least_now;
        (before, row, next) = (row, next, before);
    }
    rows[row][b.len()].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_other_words_are_not() {
        let known = ["burst_size", "burst", "requests_per_second", "enabled", "time_window"];
        for (given, meant) in [
            ("burstsize", Some("burst_size")),
            ("brust_size", Some("burst_size")),
            ("burst-Size", Some("burst_size")),
            ("enable", Some("enabled")),
            ("window", Some("time_window")),
            ("per_second", Some("requests_per_second")),
            ("password", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), meant, "{given}");
        }
        assert_eq!(did_you_mean("x", &known), None);
        let known_of =
            |given| did_you_mean(given, &["retry", "round-robin", "weighted-round-robin"]);
        assert_eq!(known_of("retries").as_deref(), Some("did you mean `retry`?"));
        let weighted = known_of("weighted-robin");
        assert_eq!(weighted.as_deref(), Some("did you mean `weighted-round-robin`?"));
        assert_eq!(known_of("robin-hood"), None);
        let text = did_you_mean("enalbed", &known);
        assert_eq!(text.as_deref(), Some("did you mean `enabled`?"));
    }
}
