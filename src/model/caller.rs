//! Who calls.

use serde::{Deserialize, Serialize};

use super::UserId;

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

    /// The server itself, which is granted what no person is asked for. No end user comes from this
    /// namespace, whatever they are called.
    pub fn server() -> Self {
        Self { namespace: "server".into(), user: UserId::new("server") }
    }
}
