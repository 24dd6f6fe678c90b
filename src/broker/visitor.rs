//! Whether the browser that came is the browser of the person whose link it brings.

use super::{Broker, ConnectError};
use crate::model::principal::Opener;
use crate::model::{Authorization, Caller, Status};
use crate::store::Held;

/// A browser, as far as the face that it came to knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visitor {
    /// It reached this machine's loopback listener, and so sits at this machine.
    Loopback,
    /// It came to the address that everybody reaches.
    Public {
        /// Whoever has signed in there.
        caller: Option<Caller>,
        /// The fingerprint of its cookie, if it brought one.
        browser: Option<String>,
    },
}

/// The browser may not go on with this link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    #[error("nobody is signed in in this browser")]
    Unknown,
    #[error("the link was made for somebody else than the person who is signed in here")]
    OtherPerson,
    #[error("the consent of this link was given in another browser")]
    OtherBrowser,
    #[error("the link does not lead here")]
    Elsewhere,
}

impl Visitor {
    /// Compares the browser with the person who asked. An application tells who it was only after
    /// the callback, see [`super::confirmation`].
    pub(super) fn may_finish(&self, authorization: &Authorization) -> Result<(), Stranger> {
        match (&authorization.opener, self) {
            (Opener::Loopback, Self::Loopback) => Ok(()),
            (Opener::SignedIn, Self::Public { caller: Some(caller), .. }) => {
                let is_theirs = *caller == authorization.caller;
                if is_theirs { Ok(()) } else { Err(Stranger::OtherPerson) }
            }
            (Opener::SignedIn, Self::Public { caller: None, .. }) => Err(Stranger::Unknown),
            // Once the application has said whose browser it was, what came of it is that browser's:
            // whoever else has the link must not see the account, end it, or answer for the person.
            (Opener::Application(_), Self::Public { browser, .. }) => {
                let is_theirs = browser.is_some() && *browser == authorization.browser;
                let is_anybodys =
                    matches!(authorization.status, Status::Pending | Status::Failed(_));
                if is_theirs || is_anybodys { Ok(()) } else { Err(Stranger::OtherBrowser) }
            }
            (Opener::Loopback, Self::Public { .. })
            | (Opener::SignedIn | Opener::Application(_), Self::Loopback) => {
                Err(Stranger::Elsewhere)
            }
        }
    }

    pub(super) fn browser(&self) -> Option<&String> {
        match self {
            Self::Loopback => None,
            Self::Public { browser, .. } => browser.as_ref(),
        }
    }
}

impl Broker {
    /// The authorization behind a link, if this browser may have to do with it.
    pub(super) async fn behind(
        &self,
        ticket: &str,
        visitor: &Visitor,
    ) -> Result<Held<Authorization>, ConnectError> {
        let held = self.store().await?.by_ticket(ticket).await?.ok_or(ConnectError::Unknown)?;
        match visitor.may_finish(&held.value) {
            Ok(()) => Ok(held),
            // That there is such a link is nobody's business at another address.
            Err(Stranger::Elsewhere) => Err(ConnectError::Unknown),
            Err(stranger) => Err(ConnectError::Stranger(stranger)),
        }
    }
}
