//! The tools and providers of one `tools.toml`, as one value that can be exchanged while calls run.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::code::{CodeByName, CodeTools, ErasedTool};
use crate::model::gateway::Gateways;
use crate::model::{Provider, ProviderId, ToolName};
use crate::registry::Registry;

/// The tools and providers of one `tools.toml`. Never changes: a call takes it once and keeps it to
/// its end. Bindings of clients are cached for its providers
/// ([`Clients`](super::client::Clients)), so they go with it.
#[derive(Debug, Default)]
pub struct Catalogue {
    registry: Registry,
    providers: BTreeMap<ProviderId, Arc<Provider>>,
    gateways: Gateways,
    code: CodeByName,
}

impl Catalogue {
    /// Combines tools and the providers that they name.
    pub fn new(registry: Registry, providers: BTreeMap<ProviderId, Arc<Provider>>) -> Self {
        Self { registry, providers, gateways: Gateways::default(), code: CodeByName::default() }
    }

    /// Sets the code of the tools that are code.
    #[must_use]
    pub fn with_code(self, code: &CodeTools) -> Self {
        Self { code: code.by_name(), ..self }
    }

    /// The code of a tool.
    pub(super) fn code(&self, tool: &ToolName) -> Option<&Arc<dyn ErasedTool>> {
        self.code.get(tool)
    }

    /// Sets the gateways.
    #[must_use]
    pub fn with_gateways(self, gateways: Gateways) -> Self {
        Self { gateways, ..self }
    }

    /// The tools.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The `[gateways]`.
    pub fn gateways(&self) -> &Gateways {
        &self.gateways
    }

    /// A provider by its name in `tools.toml`.
    pub fn provider(&self, id: &str) -> Option<&Arc<Provider>> {
        self.providers.get(id)
    }

    /// Title of a provider; its name if it is not configured.
    pub(super) fn title(&self, id: &ProviderId) -> String {
        self.provider(id.as_str())
            .map_or_else(|| id.public_name().to_owned(), |found| found.title.clone())
    }

    /// All configured providers.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> + Clone {
        self.providers.values()
    }
}

/// The catalogue that a call which begins now uses.
pub struct CurrentCatalogue(RwLock<Arc<Catalogue>>);

impl From<Catalogue> for CurrentCatalogue {
    fn from(catalogue: Catalogue) -> Self {
        Self(RwLock::new(Arc::new(catalogue)))
    }
}

impl CurrentCatalogue {
    pub(super) fn get(&self) -> Arc<Catalogue> {
        Arc::clone(&self.0.read())
    }

    /// Exchanges the catalogue for calls that begin from now on.
    #[cfg(test)]
    fn replace(&self, catalogue: Catalogue) {
        *self.0.write() = Arc::new(catalogue);
    }
}

#[cfg(test)]
mod tests;
