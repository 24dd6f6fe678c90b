//! Whether the browser that came is the browser of the person whose link it brings.

use super::{Broker, ConnectError};
use crate::model::principal::Opener;
use crate::model::{Authorization, Caller};
use crate::store::Held;

/// A browser, as far as the face that it came to knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visitor {
    /// It reached this machine's loopback listener, and so sits at this machine.
    Loopback,
    /// It came to the address that everybody reaches; whoever has signed in there.
    Public(Option<Caller>),
}

/// The browser may not go on with this link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    #[error("nobody is signed in in this browser")]
    Unknown,
    #[error("the link was made for somebody else than the person who is signed in here")]
    OtherPerson,
    #[error("the link does not lead here")]
    Elsewhere,
}

impl Visitor {
    /// Compares the browser with the person who asked. An application tells who it was only after
    /// the callback, see [`super::confirmation`].
    pub(super) fn may_finish(&self, authorization: &Authorization) -> Result<(), Stranger> {
        match (&authorization.opener, self) {
            (Opener::Loopback, Self::Loopback) | (Opener::Application(_), Self::Public(_)) => {
                Ok(())
            }
            (Opener::SignedIn, Self::Public(Some(caller))) if *caller == authorization.caller => {
                Ok(())
            }
            (Opener::SignedIn, Self::Public(Some(_))) => Err(Stranger::OtherPerson),
            (Opener::SignedIn, Self::Public(None)) => Err(Stranger::Unknown),
            (Opener::Loopback, Self::Public(_))
            | (Opener::SignedIn | Opener::Application(_), Self::Loopback) => {
                Err(Stranger::Elsewhere)
            }
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
