//! Whether a browser belongs to the user whose link it opens.

use crate::model::authorization::ConnectLink;
use crate::model::principal::{BrowserProof, ConfirmOrder, Verifier};
use crate::model::{CallConfirmation, Caller};

/// A browser, as far as the web layer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VisitingBrowser {
    /// It reached this machine's loopback listener, so it runs on this machine.
    Loopback,
    /// It came to the public address.
    Public {
        /// The user who has signed in there.
        caller: Option<Caller>,
        /// Fingerprint of its cookie, if it sent one.
        browser: Option<String>,
    },
}

/// The browser may not continue with this link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotYours {
    #[error("this browser is not signed in")]
    NotSignedIn,
    #[error("the link was made for another user than the one who is signed in here")]
    OtherPerson,
    #[error("the application has not confirmed that this is the browser of the link's user")]
    Unconfirmed,
    #[error("the link does not lead here")]
    Elsewhere,
}

/// Owner of a link, and how their browser is known.
#[derive(Clone, Copy)]
pub(in crate::broker) struct LinkOwnership<'a> {
    caller: &'a Caller,
    browser_proof: &'a BrowserProof,
}

impl<'a> From<&'a ConnectLink> for LinkOwnership<'a> {
    fn from(ConnectLink { caller, browser_proof, .. }: &'a ConnectLink) -> Self {
        Self { caller, browser_proof }
    }
}

impl<'a> From<&'a CallConfirmation> for LinkOwnership<'a> {
    fn from(CallConfirmation { caller, browser_proof, .. }: &'a CallConfirmation) -> Self {
        Self { caller, browser_proof }
    }
}

impl VisitingBrowser {
    /// Compares the browser with the link's user. An application's user has a session once the
    /// application has confirmed the browser; see [`super::confirmation`].
    pub(in crate::broker) fn may_finish(&self, link: LinkOwnership<'_>) -> Result<(), NotYours> {
        match (link.browser_proof, self) {
            (BrowserProof::Loopback, Self::Loopback) => Ok(()),
            (
                BrowserProof::SignedIn | BrowserProof::Application(_),
                Self::Public { caller: Some(caller), .. },
            ) if caller == link.caller => Ok(()),
            (BrowserProof::SignedIn, Self::Public { caller: Some(_), .. }) => {
                Err(NotYours::OtherPerson)
            }
            (BrowserProof::SignedIn, Self::Public { caller: None, .. }) => {
                Err(NotYours::NotSignedIn)
            }
            // Also in the browser of another of its users: only the application knows who uses it
            // now.
            (BrowserProof::Application(_), Self::Public { .. }) => Err(NotYours::Unconfirmed),
            (BrowserProof::Loopback, Self::Public { .. })
            | (BrowserProof::SignedIn | BrowserProof::Application(_), Self::Loopback) => {
                Err(NotYours::Elsewhere)
            }
        }
    }

    /// Fingerprint of a browser that may bring a consent for the application to confirm afterwards.
    /// If the application confirms before the consent, that is a browser whose session has ended
    /// since.
    pub(super) fn may_bring(&self, link: &ConnectLink) -> Option<&str> {
        match (&link.browser_proof, self) {
            (
                BrowserProof::Application(Verifier { confirm, .. }),
                Self::Public { caller, browser: Some(browser) },
            ) if *confirm == ConfirmOrder::After || caller.is_none() => Some(browser),
            _ => None,
        }
    }
}
