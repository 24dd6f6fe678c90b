//! Built-in providers and [`toolkits`]: data, in the language of `tools.toml`.
//!
//! `providers.toml` is compiled in. Only the sections of providers that a `tools.toml` uses are
//! parsed, so that a server with one provider does not pay for all of them at every start.

pub mod toolkits;

const PROVIDERS: &str = include_str!("providers.toml");

/// Yields the ids of all built-in providers, in the order of the file.
pub fn ids() -> impl Iterator<Item = &'static str> {
    sections().map(|(id, _)| id)
}

/// Whether there is a built-in provider with this id.
pub fn is_built_in(id: &str) -> bool {
    ids().any(|known| known == id)
}

/// Returns a built-in provider's section as TOML with the one table `[id]`, or `None` for an
/// unknown id. Placeholders such as `{tenant}` and `{host}` are not filled in.
pub fn provider(id: &str) -> Option<&'static str> {
    sections().find(|(known, _)| *known == id).map(|(_, section)| section)
}

/// Yields each provider's id and text, from its `[id]` to the next header without a dot.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    let starts = PROVIDERS.match_indices("\n[").filter_map(|(at, _)| {
        let header = PROVIDERS.get(at + 2..)?.split(']').next()?;
        (!header.contains('.')).then_some((header, at + 1))
    });
    let ends = starts.clone().skip(1).map(|(_, at)| at).chain([PROVIDERS.len()]);
    starts.zip(ends).filter_map(|((id, start), end)| Some((id, PROVIDERS.get(start..end)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_found_once_and_whole() {
        let whole: toml::Table = PROVIDERS.parse().unwrap();
        let ids: std::collections::BTreeSet<&str> = ids().collect();
        assert_eq!(ids.into_iter().collect::<Vec<_>>(), {
            let mut keys: Vec<&str> = whole.keys().map(String::as_str).collect();
            keys.sort_unstable();
            keys
        });
        assert_eq!(sections().count(), whole.len());
        assert!(provider("nobody").is_none());
    }
}
