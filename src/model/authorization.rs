//! An authorization attempt: one try to get a user's consent, from the prompt to its end.
//!
//! An attempt consists of two kinds of records. The [`Authorization`] is the record behind the
//! link; opening the link changes nothing. Each click on "Continue" adds a [`AuthorizationAttempt`], which the
//! callback redeems by its `state`: it deletes the record by compare-and-swap, so each `state`
//! works once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::credential::Asked;
use super::grant::Binding;
use super::hosts::Hosts;
use super::identity::Identity;
use super::lifetime::{KnownEnd, TokenFacts};
use super::oauth::{Revocation, TokenAuth, TokenBody, TokenResponseShape};
use super::principal::{BrowserProof, ConfirmOrder, Verifier};
use super::provider::{Api, FailureConvention};
use super::reason::{ConsentFailure, LinkProblem, RevocationResult};
use super::requester::{AskedBy, Requesters};
use super::retention::Retention;
use super::scope::{Implied, OFFLINE_ACCESS};
use super::{AccountName, Caller, Grant, ProviderId, Scopes, Time, TokenSet, ToolName};

/// Lifetime of a link; after it, only consents that wait to be claimed keep the link open.
pub const LINK_LIFETIME: Duration = Duration::from_mins(15);

/// Maximum redirects to the provider by one link: enough for a user who goes back and forth, too
/// few to fill the store. A new prompt does not show a link that has reached it.
pub const MAX_STARTS_PER_LINK: u32 = 20;

/// How long a user's refusal counts towards [`MAX_REFUSALS_PER_HOUR`].
pub const REFUSAL_WINDOW: Duration = Duration::from_hours(1);

/// Refusals within [`REFUSAL_WINDOW`] after which a tool call no longer asks for the consent.
pub const MAX_REFUSALS_PER_HOUR: usize = 2;

/// Identifies an authorization to a waiting call or client. It does not open the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationName {
    pub provider: ProviderId,
    pub account: AccountName,
    /// [`Authorization::id`]
    pub id: String,
}

/// The attempt behind one connect link.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Authorization {
    /// Random. Identifies the attempt to waiters and elicitations; it does not open the link.
    pub id: String,
    /// The secret part of the link.
    #[serde(with = "super::secret::exposed")]
    pub ticket: SecretString,
    pub caller: Caller,
    /// Proof that the browser which finishes it belongs to the user who asked.
    #[serde(default, rename = "opener")]
    pub browser_proof: BrowserProof,
    pub provider: ProviderId,
    /// The user's account at the provider that this is for.
    #[serde(default)]
    pub account: AccountName,
    pub binding: Binding,
    /// Union of the granted and the needed scopes.
    pub scopes: Scopes,
    /// Scopes that the requesting tools require.
    pub needed: Scopes,
    /// The first requester.
    pub asked_by: AskedBy,
    /// All programs that have asked. Read it through [`Self::requesters`].
    #[serde(default)]
    pub requesters: Requesters,
    /// All tools that have asked since.
    #[serde(default)]
    pub tools: BTreeSet<ToolName>,
    /// Scheme, host and port of link and callback, e.g. `http://127.0.0.1:8971`.
    pub origin: String,
    /// Listening address for `origin`, if not the loopback address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_address: Option<IpAddr>,
    pub created_at: Time,
    pub starts: u32,
    pub status: Status,
    /// Needed scopes that were not granted; set once the authorization is completed.
    pub refused: Scopes,
    /// Times of the user's recent refusals of this attempt and earlier ones.
    #[serde(default)]
    pub refusals: Vec<Time>,
    /// The provider's text for its refusal. Only for the page, which escapes it; never for a model,
    /// which could take it for instructions.
    #[serde(default)]
    pub said: Option<String>,
    /// Why the last redirect to the provider failed, while the link can still be used.
    #[serde(default)]
    pub problem: Option<LinkProblem>,
    #[serde(rename = "trip")]
    pub plan: ConsentPlan,
    /// Fingerprint of the cookie of the browser that gave the consent; present only in an
    /// [`Unconfirmed`] record of an earlier version.
    #[serde(default, skip_serializing)]
    pub browser: Option<String>,
    /// Time of the first [`Unclaimed`] consent by this link, for which the link stays open. Later
    /// ones do not change it: a browser that has the link must not keep it open for ever.
    #[serde(default)]
    pub unclaimed_since: Option<Time>,
    /// Label of the account that is connected now, for people.
    #[serde(default)]
    pub connected_as: Option<String>,
    /// Requested scopes that were not granted; set once the authorization is completed. See
    /// [`Grant::ungranted`].
    #[serde(default)]
    pub ungranted: Scopes,
    /// End of the resulting access, if known.
    #[serde(default)]
    pub ends: Option<KnownEnd>,
    /// Grant for another account than before, until the user confirms the change.
    #[serde(default)]
    pub candidate: Option<Box<Grant>>,
}

