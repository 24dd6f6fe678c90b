//! `[server.auth]`: whose calls a server for many people accepts.

use url::Url;

use super::UserId;
use super::provider::{SecretRef, Setting};

/// At least an issuer or one key.
#[derive(Clone, Debug, Default)]
pub struct ServerAuth {
    pub issuer: Option<Issuer>,
    pub keys: Vec<ApiKey>,
}

/// An `OpenID` provider whose access tokens are accepted, and where browsers sign in.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// As the operator wrote it; tokens name it to the letter, without the slash that [`Url`] adds.
    pub url: Url,
    /// What a token must be for (RFC 9068 §4); `None`: the address of `/mcp`.
    pub audience: Option<String>,
    /// Our registration there, for signing browsers in and for introspection.
    pub client_id: Option<Setting>,
    pub client_secret: Option<SecretRef>,
    /// The claim that names the person, in access tokens and in ID tokens alike.
    pub user_claim: String,
    /// The claim that lists what the person belongs to.
    pub groups_claim: String,
    /// Whether tokens that are no JWT are asked about at the issuer (RFC 7662).
    pub introspect: bool,
}

/// A static key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub name: String,
    pub key: SecretRef,
    pub holder: KeyHolder,
}

/// Whom a key stands for.
#[derive(Clone, Debug)]
pub enum KeyHolder {
    /// One person.
    Person(UserId),
    /// An application that names its end user with every call.
    Application { verifier_url: Option<Url> },
}
