//! `[server.auth]`: whose calls a server for many people accepts.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::UserId;
use super::principal::ConfirmOrder;
use super::secret_ref::{SecretRef, Setting};

/// Accepted credentials: at least an issuer or one key.
#[derive(Clone, Debug, Default)]
pub struct ServerAuth {
    pub issuer: Option<Issuer>,
    pub keys: Vec<ApiKey>,
}

/// An `OpenID` provider whose access tokens are accepted, and where browsers sign in.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Tokens carry its exact spelling (RFC 9068 §4), and a [`Url`] adds a slash: the discovery
    /// document has the right spelling.
    pub url: Url,
    /// Required audience of a token (RFC 9068 §4); `None`: the address of `/mcp`.
    pub audience: Option<String>,
    /// Clients whose access tokens are accepted without an `aud`.
    pub allowed_clients: Vec<String>,
    /// Scopes that clients are told to request from the issuer (RFC 9728 §2 `scopes_supported`).
    pub scopes: Vec<String>,
    /// Our client id at the issuer, for signing browsers in and for introspection.
    pub client_id: Option<Setting>,
    /// Only with a `client_id`.
    pub client_secret: Option<SecretRef>,
    /// The claim that names the user, in access tokens and in ID tokens alike.
    pub user_claim: String,
    /// The claim that lists the user's groups.
    pub groups_claim: String,
    /// Whether the issuer is asked about tokens that are not JWTs (RFC 7662); only with a
    /// `client_id` and a `client_secret`.
    pub introspect: bool,
    /// How long an introspection answer is cached.
    pub introspection_cache: Duration,
}

/// Scope that clients request by default: an issuer may refuse a request without a scope, and a
/// client that is told none asks for all.
pub const DEFAULT_SCOPE: &str = "openid";
/// Default of [`Issuer::introspection_cache`].
pub const DEFAULT_INTROSPECTION_CACHE: Duration = Duration::from_mins(1);

/// A static API key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// 1 to 64 of `A-Z a-z 0-9 _ -`; unique regardless of case.
    pub name: String,
    pub key: SecretRef,
    pub holder: KeyHolder,
}

/// The user or application that a key authenticates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyHolder {
    /// One person.
    Person(UserId),
    /// An application that names its end user with every call.
    Application(ApplicationSettings),
}

/// Settings of an application's key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplicationSettings {
    /// Page that identifies a browser's user; without one, no links are made for its users.
    pub verifier_url: Option<Url>,
    pub confirm: ConfirmOrder,
    /// Whether it may use the routes of `/v1/admin`.
    pub admin: bool,
    /// Whether it is given the access tokens of its users.
    pub tokens: bool,
    /// Whether it may deposit tokens of its users that were obtained elsewhere.
    pub deposit: bool,
    /// Origins beside that of `verifier_url` to which a browser may be sent after a consent, as
    /// [`url::Origin::ascii_serialization`] writes them.
    pub next_origins: Vec<String>,
}

/// A [`ServerAuth`] with its secrets resolved.
#[derive(Clone, Debug, Default)]
pub struct ResolvedAuth {
    pub issuer: Option<ResolvedIssuer>,
    pub keys: Vec<ResolvedKey>,
}

/// An [`Issuer`] with its secrets resolved.
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
    /// Creates an issuer with the default of each setting and without a registration.
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

/// A registration at an issuer; a public client has no secret.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub secret: Option<SecretString>,
}

/// An [`ApiKey`] with its secrets resolved.
#[derive(Clone, Debug)]
pub struct ResolvedKey {
    pub name: String,
    /// Accepted values: while a key is exchanged, there are a new and an old one.
    pub values: Vec<SecretString>,
    pub holder: KeyHolder,
}
