//! Checks of endpoints that say themselves how they are to be checked.

use std::borrow::Cow;

use super::{check::HttpCheck, target::Target};
use crate::endpoint::{Endpoint, EndpointCheck};

impl HttpCheck {
    /// What `endpoint` says how to check it, unless this asks for one URL, whatever the endpoint.
    pub(super) fn told_by<'a>(&self, endpoint: Option<&'a Endpoint>) -> Option<&'a EndpointCheck> {
        endpoint?.check().filter(|_| matches!(self.target, Target::Path(_)))
    }

    /// This check, with what the endpoint says in place of its own.
    pub(super) fn with_own(&self, own: Option<&EndpointCheck>) -> Cow<'_, Self> {
        let Some(own) = own else { return Cow::Borrowed(self) };
        let mut check = self.clone();
        if !own.path().is_empty() {
            check.target = Target::Path(own.path().to_owned());
        }
        check = own.method().into_iter().fold(check, Self::method);
        check = own.headers().iter().fold(check, |check, (name, value)| check.header(name, value));
        check = own.body().into_iter().fold(check, |check, body| check.body(body.to_owned()));
        Cow::Owned(own.expected().into_iter().fold(check, Self::expect))
    }
}
