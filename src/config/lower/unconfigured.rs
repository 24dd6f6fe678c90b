//! Built-in providers as they are without a `tools.toml`.

use std::sync::Arc;

use super::built_in::provider as table;
use super::{placeholder, provider};
use crate::config::findings::Findings;
use crate::config::span::Text;
use crate::model::Provider;
use crate::model::retention::Retention;

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
    let mut written = table(id)?;
    let console_url = written.console_url.as_ref().map(|text| text.value.clone());
    let needs = placeholder::imagine(&mut written);
    let id = Text::new(id.to_owned(), 0..0);
    let known =
        provider::provider(&id, Some(written), Retention::default(), &mut Findings::new(""))?;
    Some(BuiltIn { provider: known.provider, console_url: console_url.unwrap_or_default(), needs })
}
