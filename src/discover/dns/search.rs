//! The names that a name may stand for, in the order of the search path, and which of them counts.

use std::ops::ControlFlow;

use hickory_resolver::{TokioResolver, proto::rr::Name};

use crate::error::BoxError;

/// The names to ask for, in their order: as the search path and `ndots` of the resolver say.
pub(super) fn names(resolver: &TokioResolver, host: &str) -> Result<Vec<Name>, BoxError> {
    let mut own = Name::from_utf8(host)?;
    if own.is_fqdn() {
        return Ok(vec![own]);
    }
    let (config, options) = (resolver.config(), resolver.options());
    // On Unix the domain of the host counts only where no other is named, and of what a file names the last line.
    let has_others = cfg!(unix) && !config.search().is_empty();
    let domains = config.domain().filter(|_| !has_others).into_iter().chain(config.search());
    // What would be too long is no name.
    let within = domains.filter_map(|domain| own.clone().append_domain(domain).ok());
    let mut names: Vec<Name> = within.collect();
    let is_first = usize::from(own.num_labels()) > options.ndots || own.is_localhost();
    own.set_fqdn(true);
    names.insert(if is_first { 0 } else { names.len() }, own);
    let mut seen = Vec::with_capacity(names.len());
    names.retain(|name| {
        let is_new = !seen.contains(name);
        seen.push(name.clone());
        is_new
    });
    Ok(names)
}

/// What was heard of the names so far.
#[derive(Debug)]
pub(super) struct Heard<'a, T> {
    /// The name that was found the last time.
    last: Option<&'a Name>,
    none: Option<T>,
    failed: Option<BoxError>,
}

impl<'a, T> Heard<'a, T> {
    pub(super) fn new(last: Option<&'a Name>) -> Self {
        Self { last, none: None, failed: None }
    }

    /// Takes over the answer for a name. It is the one if it has something; and if it fails for the name that was
    /// found the last time, of which no other takes the place.
    pub(super) fn take(
        &mut self,
        name: &Name,
        answer: Result<T, BoxError>,
        has_some: impl FnOnce(&T) -> bool,
    ) -> ControlFlow<Result<T, BoxError>> {
        match answer {
            Ok(answer) if has_some(&answer) => return ControlFlow::Break(Ok(answer)),
            Ok(answer) => self.none = Some(answer),
            Err(error) if self.last == Some(name) => return ControlFlow::Break(Err(error)),
            Err(error) => drop(self.failed.get_or_insert(error)),
        }
        ControlFlow::Continue(())
    }

    /// No name has anything; or one that was not answered may have.
    pub(super) fn end(self) -> Result<T, BoxError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.none.ok_or_else(|| "there is no name to ask for".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::{
        config::{ResolverConfig, ResolverOpts},
        name_server::TokioConnectionProvider,
    };

    use super::*;

    #[test]
    fn the_domain_of_the_host_is_looked_in_if_no_other_is_named() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        for (search, expected) in [
            (&[][..], &["tax.host.example.", "tax."][..]),
            #[cfg(unix)]
            (&["a.example.", "b.example."], &["tax.a.example.", "tax.b.example.", "tax."]),
            #[cfg(unix)]
            (&["."], &["tax."]),
        ] {
            let search = search.iter().map(|of| name(of)).collect();
            let config = ResolverConfig::from_parts(Some(name("host.example.")), search, vec![]);
            let provider = TokioConnectionProvider::default();
            let builder = TokioResolver::builder_with_config(config, provider);
            let resolver = builder.with_options(ResolverOpts::default()).build();
            let names = names(&resolver, "tax").unwrap();
            assert_eq!(names, expected.iter().map(|of| name(of)).collect::<Vec<_>>());
        }
    }
}
