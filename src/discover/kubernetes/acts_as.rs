//! The user that a request is for, if that is another than the one that proves itself: `as` of a kubeconfig.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{super::encode::encode, kube_file::User, mistake::mistake};
use crate::error::Error;

/// Most groups and other values.
const MAX_VALUES: usize = 1_000;

/// What tells it, with each request. Nothing, for the one that proves itself.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct ActsAs(Vec<(HeaderName, HeaderValue)>);

impl ActsAs {
    pub(super) fn of(user: &User) -> Result<Self, Error> {
        let groups = user.as_groups.iter().flatten();
        let extra = user.as_user_extra.iter().flatten();
        let extra = extra.flat_map(|(key, values)| {
            // Kubernetes reads `%` in it as in URLs.
            let name = format!("impersonate-extra-{}", encode(key));
            values.iter().flatten().map(move |value| (name.clone(), value))
        });
        let uid = user.as_uid.iter().map(|uid| ("impersonate-uid".to_owned(), uid));
        let groups = groups.map(|group| ("impersonate-group".to_owned(), group));
        let others: Vec<_> = uid.chain(groups).chain(extra).take(MAX_VALUES + 1).collect();
        let Some(name) = &user.acts_as else {
            return match others.is_empty() {
                true => Ok(Self::default()),
                // Which would act as itself, with all that it may.
                false => Err(mistake(
                    "the user of the kubeconfig has `as-uid`, `as-groups` or `as-user-extra` without \
                     `as`: name the user that it acts as"
                        .to_owned(),
                )),
            };
        };
        if others.len() > MAX_VALUES {
            return Err(mistake(format!(
                "the user of the kubeconfig acts `as` one with more than {MAX_VALUES} groups and values"
            )));
        }
        let named = [("impersonate-user".to_owned(), name)];
        let headers = named.into_iter().chain(others).map(|(name, value)| {
            let unusable = || {
                let what =
                    "what the user of the kubeconfig acts `as` has characters that no header has";
                mistake(what.to_owned())
            };
            let name = HeaderName::try_from(name).map_err(|_| unusable())?;
            Ok((name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unusable())?))
        });
        headers.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            headers.append(name, value.clone());
        }
    }
}
