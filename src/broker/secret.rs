//! Keys and passwords, everybody's or each person's, as the credentials of a call.

use secrecy::SecretString;

use crate::config::secret_ref::{SecretError, resolve, resolve_setting};
use crate::model::Provider;
use crate::model::credential::{self, AskedFor, Shared};
use crate::upstream::{Basic, BasicError, Credential};

/// A secret that makes no credential.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Basic(#[from] BasicError),
    /// Of another kind than is asked for now: `tools.toml` was changed since.
    #[error("what was pasted is not what is asked for now")]
    Other,
}

impl CredentialError {
    pub fn hint(&self) -> String {
        match self {
            Self::Secret(error) => error.hint(),
            Self::Basic(_) => "user and password are written apart, without a line break".into(),
            Self::Other => "it has to be pasted again".into(),
        }
    }
}

/// What a person typed into our page.
#[derive(Debug)]
pub enum Pasted {
    Key(SecretString),
    /// Without a user where the operator has written everybody's.
    Basic {
        user: Option<String>,
        password: SecretString,
    },
}

impl Pasted {
    pub(super) fn secret(&self) -> &SecretString {
        match self {
            Self::Key(secret) | Self::Basic { password: secret, .. } => secret,
        }
    }

    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Key(_) => None,
            Self::Basic { user, .. } => user.as_deref(),
        }
    }
}

/// A person's token, key or password as it was kept, where the provider expects it.
///
/// # Errors
/// [`CredentialError`]
pub(super) async fn kept(
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

/// The operator's secret, looked up anew for every call, so that a changed one is used at once.
///
/// # Errors
/// [`CredentialError`]: the operator's to mend.
pub async fn shared(shared: &Shared) -> Result<Credential, CredentialError> {
    Ok(match shared {
        Shared::Key { place, value } => Credential::key(place, resolve(value).await?),
        Shared::Basic { user, password } => {
            let user = resolve_setting(user).await?;
            Credential::Basic(Basic::new(&user, resolve(password).await?)?)
        }
    })
}

/// A person's secret, where the provider expects it.
///
/// # Errors
/// [`CredentialError`]: the person's to paste again, but for [`CredentialError::Secret`].
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
