//! Whom a call is accepted from, and how a browser is known to be theirs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Caller;

/// An authenticated end user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub caller: Caller,
    /// What the issuer says that they belong to.
    pub groups: BTreeSet<String>,
    /// How the browser that opens a link of theirs is known to be theirs; without such a way no link
    /// is made.
    pub opener: Result<Opener, NoOpener>,
}

impl Principal {
    /// The one person of a server that only this machine reaches.
    pub fn local(caller: Caller) -> Self {
        Self { caller, groups: BTreeSet::new(), opener: Ok(Opener::Loopback) }
    }

    /// Somebody whose browser is known: that is how they open links, unless these stay on their own
    /// machine.
    pub fn signed_in(caller: Caller, groups: BTreeSet<String>) -> Self {
        let opener = Ok(if caller.is_local() { Opener::Loopback } else { Opener::SignedIn });
        Self { caller, groups, opener }
    }

    /// Whether it is the person whose machine and `tools.toml` this is.
    pub fn is_local(&self) -> bool {
        self.opener == Ok(Opener::Loopback)
    }
}

/// What proves that the browser which finishes a consent belongs to the person who asked for it: a
/// link may be forwarded, and then a stranger's account would end up with whoever forwarded it
/// (cross-user OAuth session fixation).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opener {
    /// The link leads to the loopback address of whatever machine it is opened on: a forwarded one
    /// finds nobody there (RFC 8252 §8.3).
    #[default]
    Loopback,
    /// The browser has signed in here as the caller, before the page and again at the callback.
    SignedIn,
    /// The application whose key asked confirms who sits at the browser; from then on the browser has
    /// a session, as if it had signed in.
    Application(Verifier),
}

/// Where an application says who sits at a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verifier {
    /// The name of the application's key.
    pub key: String,
    /// The exact address that browsers are sent to, plus `flow_id`.
    pub url: Url,
    #[serde(default)]
    pub confirm: ConfirmOrder,
}

/// When an application confirms who sits at a browser that opens a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfirmOrder {
    /// Before the browser is shown anything.
    #[default]
    Before,
    /// When it comes back from the provider, as Arcade does it.
    After,
}

/// There is no way to tell whose browser it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoOpener {
    #[error("this server cannot sign browsers in: `client_id` is missing in [server.auth]")]
    NoClientId,
    #[error("the application `{key}` has no `verifier_url`, so nobody could tell who opens a link")]
    NoVerifier { key: String },
}

impl NoOpener {
    pub fn hint(&self) -> String {
        match self {
            Self::NoClientId => {
                "register this server at the issuer and write its `client_id` in [server.auth]"
                    .into()
            }
            Self::NoVerifier { key } => format!(
                "write `verifier_url`, a page of the application that knows its users, beside `name = \"{key}\"` in [[server.auth.api_keys]]"
            ),
        }
    }
}
