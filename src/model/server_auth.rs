//! `[server.auth]`: whose calls a server for many people accepts.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::UserId;
use super::principal::ConfirmOrder;
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
    /// Tokens name it to the letter (RFC 9068 §4), and a [`Url`] adds a slash: its discovery document
    /// says how it is spelt.
    pub url: Url,
    /// What a token must be for (RFC 9068 §4); `None`: the address of `/mcp`.
    pub audience: Option<String>,
    /// Clients whose access tokens are accepted without an `aud`.
    pub allowed_clients: Vec<String>,
    /// What clients are told to ask the issuer for (RFC 9728 §2 `scopes_supported`).
    pub scopes: Vec<String>,
    /// Our registration there, for signing browsers in and for introspection.
    pub client_id: Option<Setting>,
    /// Only with a `client_id`.
    pub client_secret: Option<SecretRef>,
    /// The claim that names the person, in access tokens and in ID tokens alike.
    pub user_claim: String,
    /// The claim that lists what the person belongs to.
    pub groups_claim: String,
    /// Whether tokens that are no JWT are asked about at the issuer (RFC 7662); only with a
    /// `client_id` and a `client_secret`.
    pub introspect: bool,
    /// How long an introspection answer is believed.
    pub introspection_cache: Duration,
}

/// What clients ask for where the operator writes nothing: an issuer that is asked for no scope
/// may refuse, and a client that is told none asks for all.
pub const DEFAULT_SCOPE: &str = "openid";
/// Where the operator writes nothing.
pub const DEFAULT_INTROSPECTION_CACHE: Duration = Duration::from_mins(1);

/// A static key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// 1 to 64 of `A-Z a-z 0-9 _ -`; no two are alike in any case.
    pub name: String,
    pub key: SecretRef,
    pub holder: KeyHolder,
}

/// Whom a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyHolder {
    /// One person.
    Person(UserId),
    /// An application that names its end user with every call.
    Application { verifier_url: Option<Url>, confirm: ConfirmOrder },
}

/// A [`ServerAuth`] whose references have been followed.
#[derive(Clone, Debug, Default)]
pub struct ResolvedAuth {
    pub issuer: Option<ResolvedIssuer>,
    pub keys: Vec<ResolvedKey>,
}

/// An [`Issuer`], secrets at hand.
#[derive(Clone, Debug)]
pub struct ResolvedIssuer {
    pub url: Url,
    pub audience: Option<String>,
    pub allowed_clients: Vec<String>,
    pub scopes: Vec<String>,
    pub client: Option<Client>,
    pub user_claim: String,
    pub groups_claim: String,
    pub introspect: bool,
    pub introspection_cache: Duration,
}

impl ResolvedIssuer {
    /// With the default of each setting, and without a registration.
    pub fn of(url: Url) -> Self {
        Self {
            url,
            audience: None,
            allowed_clients: Vec::new(),
            scopes: vec![DEFAULT_SCOPE.into()],
            client: None,
            user_claim: "sub".into(),
            groups_claim: "groups".into(),
            introspect: false,
            introspection_cache: DEFAULT_INTROSPECTION_CACHE,
        }
    }
}

/// A registration at an issuer; a public one has no secret.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub secret: Option<SecretString>,
}

/// An [`ApiKey`], secret at hand.
#[derive(Clone, Debug)]
pub struct ResolvedKey {
    pub name: String,
    /// Each of them is accepted: while a key is exchanged there are a new and an old one.
    pub values: Vec<SecretString>,
    pub holder: KeyHolder,
}
