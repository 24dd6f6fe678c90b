//! Assertions as configured, with their secrets resolved.

use url::Url;

use crate::config::secrets::{SecretError, resolve_document, resolve_setting};
use crate::model::assertion::{AssertionKey, AssertionSettings};
use crate::model::oauth::OAuthSettings;
use crate::oauth::{Assertion, KeyError, ServiceAccount, Signer};

/// Key material or claims from which no assertion can be made.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Excluded by the configuration.
    #[error("nothing says who asserts, or for whom")]
    Incomplete,
}

impl AssertionError {
    /// Advice that completes the error message, as a lower-case fragment.
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

/// Issuer and subject of an assertion.
#[derive(Debug)]
pub struct Speaker {
    /// `iss`
    pub issuer: String,
    /// `sub`
    pub subject: Option<String>,
}

/// Resolves the issuer and subject, to which a token obtained with this assertion is bound.
///
/// # Errors
/// [`AssertionError`]; the operator must fix it.
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
            // RFC 7523 §3 requires a subject; without a configured one the issuer is its own.
            let subject = subject.or_else(|| Some(issuer.clone()));
            Speaker { issuer, subject }
        }
    })
}

/// Resolves and reads the key, anew for each token, so that a changed one is used at once.
///
/// `token_endpoint` is where the assertion will be sent; a service account's file must name the
/// same.
///
/// # Errors
/// [`AssertionError`]; the operator must fix it.
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
