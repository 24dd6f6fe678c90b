//! An assertion as configured, with its secrets at hand.

use url::Url;

use crate::config::secret_ref::{SecretError, resolve_document, resolve_setting};
use crate::model::credential::{AssertionKey, AssertionSettings};
use crate::model::provider::OAuthSettings;
use crate::oauth::{Assertion, KeyError, ServiceAccount, Signer};

/// Key material or claims that make no assertion.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Which the configuration has excluded.
    #[error("nothing says who asserts, or for whom")]
    Incomplete,
}

impl AssertionError {
    pub fn hint(&self) -> String {
        match self {
            Self::Secret(error) => error.hint(),
            Self::Key(error) => error.hint().into(),
            Self::Incomplete => {
                "write `issuer` and `audience` in [providers.….oauth.assertion]".into()
            }
        }
    }
}

/// Who asserts, and on whose behalf.
#[derive(Debug)]
pub struct Speaker {
    /// `iss`
    pub issuer: String,
    /// `sub`
    pub subject: Option<String>,
}

/// What a token got by this assertion is bound to.
///
/// # Errors
/// [`AssertionError`]: the operator's to mend.
pub async fn speaker(
    settings: &OAuthSettings,
    written: &AssertionSettings,
) -> Result<Speaker, AssertionError> {
    let subject = match &written.subject {
        Some(subject) => Some(resolve_setting(subject).await?),
        None => None,
    };
    Ok(match &written.key {
        AssertionKey::ServiceAccount(file) => {
            Speaker { issuer: ServiceAccount::email(&resolve_document(file).await?)?, subject }
        }
        AssertionKey::PrivateKey { issuer, .. } => {
            let issuer = issuer.as_ref().or(settings.client_id.as_ref());
            let issuer = resolve_setting(issuer.ok_or(AssertionError::Incomplete)?).await?;
            // RFC 7523 §3 wants a subject; who asserts on nobody's behalf is its own.
            let subject = subject.or_else(|| Some(issuer.clone()));
            Speaker { issuer, subject }
        }
    })
}

/// Looks the key up and reads it, anew for each token, so that a changed one is used at once.
///
/// `token_endpoint` is where the assertion will be sent; a service account's file must mean the same.
///
/// # Errors
/// [`AssertionError`]: the operator's to mend.
pub async fn assertion(
    settings: &OAuthSettings,
    written: &AssertionSettings,
    token_endpoint: &Url,
) -> Result<Assertion, AssertionError> {
    let Speaker { issuer, subject } = speaker(settings, written).await?;
    let audience = settings.assertion_audience(written).ok_or(AssertionError::Incomplete)?;
    let (signer, issuer, claims_scope) = match &written.key {
        AssertionKey::ServiceAccount(file) => {
            let file = resolve_document(file).await?;
            let account = ServiceAccount::read(&file, token_endpoint)?;
            (account.signer, account.email, true)
        }
        AssertionKey::PrivateKey { key, algorithm, key_id, .. } => {
            let pem = resolve_document(key).await?;
            (Signer::new(&pem, *algorithm, key_id.clone())?, issuer, false)
        }
    };
    Ok(Assertion {
        signer,
        issuer,
        subject,
        audience,
        lifetime: written.lifetime,
        claims: written.claims.clone(),
        claims_scope,
    })
}
