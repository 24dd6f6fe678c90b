//! The operator's own keys and passwords, as the credentials of a call.

use secrecy::ExposeSecret as _;

use crate::config::secret_ref::{self, SecretError};
use crate::model::credential::Shared;
use crate::model::provider::Setting;
use crate::upstream::{Basic, BasicError, Credential};

/// A configured secret that makes no credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum SharedError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Basic(#[from] BasicError),
}

impl SharedError {
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Secret(error) => error.hint(),
            Self::Basic(_) => {
                "the user and the password are written apart, in `user` and `password`".into()
            }
        }
    }
}

/// The operator's own secret, looked up anew for every call, so that a changed one is used at once.
pub(super) async fn shared(shared: &Shared) -> Result<Credential, SharedError> {
    Ok(match shared {
        Shared::Key { place, value } => Credential::key(place, secret_ref::resolve(value).await?),
        Shared::Basic { user, password } => {
            let user = setting(user).await?;
            Credential::Basic(Basic::new(&user, secret_ref::resolve(password).await?)?)
        }
    })
}

async fn setting(setting: &Setting) -> Result<String, SecretError> {
    match setting {
        Setting::Literal(text) => Ok(text.clone()),
        Setting::Secret(reference) => {
            Ok(secret_ref::resolve(reference).await?.expose_secret().to_owned())
        }
    }
}