/// Everything needed to show and finish an authorization, as known to the process that made the
/// link: the process that owns the listener may have another `tools.toml` and none of its secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsentPlan {
    /// The provider's name, for people.
    pub title: String,
    /// Scopes in words.
    pub scope_words: BTreeMap<String, String>,
    /// Final page for the browser, instead of our own.
    pub after_connect: Option<Url>,
    /// How long the consent is kept.
    pub retention: Retention,
    /// Fixed headers of every request to the API.
    pub headers: Vec<(String, String)>,
    pub failure: FailureConvention,
    #[serde(rename = "way")]
    pub method: ConsentMethod,
}

/// How the user gives the consent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ConsentMethod {
    /// At the provider, by an authorization code (RFC 6749 §4.1).
    Code(Box<CodeFlow>),
    /// On our own page, by pasting a key or a password.
    Paste(Box<Asked>),
}

/// Everything needed for the authorization code flow at the provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CodeFlow {
    pub client: ClientRegistration,
    /// The authorization endpoint.
    pub authorize: Url,
    /// RFC 9207: the expected `iss` of the authorization response, if it has one.
    pub issuer: Option<String>,
    /// RFC 9207 §2.3: whether an authorization response without `iss` is refused.
    pub issuer_required: bool,
    /// Whether to use PKCE (RFC 7636, S256).
    pub pkce: bool,
    /// The authorization request's parameter that carries the scopes.
    pub scope_parameter: String,
    pub scope_separator: String,
    /// Extra parameters of the authorization request.
    pub params: Vec<(String, String)>,
    pub implied: Implied,
    /// The header that carries the bare access token, where it is not `Authorization: Bearer …`.
    pub token_header: Option<String>,
    /// Request that identifies the connected account.
    pub identity: Option<Identity>,
    /// Private address blocks that endpoints learnt from a discovery document may resolve to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_private: Vec<String>,
    /// Known facts about the tokens that the provider will issue.
    #[serde(default)]
    pub token_facts: TokenFacts,
    /// Whether to send `prompt=consent` with the scope `offline_access`.
    #[serde(default)]
    pub offline_prompt: bool,
}

impl CodeFlow {
    /// Returns the extra parameters of an authorization request for these scopes.
    ///
    /// Adds `prompt=consent` for `offline_access`: without a consent prompt the provider ignores
    /// the scope and issues no refresh token (OpenID Connect Core §11). The operator's own `prompt`
    /// wins.
    pub fn params_for(&self, scopes: &Scopes) -> Vec<(String, String)> {
        let mut params = self.params.clone();
        let is_set = params.iter().any(|(name, _)| name == "prompt")
            || self.authorize.query_pairs().any(|(name, _)| name == "prompt");
        if self.offline_prompt && scopes.contains(OFFLINE_ACCESS) && !is_set {
            params.push(("prompt".into(), "consent".into()));
        }
        params
    }
}

impl ConsentPlan {
    /// Returns a digest of all fields, secrets included, without revealing them.
    pub fn fingerprint(&self) -> String {
        let written = serde_json::to_string(self).map(Zeroizing::new);
        written.map_or_else(|_| String::new(), |written| super::secret::fingerprint(&written))
    }

