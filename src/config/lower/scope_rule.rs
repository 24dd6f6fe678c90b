//! Scopes as the operator writes them, and as they are requested.

use super::super::findings::Findings;
use super::super::span::Text;
use crate::model::Scopes;

/// The rule that expands short scopes to those that are requested.
#[derive(Clone, Debug, Default)]
pub(super) struct ScopeRule {
    pub(super) prefix: String,
    /// Scopes that get no prefix.
    pub(super) plain: Vec<String>,
}

impl ScopeRule {
    pub(super) fn apply(&self, scopes: &[Text], find: &mut Findings<'_>) -> Scopes {
        Scopes::new(scopes.iter().filter_map(|scope| self.checked(scope, find)))
    }

    fn checked(&self, scope: &Text, find: &mut Findings<'_>) -> Option<String> {
        // RFC 6749 §3.3: printable ASCII without space, `"` and `\`.
        let is_token = !scope.value.is_empty()
            && scope.value.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\');
        if !is_token {
            find.error("provider::scope", &scope.span, "this is no scope")
                .hint("write one scope in each text: `[\"repo\", \"gist\"]`");
            return None;
        }
        Some(self.full(scope.as_str()))
    }

    pub(super) fn full(&self, scope: &str) -> String {
        let is_plain = self.prefix.is_empty()
            || scope.contains("://")
            || self.plain.iter().any(|plain| plain == scope);
        if is_plain { scope.to_owned() } else { format!("{}{scope}", self.prefix) }
    }
}
