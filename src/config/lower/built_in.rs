//! The built-in providers, read as if they were written in `tools.toml`.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::{placeholder, provider};
use crate::catalog;
use crate::config::file::ProviderTable;
use crate::config::problem::Findings;
use crate::config::read::{Read as _, Text};
use crate::model::Provider;
use crate::model::credential::Retention;

/// A built-in provider that is not set up yet.
#[derive(Clone, Debug)]
pub struct BuiltIn {
    /// The provider, with examples in place of the missing keys in `needs`.
    pub provider: Arc<Provider>,
    /// Page where the app is registered, with placeholders not filled in.
    pub console_url: String,
    /// Keys that its table in `tools.toml` must have, e.g. `shop`.
    pub needs: Vec<&'static str>,
}

/// Returns a built-in provider as it is without a `tools.toml`; `None` for an unknown id.
pub fn built_in(id: &str) -> Option<BuiltIn> {
    let mut table = self::provider(id)?;
    let console_url = table.console_url.as_ref().map(|text| text.value.clone());
    let needs = placeholder::imagine(&mut table);
    let id = Text::new(id.to_owned(), 0..0);
    let known = provider::provider(&id, Some(table), Retention::default(), &mut Findings::new(""))?;
    Some(BuiltIn { provider: known.provider, console_url: console_url.unwrap_or_default(), needs })
}

/// Returns a built-in provider's table.
///
/// Its positions refer to the catalogue, not to a `tools.toml`, so a report of a problem must point
/// at text that the operator wrote. The tests below ensure that the catalogue has no problems.
pub(super) fn provider(id: &str) -> Option<ProviderTable> {
    let section = catalog::provider(id)?;
    read(id, section, &mut Findings::new(section))
}

fn read(id: &str, section: &str, find: &mut Findings<'_>) -> Option<ProviderTable> {
    let root = DeTable::parse(section).ok()?;
    let table = root.get_ref().get(id)?;
    matches!(table.get_ref(), DeValue::Table(_)).then(|| ProviderTable::read(table, find))?
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_table_is_without_a_mistake() {
        for id in catalog::ids() {
            let section = catalog::provider(id).unwrap();
            let mut find = Findings::new(section);
            assert!(read(id, section, &mut find).is_some(), "{id}");
            let problems = find.finish(Path::new("providers.toml"));
            assert!(problems.list.is_empty(), "{id}: {problems}");
        }
    }
}
