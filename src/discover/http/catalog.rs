//! The services that the seeds tell of, for one that asks for them.

use std::sync::Arc;

use super::{
    super::{catalog::Catalog, register::Instance},
    source::Farp,
};
use crate::{
    endpoint::Endpoint,
    error::{BoxError, Error},
};

impl Farp {
    /// What all seeds tell now.
    async fn ask(&self) -> Result<Vec<Arc<Endpoint>>, Error> {
        self.poll_due().await;
        let endpoints = self.endpoints();
        match self.failed() {
            Some(error) if endpoints.is_empty() => Err(error),
            _ => Ok(endpoints),
        }
    }
}

impl Catalog for Farp {
    async fn list_services(&self) -> Result<Vec<String>, BoxError> {
        let names = self.ask().await?;
        let names = names.iter().filter_map(|of| of.metadata().get("name").cloned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn find_instance(&self, id: &str) -> Result<Option<Instance>, BoxError> {
        let found = self.ask().await?.into_iter().find(|of| of.key() == id);
        let found = found.and_then(|of| {
            let name = of.metadata().get("name")?.clone();
            Some(Instance::new(name, (*of).clone()))
        });
        Ok(found.transpose()?)
    }
}
