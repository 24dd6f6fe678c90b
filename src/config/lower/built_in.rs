//! The built-in providers, read as if they were written in `tools.toml`.

use toml::de::{DeTable, DeValue};

use crate::catalog;
use crate::config::file::ProviderTable;
use crate::config::findings::Findings;
use crate::config::read::Read as _;

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
