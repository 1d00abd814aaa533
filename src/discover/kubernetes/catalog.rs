//! What there is in a namespace, for what asks once.

use std::collections::BTreeSet;

use super::{
    super::{catalog::Catalog, register::Instance},
    book::Book,
    kubernetes::Kubernetes,
    object::EndpointSlice,
    pages::all,
    query::{SERVICE, Target},
};
use crate::error::BoxError;

/// Those of the namespace of the config that have EndpointSlices.
impl Catalog for Kubernetes {
    async fn list_services(&self) -> Result<Vec<String>, BoxError> {
        let put = |names: &mut BTreeSet<String>, slice: EndpointSlice| {
            names.extend(slice.metadata.labels.and_then(|mut labels| labels.remove(SERVICE)));
            Ok(())
        };
        let (names, _) = all(&self.server, &self.all_services(), put).await?;
        Ok(names.into_iter().collect())
    }

    async fn find_instance(&self, id: &str) -> Result<Option<Instance>, BoxError> {
        let query = self.config.query.clone().with_only_passing(false);
        let put = |book: &mut Book, slice| book.put(slice, &query).map(drop);
        let (book, version) = all(&self.server, &self.all_services(), put).await?;
        let set = book.set(&version)?;
        let Some(endpoint) = set.get(id) else { return Ok(None) };
        let service = endpoint.metadata().get("name").cloned().unwrap_or_default();
        Ok(Some(Instance::new(service, endpoint.as_ref().clone())?))
    }
}

impl Kubernetes {
    fn all_services(&self) -> Target {
        let namespace = self.config.query.namespace.as_deref().unwrap_or(&self.namespace);
        let selector = self.config.query.label_selector.as_ref();
        Target::new(
            namespace,
            None,
            selector.or(self.config.label_selector.as_ref()).map(|of| &**of),
        )
    }
}
