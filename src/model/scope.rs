//! Sets of OAuth scopes (RFC 6749 §3.3): case-sensitive, without order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Scope that most issuers require to issue a refresh token (OpenID Connect Core §11). It grants
/// nothing at an API, so no tool ever lacks it.
pub const OFFLINE_ACCESS: &str = "offline_access";

/// A set of scope tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<String>);

/// Descriptions of the scopes of OpenID Connect (Core §5.4 and §11). `openid` alone gives an
/// identifier; `offline_access` gives a refresh token.
const OPENID_CONNECT: [(&str, &str); 6] = [
    ("openid", "know who you are"),
    ("profile", "see your name and profile"),
    ("email", "see your e-mail address"),
    ("address", "see your postal address"),
    ("phone", "see your phone number"),
    ("offline_access", "stay connected"),
];

/// Returns a scope's description: in the provider's `stated` words, or else as OpenID Connect
/// defines it, if the request is one of OpenID Connect (`is_openid`). In other requests `email` may
/// mean access to the mail, so only its name is known.
pub fn in_words<'a>(
    stated: Option<&'a BTreeMap<String, String>>,
    scope: &str,
    is_openid: bool,
) -> Option<&'a str> {
    let stated = stated.and_then(|stated| stated.get(scope)).map(String::as_str);
    stated.or_else(|| {
        if !is_openid {
            return None;
        }
        OPENID_CONNECT.iter().find(|(known, _)| *known == scope).map(|(_, words)| *words)
    })
}

/// Scopes by the scope that contains them: GitHub answers `repo` to a request for
/// `repo public_repo`.
pub type Implied = BTreeMap<String, Vec<String>>;

impl Scopes {
    /// Creates a set, without empty scopes.
    pub fn new<S: Into<String>>(scopes: impl IntoIterator<Item = S>) -> Self {
        Self(
            scopes.into_iter().map(Into::into).filter(|scope: &String| !scope.is_empty()).collect(),
        )
    }

    /// The empty set.
    pub const fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// Splits at white space and commas: RFC 6749 says spaces, GitHub and Slack send commas.
    pub fn parse(text: &str) -> Self {
        Self::new(Self::split(text))
    }

    /// The tokens of [`Self::parse`], borrowed.
    pub fn split(text: &str) -> impl Iterator<Item = &str> {
        text.split(|c: char| c.is_whitespace() || c == ',').filter(|scope| !scope.is_empty())
    }

    /// Whether a request for these scopes is an OpenID Connect request (Core §3.1.2.1).
    pub fn is_openid(&self) -> bool {
        self.contains("openid")
    }

    /// Whether there are no scopes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the set has this scope.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether `of` has all of these scopes.
    pub fn is_subset(&self, of: &Scopes) -> bool {
        self.0.is_subset(&of.0)
    }

    /// The scopes of both sets.
    #[must_use]
    pub fn union(&self, other: &Scopes) -> Scopes {
        Scopes(self.0.union(&other.0).cloned().collect())
    }

    /// Returns the scopes of `self` that `granted` has neither directly nor through a wider scope.
    #[must_use]
    pub fn missing_from(&self, granted: &Scopes, implied: &Implied) -> Scopes {
        if self.is_subset(granted) {
            return Scopes::default();
        }
        let granted = granted.closure(implied);
        Scopes(self.0.difference(&granted).cloned().collect())
    }

    /// Returns the scopes of `self` that `granted` has, directly or through a wider scope.
    #[must_use]
    pub fn covered_by(&self, granted: &Scopes, implied: &Implied) -> Scopes {
        let missing = self.missing_from(granted, implied);
        Scopes(self.0.difference(&missing.0).cloned().collect())
    }

    /// Returns the set without this scope.
    #[must_use]
    pub fn without(mut self, scope: &str) -> Scopes {
        self.0.remove(scope);
        self
    }

    fn closure(&self, implied: &Implied) -> BTreeSet<String> {
        let mut all = self.0.clone();
        let mut open: Vec<String> = all.iter().cloned().collect();
        while let Some(scope) = open.pop() {
            for inner in implied.get(&scope).into_iter().flatten() {
                if all.insert(inner.clone()) {
                    open.push(inner.clone());
                }
            }
        }
        all
    }

    /// The scopes in order, as one text.
    pub fn join(&self, separator: &str) -> String {
        self.iter().collect::<Vec<_>>().join(separator)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_scope_covers_what_it_implies() {
        let implied = Implied::from([
            ("admin:org".into(), vec!["write:org".into()]),
            ("write:org".into(), vec!["read:org".into()]),
        ]);
        let needed = Scopes::new(["read:org", "gist"]);
        let missing = needed.missing_from(&Scopes::parse("admin:org"), &implied);
        assert_eq!(missing, Scopes::new(["gist"]));
    }

    #[test]
    fn words_of_openid_connect_are_for_its_requests_alone() {
        assert_eq!(in_words(None, "email", true), Some("see your e-mail address"));
        assert_eq!(in_words(None, "email", false), None);
        let stated = BTreeMap::from([("email".to_owned(), "read your mail".to_owned())]);
        for is_openid in [true, false] {
            assert_eq!(in_words(Some(&stated), "email", is_openid), Some("read your mail"));
        }
    }

    #[test]
    fn commas_and_spaces_both_separate() {
        assert_eq!(Scopes::parse("a,b c,, "), Scopes::new(["a", "b", "c"]));
    }
}
