//! Keys and passwords, shared or per user, as the credentials of a call.

use secrecy::SecretString;

use crate::config::secrets::{SecretError, resolve, resolve_setting};
use crate::model::Provider;
use crate::model::credential::{self, AskedFor, Shared};
use crate::upstream::{Basic, BasicError, Credential};

/// A secret from which no credential can be made.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Basic(#[from] BasicError),
    /// Another kind than is asked for now: `tools.toml` has changed since.
    #[error("what was pasted is not what is asked for now")]
    Other,
}

impl CredentialError {
    /// Advice that completes the error message, as a lower-case fragment.
    pub fn hint(&self) -> String {
        match self {
            Self::Secret(error) => error.hint(),
            Self::Basic(_) => "user and password are written apart, without a line break".into(),
            Self::Other => "it has to be pasted again".into(),
        }
    }
}

/// A secret that the user typed into our page.
#[derive(Debug)]
pub enum Pasted {
    Key(SecretString),
    /// Without a user name if the operator has configured a shared one.
    Basic {
        user: Option<String>,
        password: SecretString,
    },
}

impl Pasted {
    pub(in crate::broker) fn secret(&self) -> &SecretString {
        match self {
            Self::Key(secret) | Self::Basic { password: secret, .. } => secret,
        }
    }

    pub(in crate::broker) fn user(&self) -> Option<&str> {
        match self {
            Self::Key(_) => None,
            Self::Basic { user, .. } => user.as_deref(),
        }
    }
}

/// A user's stored token, key or password, as the credential that the provider expects.
///
/// # Errors
/// [`CredentialError`] if another kind is expected now, or the secret cannot be used.
pub(in crate::broker) async fn kept(
    provider: &Provider,
    user: Option<&str>,
    secret: &SecretString,
) -> Result<Credential, CredentialError> {
    let asked_for = match &provider.credential {
        credential::Credential::OAuth(_) => return Ok(Credential::Bearer(secret.clone())),
        credential::Credential::Asked(asked) => &asked.what,
        credential::Credential::Shared(_) => return Err(CredentialError::Other),
    };
    let pasted = match asked_for {
        AskedFor::Key(_) => Pasted::Key(secret.clone()),
        AskedFor::Basic { .. } => {
            Pasted::Basic { user: user.map(str::to_owned), password: secret.clone() }
        }
    };
    asked(asked_for, pasted).await
}

/// The operator's secret, resolved anew for every call, so that a changed one is used at once.
///
/// # Errors
/// [`CredentialError`]; the operator must fix it.
pub async fn shared(shared: &Shared) -> Result<Credential, CredentialError> {
    Ok(match shared {
        Shared::Key { place, value } => Credential::key(place, resolve(value).await?),
        Shared::Basic { user, password } => {
            let user = resolve_setting(user).await?;
            Credential::Basic(Basic::new(&user, resolve(password).await?)?)
        }
    })
}

/// A user's secret, as the credential that the provider expects.
///
/// # Errors
/// [`CredentialError::Secret`], which the operator must fix; otherwise the user must paste it
/// again.
pub async fn asked(what: &AskedFor, pasted: Pasted) -> Result<Credential, CredentialError> {
    match (what, pasted) {
        (AskedFor::Key(place), Pasted::Key(key)) => Ok(Credential::key(place, key)),
        (AskedFor::Basic { user: Some(user) }, Pasted::Basic { password, .. }) => {
            Ok(Credential::Basic(Basic::new(&resolve_setting(user).await?, password)?))
        }
        (AskedFor::Basic { user: None }, Pasted::Basic { user: Some(user), password }) => {
            Ok(Credential::Basic(Basic::new(&user, password)?))
        }
        (AskedFor::Key(_) | AskedFor::Basic { .. }, _) => Err(CredentialError::Other),
    }
}
