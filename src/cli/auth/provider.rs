//! Finds the provider that a command names.

use std::sync::Arc;

use anyhow::anyhow;

use crate::cli::report::{Hint, Usage};
use crate::model::Provider;
use crate::model::text::nearest;

/// Finds the provider of this name.
///
/// # Errors
/// If there is none; the hint names the nearest one, or those that can be connected.
pub(super) fn find<'p>(
    providers: impl Iterator<Item = &'p Arc<Provider>> + Clone,
    name: &str,
) -> anyhow::Result<&'p Arc<Provider>> {
    if let Some(provider) = providers.clone().find(|provider| provider.id.as_str() == name) {
        return Ok(provider);
    }
    let hint = match nearest(name, providers.clone().map(|provider| provider.id.as_str())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => match connectable(providers).join(", ") {
            none if none.is_empty() => "name it in a tool, or give it a [providers] table".into(),
            all => format!("those that can be connected are {all}"),
        },
    };
    let problem = format!("there is no provider `{name}` in this tools.toml");
    Err(anyhow!(Usage(problem)).context(Hint(hint)))
}

/// Returns the providers that need a user's consent.
pub(super) fn connectable<'p>(providers: impl Iterator<Item = &'p Arc<Provider>>) -> Vec<&'p str> {
    providers
        .filter(|provider| provider.is_by_consent())
        .map(|provider| provider.id.as_str())
        .collect()
}
