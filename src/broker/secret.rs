//! Keys and passwords, everybody's or each person's, as the credentials of a call.

use secrecy::SecretString;

use crate::config::secret_ref::{SecretError, resolve, resolve_setting};
use crate::model::credential::{AskedFor, Shared};
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
