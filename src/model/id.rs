//! Names that must never be mixed up with one another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

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
    /// A provider's key in `tools.toml`, e.g. `github`. It is also a path segment of the redirect URI.
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
    /// are two spellings that look alike. Whoever vouches for a name decides how it is written; to
    /// guess that two of theirs are one person would open one's accounts to the other.
    UserId
}
name! {
    /// A process that shares a store, by a random name of its own.
    InstanceId
}
name! {
    /// What a person calls one of several accounts at the same provider, e.g. `work`.
    AccountName
}

/// Ids are names or addresses; anything longer is a mistake.
const LONGEST_USER: usize = 256;

/// Nobody can be called that: it could not be told apart from another id on a page or in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUserId {
    #[error("the user id must have 1 to {LONGEST_USER} bytes, without white space around it")]
    Size,
    #[error("the user id must not contain control characters")]
    Control,
}

impl UserId {
    /// An id as a person, a header or an issuer gave it.
    ///
    /// # Errors
    /// [`BadUserId`]
    pub fn parse(id: &str) -> Result<Self, BadUserId> {
        if id.is_empty() || id.len() > LONGEST_USER || id.trim() != id {
            return Err(BadUserId::Size);
        }
        if id.chars().any(char::is_control) {
            return Err(BadUserId::Control);
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

/// Longer ones are no names.
const LONGEST_ACCOUNT: usize = 100;

/// An account cannot be called that.
#[derive(Debug, thiserror::Error)]
#[error("an account's name has 1 to {LONGEST_ACCOUNT} characters, all of which can be seen")]
pub struct BadAccountName;

impl AccountName {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// A name that a person or a model gave.
    ///
    /// # Errors
    /// [`BadAccountName`]
    pub fn parse(name: &str) -> Result<Self, BadAccountName> {
        let name = name.trim();
        // Two names that look alike would be two accounts.
        let is_fit = !name.is_empty() && super::text::shown(name, LONGEST_ACCOUNT) == name;
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
    fn ids_that_look_alike_are_different_people() {
        let alike = ["ana", "Ana", "\u{430}na", "an\u{e1}", "ana\u{301}"];
        let people: std::collections::BTreeSet<UserId> =
            alike.iter().map(|id| UserId::parse(id).unwrap()).collect();
        assert_eq!(people.len(), alike.len());
    }
}
