//! Whether the browser that came is the browser of the person whose link it brings.

use super::{Broker, ConnectError};
use crate::model::principal::{ConfirmOrder, Opener, Verifier};
use crate::model::{Authorization, Caller};
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
    #[error("this browser is not signed in")]
    Unknown,
    #[error("the link was made for another user than the one who is signed in here")]
    OtherPerson,
    #[error("the application has not confirmed that this is the browser of the link's user")]
    Unconfirmed,
    #[error("the link does not lead here")]
    Elsewhere,
}

impl Visitor {
    /// Compares the browser with the person who asked. An application's user has a session once the
    /// application has confirmed the browser, see [`super::confirmation`].
    pub(super) fn may_finish(&self, authorization: &Authorization) -> Result<(), Stranger> {
        match (&authorization.opener, self) {
            (Opener::Loopback, Self::Loopback) => Ok(()),
            (
                Opener::SignedIn | Opener::Application(_),
                Self::Public { caller: Some(caller), .. },
            ) if *caller == authorization.caller => Ok(()),
            (Opener::SignedIn, Self::Public { caller: Some(_), .. }) => Err(Stranger::OtherPerson),
            (Opener::SignedIn, Self::Public { caller: None, .. }) => Err(Stranger::Unknown),
            // Also in the browser of another of its users: who sits there now the application knows.
            (Opener::Application(_), Self::Public { .. }) => Err(Stranger::Unconfirmed),
            (Opener::Loopback, Self::Public { .. })
            | (Opener::SignedIn | Opener::Application(_), Self::Loopback) => {
                Err(Stranger::Elsewhere)
            }
        }
    }

    /// The fingerprint of a browser that may bring a consent which the application has to confirm
    /// afterwards. Where it confirms before, its session may have ended on the way.
    pub(super) fn may_bring(&self, authorization: &Authorization) -> Option<&str> {
        match (&authorization.opener, self) {
            (
                Opener::Application(Verifier { confirm, .. }),
                Self::Public { caller, browser: Some(browser) },
            ) if *confirm == ConfirmOrder::After || caller.is_none() => Some(browser),
            _ => None,
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
