//! `[server.auth]`, secrets at hand. What the operator wrote is [`crate::model::server_auth`]; the
//! composition root resolves the references, since only it may.

use secrecy::SecretString;
use url::Url;

use crate::model::UserId;

/// Whose calls are accepted.
#[derive(Debug)]
pub struct Settings {
    pub issuer: Option<IssuerSettings>,
    pub keys: Vec<KeySettings>,
    /// The address of `/mcp` as clients reach it: what tokens are for (RFC 8707 §2), and the
    /// `resource` of RFC 9728.
    pub resource: Url,
}

/// An issuer of access tokens.
#[derive(Debug)]
pub struct IssuerSettings {
    pub url: Url,
    /// What a token must be for instead of [`Settings::resource`].
    pub audience: Option<String>,
    pub client: Option<ClientSettings>,
    pub user_claim: String,
    pub groups_claim: String,
    pub introspect: bool,
}

/// Our registration at the issuer.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    pub id: String,
    pub secret: Option<SecretString>,
}

/// A static key.
#[derive(Debug)]
pub struct KeySettings {
    pub name: String,
    pub key: SecretString,
    pub holder: Holder,
}

/// Whom a key stands for.
#[derive(Debug)]
pub enum Holder {
    Person(UserId),
    Application { verifier_url: Option<Url> },
}
