//! A consent without a provider's page: the user pastes a key or a password on ours. It is tried at
//! the API before it is kept, and never passes through the client or a model.

use secrecy::ExposeSecret as _;
use serde_json::Map;

use super::Consents;
use super::keep::Arrival;
use super::link::ConnectError;
use crate::broker::VisitingBrowser;
use crate::broker::client::credential::{self, CredentialError, Pasted};
use crate::model::authorization::ConnectLink;
use crate::model::consent_plan::ConsentMethod;
use crate::model::credential::Asked;
use crate::model::event::ConsentOutcome;
use crate::model::{Authorization, TokenSet};
use crate::oauth::Issued;
use crate::upstream::{Answer, Credential};

/// Longest accepted key in bytes; a longer text is refused. Some keys are signed documents of a few
/// kilobytes.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// The pasted text was not kept.
#[derive(Debug, thiserror::Error)]
pub enum PasteError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error("nothing was pasted")]
    Nothing,
    #[error("what was pasted is too long for a key, or holds characters that no key has")]
    NoKey,
    /// The API rejected it. Holds the provider's title, for the page.
    #[error("{0} does not accept it")]
    Refused(String),
    /// It is unknown whether it is good. The API's own words are in the log only.
    #[error("{0} could not be asked whether it is good")]
    Unclear(String),
}

impl PasteError {
    /// Advice that completes the error message, as a lower-case fragment.
    pub fn hint(&self) -> String {
        match self {
            Self::Connect(error) => error.hint(),
            Self::Credential(error) => error.hint(),
            Self::Nothing | Self::NoKey => "copy it once more and paste all of it".into(),
            Self::Refused(_) => "check that it is the right one, and has not been revoked".into(),
            Self::Unclear(_) => "try again in a moment; nothing was kept".into(),
        }
    }
}

impl Consents {
    /// Tries what was pasted on the page with this `digest`, and keeps it if the API accepts it.
    ///
    /// # Errors
    /// [`PasteError`]; then nothing was kept, and the link can be used again.
    pub async fn paste(
        &self,
        ticket: &str,
        visitor: &VisitingBrowser,
        digest: &str,
        pasted: Pasted,
    ) -> Result<Arrival, PasteError> {
        let authorization = self.count_start(ticket, visitor, digest).await?;
        let ConsentMethod::Paste(asked) = authorization.link().plan.method.clone() else {
            return Err(ConnectError::Unknown.into());
        };
        let pasted = trimmed(pasted)?;
        let tokens = TokenSet {
            user: pasted.user().map(str::to_owned),
            access: pasted.secret().clone(),
            refresh: None,
            expires_at: None,
            refresh_expires_at: None,
            received_at: self.now(),
        };
        let credential = credential::asked(&asked.what, pasted).await?;
        // In its own task: a browser that disconnects must not leave it half kept.
        let consents = self.clone();
        let kept = self.unbroken(async move {
            consents.test(&authorization, &asked, &credential).await?;
            let issued = Issued { tokens, scopes: None, id_token: None };
            Ok(consents.keep(&authorization, issued).await.map_err(ConnectError::from)?)
        });
        kept.await.unwrap_or(Err(PasteError::Connect(ConnectError::Ending)))
    }

    /// Makes the configured test request, which succeeds with a good secret and changes nothing.
    async fn test(
        &self,
        authorization: &Authorization,
        asked: &Asked,
        credential: &Credential,
    ) -> Result<(), PasteError> {
        let upstream = &self.0.parts.upstream;
        let ConnectLink { provider, binding, plan, .. } = authorization.link();
        let api = Some(plan.api(provider, &binding.hosts));
        let title = || plan.title.clone();
        match upstream.execute(&asked.test, api, &Map::new(), Some(credential)).await {
            Answer::Done(result) if result.unfit.is_none() => Ok(()),
            Answer::Done(_) => {
                self.record(authorization, ConsentOutcome::TestFailed);
                Err(PasteError::Unclear(title()))
            }
            Answer::Failed(failure) => {
                // The secret is removed, but these are the API's words and not for the page.
                tracing::info!(%provider, failure = ?failure.kind, "a test came to nothing");
                self.record(authorization, ConsentOutcome::TestFailed);
                Err(PasteError::Unclear(title()))
            }
            Answer::Unauthorized(_) | Answer::InsufficientScope { .. } => {
                self.record(authorization, ConsentOutcome::TestFailed);
                Err(PasteError::Refused(title()))
            }
        }
    }
}

/// Removes the white space that copying adds.
fn trimmed(pasted: Pasted) -> Result<Pasted, PasteError> {
    let text = pasted.secret().expose_secret().trim().to_owned();
    if text.is_empty() {
        return Err(PasteError::Nothing);
    }
    if text.len() > MAX_KEY_BYTES || text.chars().any(char::is_control) {
        return Err(PasteError::NoKey);
    }
    Ok(match pasted {
        Pasted::Key(_) => Pasted::Key(text.into()),
        Pasted::Basic { user, password: _ } => {
            let user = user.map(|user| user.trim().to_owned());
            Pasted::Basic { user, password: text.into() }
        }
    })
}
