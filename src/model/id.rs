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
