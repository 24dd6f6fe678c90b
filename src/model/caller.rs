//! Who calls.

use serde::{Deserialize, Serialize};

use super::UserId;

/// Namespace prefix of the keys in `[[server.auth.api_keys]]`.
const KEY_PREFIX: &str = "key:";

/// The end user on whose behalf a call is made, kept apart by who vouches for the name.
///
/// Two issuers may both know a `sub` of `1`; the namespace keeps their grants apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Caller {
    /// `local` for stdio and unauthenticated loopback; an issuer or a key's name otherwise; `server`
    /// for the server itself.
    pub namespace: String,
    pub user: UserId,
}

impl Caller {
    /// The person at this machine, named by `--user`, `COUNTERSIGN_USER` or `default`.
    pub fn local(user: UserId) -> Self {
        Self { namespace: "local".into(), user }
    }

    /// Whether it is such a person.
    pub fn is_local(&self) -> bool {
        self.namespace == "local"
    }

    /// The namespace as the log and the command line write it, and `--of` takes it: `local`, the name of
    /// an API key, or the issuer's URL. A key's name that could be taken for one of the others keeps its
    /// prefix.
    pub fn of(&self) -> &str {
        let name = self.namespace.strip_prefix(KEY_PREFIX);
        name.filter(|name| *name != "local" && !name.contains("://")).unwrap_or(&self.namespace)
    }

    /// The namespace of the users whom the API key of this name vouches for.
    pub fn namespace_of_key(name: &str) -> String {
        format!("{KEY_PREFIX}{name}")
    }

    /// The server itself, which is granted what no person is asked for. No end user comes from this
    /// namespace, whatever they are called.
    pub fn server() -> Self {
        Self { namespace: "server".into(), user: UserId::new("server") }
    }
}
