//! The end user who calls.

use serde::{Deserialize, Serialize};

use super::UserId;
use super::text::quoted;

/// Namespace prefix of the keys in `[[server.auth.api_keys]]`.
const KEY_PREFIX: &str = "key:";

/// The end user on whose behalf a call is made, in the namespace of the authority that vouches for
/// the name.
///
/// Two issuers may both know a `sub` of `1`; the namespace keeps their grants apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Caller {
    /// `local` for stdio and unauthenticated loopback; an issuer or a key's name otherwise;
    /// `server` for the server itself.
    pub namespace: String,
    pub user: UserId,
}

impl Caller {
    /// Namespace of the users of this machine.
    pub const LOCAL: &'static str = "local";
    /// Name of the user of this machine, if no other is given.
    pub const DEFAULT_USER: &'static str = "default";

    /// The user of this machine, named by `--user`, `COUNTERSIGN_USER` or `default`.
    pub fn local(user: UserId) -> Self {
        Self { namespace: Self::LOCAL.into(), user }
    }

    /// Whether this is a user of this machine.
    pub fn is_local(&self) -> bool {
        self.namespace == Self::LOCAL
    }

    /// Namespace as the log and the command line print it and `--of` accepts it: `local`, the name
    /// of an API key, or the issuer's URL. A key's name that could be mistaken for one of the
    /// others keeps its prefix.
    pub fn of(&self) -> &str {
        let name = self.namespace.strip_prefix(KEY_PREFIX);
        name.filter(|name| *name != Self::LOCAL && !name.contains("://")).unwrap_or(&self.namespace)
    }

    /// Option by which a command on this machine means this user, as a shell reads it; `None` for
    /// the user whom commands mean without it, and for users of an application or an issuer.
    pub fn user_option(&self) -> Option<String> {
        let is_named = self.is_local() && self.user.as_str() != Self::DEFAULT_USER;
        // Joined by `=`, since a user id may begin with a dash.
        is_named.then(|| quoted(&format!("--user={}", self.user)).into_owned())
    }

    /// Namespace of the users that the API key of this name vouches for.
    pub fn namespace_of_key(name: &str) -> String {
        format!("{KEY_PREFIX}{name}")
    }

    /// Name of the API key whose users have this namespace.
    pub fn key_of_namespace(namespace: &str) -> Option<&str> {
        namespace.strip_prefix(KEY_PREFIX)
    }

    /// Key under which records of this user alone are kept apart, where the users of its namespace
    /// must not share them.
    pub fn own_space(&self) -> String {
        format!("{}\0{}", self.namespace, self.user)
    }

    /// Key of limits that all users of an API key share, and that each user of an issuer has alone.
    pub fn key_space(&self) -> String {
        if self.is_local() || self.namespace.starts_with(KEY_PREFIX) {
            self.namespace.clone()
        } else {
            self.own_space()
        }
    }

    /// Keys under which records of this user may be kept apart from those of others: together with
    /// the users of its namespace, or alone.
    pub fn spaces(&self) -> [String; 2] {
        [self.namespace.clone(), self.own_space()]
    }

    /// The server itself, which holds the grants that need no user's consent. No end user comes
    /// from this namespace, under any name.
    pub fn server() -> Self {
        Self { namespace: "server".into(), user: UserId::new("server") }
    }
}
