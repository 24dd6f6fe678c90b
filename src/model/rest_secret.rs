//! A secret that an administrator stores over REST.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{Time, secret};

/// A secret of one application's key. No answer holds its value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestSecret {
    pub id: String,
    /// Its name, as it was last written; compared without case.
    pub key: String,
    #[serde(with = "secret::exposed")]
    pub value: SecretString,
    pub description: Option<String>,
    pub created_at: Time,
    pub updated_at: Time,
}
