//! Built-in providers: data, in the language of `tools.toml`'s `[providers.*]` tables.
//!
//! `providers.toml` is compiled in. Of its sections only those of providers that a `tools.toml`
//! uses are parsed, because a server with one provider should not pay for all at every start.

use toml::de::{DeTable, DeValue};

use crate::config::file::ProviderTable;
use crate::config::problem::Findings;
use crate::config::read::Read as _;

const PROVIDERS: &str = include_str!("providers.toml");

/// The ids of all built-in providers, in the order of the file.
pub fn ids() -> impl Iterator<Item = &'static str> {
    sections().map(|(id, _)| id)
}

pub fn is_built_in(id: &str) -> bool {
    ids().any(|known| known == id)
}

/// What is known about a built-in provider. Placeholders `{tenant}` and `{host}` still stand.
///
/// The places in it refer to the catalogue, not to any `tools.toml`: whoever reports a problem has
/// to point at what the operator wrote. The tests below make sure that the catalogue has none.
pub fn provider(id: &str) -> Option<ProviderTable> {
    let (_, section) = sections().find(|(known, _)| *known == id)?;
    let mut find = Findings::new(section);
    read(id, section, &mut find)
}

fn read(id: &str, section: &str, find: &mut Findings<'_>) -> Option<ProviderTable> {
    let root = DeTable::parse(section).ok()?;
    let table = root.get_ref().get(id)?;
    matches!(table.get_ref(), DeValue::Table(_)).then(|| ProviderTable::read(table, find))?
}

/// Each provider's id and text: from its `[id]` to the next header without a dot.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    let starts = PROVIDERS.match_indices("\n[").filter_map(|(at, _)| {
        let header = PROVIDERS.get(at + 2..)?.split(']').next()?;
        (!header.contains('.')).then_some((header, at + 1))
    });
    let ends = starts.clone().skip(1).map(|(_, at)| at).chain([PROVIDERS.len()]);
    starts.zip(ends).filter_map(|((id, start), end)| Some((id, PROVIDERS.get(start..end)?)))
}

#[cfg(test)]
mod tests;
