//! Identifier types, so that one kind of name cannot be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Creates the name without checking it.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// A provider's key in `tools.toml`, e.g. `github`, and a path segment of the redirect URI.
    ProviderId
}
name! {
    /// A tool's key in `tools.toml`, which is the name that MCP clients see.
    ToolName
}
name! {
    /// The end user for whom a call is made. Never taken from a tool's arguments.
    ///
    /// Ids are compared byte by byte, without normalization: `ana` and `Ana` are two people, and so
    /// are two spellings that look alike. The authority that vouches for a name decides how it is
    /// written; a guess that two ids are one person would give each access to the other's accounts.
    UserId
}
name! {
    /// Random name of a process that shares a store.
    InstanceId
}
name! {
    /// A user's name for one of several accounts at the same provider, e.g. `work`.
    AccountName
}

/// Maximum bytes of a user id. Ids are names or addresses; a longer one is a mistake and refused.
const MAX_USER_ID_BYTES: usize = 256;

/// A refused user id: it could not be told apart from another one on a page or in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUserId {
    #[error("the user id must have 1 to {MAX_USER_ID_BYTES} bytes, without white space around it")]
    Size,
    #[error("the user id must not contain control characters")]
    Control,
    /// `an\u{202e}a` looks like another id on a page, and `ana\u{200b}` like `ana`.
    #[error("the user id must not contain invisible characters")]
    Invisible,
}

impl UserId {
    /// Checks an id from a person, a header or an issuer.
    ///
    /// # Errors
    /// [`BadUserId`] if the id is empty, too long, has white space around it, or contains control
    /// or invisible characters.
    pub fn parse(id: &str) -> Result<Self, BadUserId> {
        if id.is_empty() || id.len() > MAX_USER_ID_BYTES || id.trim() != id {
            return Err(BadUserId::Size);
        }
        if id.chars().any(char::is_control) {
            return Err(BadUserId::Control);
        }
        if id.chars().any(super::text::is_ignorable) {
            return Err(BadUserId::Invisible);
        }
        Ok(Self::new(id))
    }
}

impl Default for AccountName {
    /// The account that a call means when it names none.
    fn default() -> Self {
        Self::new("default")
    }
}

/// Maximum characters of an account's name; a longer one is refused.
const MAX_ACCOUNT_NAME_CHARS: usize = 100;

/// A refused account name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account's name has 1 to {MAX_ACCOUNT_NAME_CHARS} characters, all of which can be seen")]
pub struct BadAccountName;

impl AccountName {
    /// Whether this is the account that a call means when it names none.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Trims and checks a name from a person or a model.
    ///
    /// # Errors
    /// [`BadAccountName`] if the name is empty, too long, or contains characters that cannot be
    /// seen.
    pub fn parse(name: &str) -> Result<Self, BadAccountName> {
        let name = name.trim();
        // Otherwise two names that look alike could be two accounts.
        let is_fit = !name.is_empty() && super::text::shown(name, MAX_ACCOUNT_NAME_CHARS) == name;
        if is_fit { Ok(Self::new(name)) } else { Err(BadAccountName) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_what_was_given_or_nothing() {
        let longest = "u".repeat(256);
        for good in ["1", "ana@example.com", "../ana", "a\u{301}na", "Ana B", &longest] {
            assert_eq!(UserId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", " ana", "ana\u{a0}", "a\nb", "a\u{85}b", "a\0", &"u".repeat(257)] {
            assert!(UserId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_seen_cannot_stand_in_a_user_id() {
        let bidi = ['\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{200e}', '\u{61c}'];
        let ignorable = [
            '\u{ad}',
            '\u{34f}',
            '\u{115f}',
            '\u{17b4}',
            '\u{180b}',
            '\u{200b}',
            '\u{200d}',
            '\u{2028}',
            '\u{2060}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{1bca0}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0100}',
            '\u{e0fff}',
        ];
        for hidden in bidi.into_iter().chain(ignorable) {
            for id in [format!("an{hidden}a"), format!("{hidden}ana"), format!("ana{hidden}")] {
                assert!(UserId::parse(&id).is_err(), "{id:?}");
            }
        }
        for good in ["Zoë", "日本", "عمر", "a\u{301}na", "ana+1@example.com", "αβγ"] {
            assert!(UserId::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn ids_that_look_alike_are_different_people() {
        let alike = ["ana", "Ana", "\u{430}na", "an\u{e1}", "ana\u{301}"];
        let people: std::collections::BTreeSet<UserId> =
            alike.iter().map(|id| UserId::parse(id).unwrap()).collect();
        assert_eq!(people.len(), alike.len());
    }
}
