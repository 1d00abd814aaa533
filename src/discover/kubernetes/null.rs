//! Values of a kubeconfig that are written, and are none. An empty text is as if it was not there, and `null` is an empty
//! value, as for `kubectl`: tools that fill in a form write all keys, and what is never used is no mistake.

use serde::{Deserialize, Deserializer};

pub(super) fn filled<'de, D: Deserializer<'de>, T: From<String>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.filter(|text| !text.is_empty()).map(T::from))
}

/// An empty value, if it is `null`.
pub(super) fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A list, of which an element may be `null`, too.
pub(super) fn listed<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let all = Option::<Vec<Option<T>>>::deserialize(from)?;
    Ok(all.map(|all| all.into_iter().map(Option::unwrap_or_default).collect()))
}
