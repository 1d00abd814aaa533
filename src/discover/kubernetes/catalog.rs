//! What there is in a namespace, for what asks once.

use std::collections::BTreeSet;

use super::{
    super::{catalog::Catalog, register::Instance},
    book::Book,
    kubernetes::Kubernetes,
    pages::all,
    query::{SERVICE, Target},
};
use crate::error::BoxError;

/// Those of the namespace of the config that have EndpointSlices.
impl Catalog for Kubernetes {
    async fn list_services(&self) -> Result<Vec<String>, BoxError> {
        let (slices, _) = all(&self.server, &self.all_services()).await?;
        let labels = slices.into_iter().filter_map(|slice| slice.metadata.labels);
        let names: BTreeSet<String> =
            labels.filter_map(|mut labels| labels.remove(SERVICE)).collect();
        Ok(names.into_iter().collect())
    }

    async fn find_instance(&self, id: &str) -> Result<Option<Instance>, BoxError> {
        let (slices, version) = all(&self.server, &self.all_services()).await?;
        let mut book = Book::default();
        let query = self.config.query.clone().with_only_passing(false);
        for slice in slices {
            book.put(slice, &query).map_err(|_| self.server.has_too_many())?;
        }
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