    /// Returns the properties that a request to the API needs, without a `tools.toml`.
    pub fn api<'a>(&'a self, id: &'a ProviderId, hosts: &'a Hosts) -> Api<'a> {
        static NO_SCOPES: Scopes = Scopes::none();
        Api {
            id,
            title: &self.title,
            hosts,
            headers: &self.headers,
            failure: &self.failure,
            implied: self.implied(),
            known_scopes: &NO_SCOPES,
            token_header: match &self.method {
                ConsentMethod::Code(code) => code.token_header.as_deref(),
                ConsentMethod::Paste(_) => None,
            },
        }
    }

    /// Whether the scopes have their OpenID Connect meaning; see [`super::Provider::is_openid`].
    pub fn is_openid(&self, scopes: &Scopes) -> bool {
        let has_issuer = match &self.method {
            ConsentMethod::Code(code) => code.issuer.is_some(),
            ConsentMethod::Paste(_) => false,
        };
        has_issuer || scopes.is_openid()
    }

    /// How to revoke the resulting grant at the provider; `None` for a pasted secret.
    pub fn revocation(&self) -> Option<&Revocation> {
        match &self.method {
            ConsentMethod::Code(code) => code.client.revocation.as_ref(),
            ConsentMethod::Paste(_) => None,
        }
    }

    /// Known facts about the tokens that the provider will issue.
    pub fn token_facts(&self) -> TokenFacts {
        match &self.method {
            ConsentMethod::Code(code) => code.token_facts.clone(),
            ConsentMethod::Paste(_) => TokenFacts::default(),
        }
    }

    /// Which scopes contain which; empty for a pasted secret.
    pub fn implied(&self) -> &Implied {
        static NOTHING: Implied = Implied::new();
        match &self.method {
            ConsentMethod::Code(code) => &code.implied,
            ConsentMethod::Paste(_) => &NOTHING,
        }
    }
}

/// State of an authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Pending,
    /// The consent is for another account than before; the user has to confirm the change.
    OtherAccount {
        before: String,
        now: String,
    },
    /// The grant is durable.
    Completed,
    Failed(ConsentFailure),
    /// The user kept the previous account, which has this label.
    Stayed(String),
    /// The user disconnected the account that the link had connected.
    Undone(RevocationResult),
}

impl Authorization {
    /// Returns the identifier for waiters.
    pub fn name(&self) -> AuthorizationName {
        let Self { provider, account, id, .. } = self.clone();
        AuthorizationName { provider, account, id }
    }

    /// Returns all requesters. An earlier version recorded only the first one.
    pub fn requesters(&self) -> Requesters {
        if self.requesters == Requesters::default() {
            return Requesters::default().with(&self.asked_by);
        }
        self.requesters.clone()
    }

    /// End of the link's lifetime, including the time for consents that wait to be claimed.
    pub fn expires_at(&self) -> Time {
        let end = self.created_at.after(LINK_LIFETIME);
        self.unclaimed_since.map_or(end, |since| since.after(UNCLAIMED_LIFETIME).max(end))
    }

    /// Whether the link's lifetime is over and no consent waits to be claimed.
    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.created_at, LINK_LIFETIME) && !is_claimable(self.unclaimed_since, now)
    }

    /// Whether a new prompt may show this attempt's link again.
    pub fn is_reusable(&self, now: Time) -> bool {
        self.is_undecided(now) && self.starts < MAX_STARTS_PER_LINK
    }

    /// Whether the user can still decide.
    pub fn is_undecided(&self, now: Time) -> bool {
        let is_undecided = matches!(self.status, Status::Pending | Status::OtherAccount { .. });
        is_undecided && !self.is_expired(now)
    }

    /// Whether a browser may go to the provider before the application has confirmed the browser.
    /// Only within the first [`LINK_LIFETIME`]: after that the link stays open only for consents that
    /// wait to be claimed, and any other browser must be confirmed first.
    pub fn asks_unconfirmed(&self, now: Time) -> bool {
        let is_after = matches!(
            &self.browser_proof,
            BrowserProof::Application(Verifier { confirm: ConfirmOrder::After, .. })
        );
        // A pasted secret goes only to this server, so the order does not matter.
        let is_at_provider = matches!(self.plan.method, ConsentMethod::Code(_));
        let is_new = !now.is_past(self.created_at, LINK_LIFETIME);
        is_after && is_at_provider && is_new && self.status == Status::Pending
    }

    /// Number of the user's refusals within the last hour.
    pub fn late_refusals(&self, now: Time) -> usize {
        self.refusals.iter().filter(|at| !now.is_past(**at, REFUSAL_WINDOW)).count()
    }

    /// Whether the record can be dropped: it has expired and no refusal counts any more.
    pub fn is_forgettable(&self, now: Time) -> bool {
        self.is_expired(now) && self.late_refusals(now) == 0
    }

    /// Whether browsers reach it over HTTPS, which third parties can neither read nor alter.
    pub fn is_on_https(&self) -> bool {
        self.origin.starts_with("https://")
    }

    /// Redirect URI, to which the provider sends the browser back.
    pub fn redirect_uri(&self) -> String {
        redirect_uri(&self.origin, &self.provider)
    }

    /// The connect link, which contains the secret ticket.
    pub fn link(&self) -> String {
        use secrecy::ExposeSecret as _;
        format!("{}/connect/{}", self.origin, self.ticket.expose_secret())
    }
}

