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

    /// Like [`Self::apply`], for scopes that are written in code; `None` if one is no scope.
    pub(super) fn apply_to(&self, scopes: &[String]) -> Option<Scopes> {
        let all: Option<Vec<String>> =
            scopes.iter().map(|scope| is_token(scope).then(|| self.full(scope))).collect();
        all.map(Scopes::new)
    }

    fn checked(&self, scope: &Text, find: &mut Findings<'_>) -> Option<String> {
        if !is_token(&scope.value) {
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

/// Whether a text is a scope (RFC 6749 §3.3): printable ASCII without space, `"` and `\`.
fn is_token(scope: &str) -> bool {
    !scope.is_empty() && scope.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\')
}
