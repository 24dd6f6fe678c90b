//! The authenticated user of a call, and the proof that a browser is theirs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Caller;
use super::gateway::OfferedTools;

/// An authenticated end user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub caller: Caller,
    /// The user's groups, as stated by the issuer.
    pub groups: BTreeSet<String>,
    /// How a browser that opens the user's link is proven to be theirs. Without a way to prove it,
    /// no link is made.
    pub browser_proof: Result<BrowserProof, NoBrowserProof>,
    /// The tools that the path of the request offers.
    pub offered: OfferedTools,
    /// Whether the application that names the user may be given the access tokens themselves.
    pub gets_tokens: bool,
}

impl Principal {
    /// A user with every tool that `allow` grants them.
    pub fn new(
        caller: Caller,
        groups: BTreeSet<String>,
        browser_proof: Result<BrowserProof, NoBrowserProof>,
    ) -> Self {
        Self { caller, groups, browser_proof, offered: OfferedTools::All, gets_tokens: false }
    }

    /// The only user of a server that only this machine reaches.
    pub fn local(caller: Caller) -> Self {
        Self::new(caller, BTreeSet::new(), Ok(BrowserProof::Loopback))
    }

    /// A user whose browser has a session. The session opens their links, unless these stay on the
    /// user's own machine.
    pub fn signed_in(caller: Caller, groups: BTreeSet<String>) -> Self {
        let browser_proof =
            Ok(if caller.is_local() { BrowserProof::Loopback } else { BrowserProof::SignedIn });
        Self::new(caller, groups, browser_proof)
    }

    /// Whether this is the user who owns this machine and its `tools.toml`.
    pub fn is_local(&self) -> bool {
        self.browser_proof == Ok(BrowserProof::Loopback)
    }
}

/// Proof that the browser which finishes a consent belongs to the user who asked for it. Without
/// it, a user could forward a link and receive access to the account of the person who opens it
/// (cross-user OAuth session fixation).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrowserProof {
    /// The link leads to the loopback address of the machine that opens it: a forwarded link finds
    /// no listener there (RFC 8252 §8.3).
    #[default]
    Loopback,
    /// The browser has a session of the caller, checked before the page and again at the callback.
    SignedIn,
    /// The application whose key made the request confirms the browser's user; from then on the
    /// browser has a session, as if it had signed in.
    Application(Verifier),
}

/// Page of an application that identifies a browser's user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verifier {
    /// The name of the application's key.
    pub key: String,
    /// The exact address that browsers are sent to, plus `flow_id`.
    pub url: Url,
    #[serde(default)]
    pub confirm: ConfirmOrder,
}

/// When an application confirms the user of a browser that opens a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfirmOrder {
    /// Before the browser is shown anything.
    #[default]
    Before,
    /// When the browser comes back from the provider, as Arcade does it.
    After,
}

/// Why the server cannot prove whose browser opens a link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBrowserProof {
    #[error("this server cannot sign browsers in: `client_id` is missing in [server.auth]")]
    NoClientId,
    #[error(
        "the application `{key}` has no `verifier_url`, so this server could not tell whose browser opens a link"
    )]
    NoVerifier { key: String },
}

impl NoBrowserProof {
    /// Returns what the operator can do about it.
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