/// Redirect URI of a provider, which its OAuth app must have registered exactly.
pub fn redirect_uri(origin: &str, provider: &ProviderId) -> String {
    format!("{origin}/oauth/callback/{provider}")
}

/// One redirect of a browser to the provider. Its key in the store is the fingerprint of `state`.
/// It holds, sealed, everything that the callback needs, so any process with any `tools.toml` can
/// finish it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuthorizationAttempt {
    pub authorization: Authorization,
    /// Fingerprint of the cookie of the browser that clicked "Continue".
    pub browser: String,
    /// PKCE verifier (RFC 7636 §4.1); absent where the provider breaks on PKCE.
    #[serde(with = "super::secret::exposed_option")]
    pub verifier: Option<SecretString>,
    pub redirect_uri: String,
    pub started_at: Time,
}

/// A browser's result, not yet exchanged, as an earlier version kept it until the application
/// answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unconfirmed {
    pub verifier: Verifier,
    #[serde(rename = "brought")]
    pub consent: PendingConsent,
    pub arrived_at: Time,
}

/// Time limit for the browser to reach the application and for the application to answer; after it
/// an [`Unconfirmed`] record has expired.
pub const CONFIRMATION_LIFETIME: Duration = Duration::from_mins(5);

/// Result that a browser brought back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PendingConsent {
    /// An authorization code and the record of its redirect.
    Code {
        started: Box<AuthorizationAttempt>,
        #[serde(with = "super::secret::exposed")]
        code: SecretString,
    },
    /// A secret that was pasted on our page and has passed its test.
    Pasted { authorization: Box<Authorization>, tokens: TokenSet },
}

impl PendingConsent {
    /// Returns the authorization that it belongs to.
    pub fn authorization(&self) -> &Authorization {
        match self {
            Self::Code { started, .. } => &started.authorization,
            Self::Pasted { authorization, .. } => authorization,
        }
    }
}

impl Unconfirmed {
    /// Whether the application is too late to answer.
    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.arrived_at, CONFIRMATION_LIFETIME)
    }
}

/// How long a consent waits for the application to confirm its browser; after it the consent has
/// expired.
pub const UNCLAIMED_LIFETIME: Duration = Duration::from_hours(24);

/// A consent whose browser the application has not confirmed yet; no call can use it. Its key in
/// the store is a keyed hash of the link's ticket and the browser, so consents that different
/// browsers give by the same link are stored side by side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unclaimed {
    pub authorization: Authorization,
    pub grant: Grant,
    /// Fingerprint of the cookie of the browser that gave it.
    pub browser: String,
    pub given_at: Time,
}

impl Unclaimed {
    /// Whether the application is too late to confirm the browser.
    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.given_at, UNCLAIMED_LIFETIME)
    }
}

/// Whether a consent given at `unclaimed_since` can still be claimed.
pub fn is_claimable(unclaimed_since: Option<Time>, now: Time) -> bool {
    unclaimed_since.is_some_and(|since| !now.is_past(since, UNCLAIMED_LIFETIME))
}

/// Our client registration at the provider, with resolved secrets: everything a token request
/// needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientRegistration {
    /// Empty where an assertion identifies us instead (RFC 7523 §3.1).
    pub client_id: String,
    #[serde(with = "super::secret::exposed_option")]
    pub client_secret: Option<SecretString>,
    pub token_endpoint: Url,
    /// Endpoint for refreshes, if not `token_endpoint`.
    #[serde(default)]
    pub refresh_endpoint: Option<Url>,
    /// Extra parameters of every token request.
    #[serde(default)]
    pub token_params: Vec<(String, String)>,
    pub token_auth: TokenAuth,
    pub token_body: TokenBody,
    pub response: TokenResponseShape,
    pub revocation: Option<Revocation>,
    /// Whether the endpoints come from a discovery document on another origin instead of from the
    /// operator. Decides which addresses they may resolve to.
    pub learnt: bool,
}
