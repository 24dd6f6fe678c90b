//! One attempt to get a person's consent, from the prompt to its end.
//!
//! Two records make an attempt. The [`Authorization`] stands behind the link; opening the link
//! changes nothing. Each click on "Continue" adds a [`Started`], which is what a `state` redeems:
//! deleting it by compare-and-swap is what makes the `state` one-time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::credential::{Asked, Retention};
use super::grant::Binding;
use super::lifetime::{KnownEnd, OFFLINE_ACCESS, TokenFacts};
use super::principal::{ConfirmOrder, Opener, Verifier};
use super::provider::{
    Api, FailureConvention, Hosts, Identity, Revocation, TokenAuth, TokenBody, TokenResponseShape,
};
use super::scope::Implied;
use super::text::shown;
use super::{AccountName, Caller, Grant, ProviderId, Scopes, Time, TokenSet, ToolName};

/// How long a link lives.
pub const LIFETIME: Duration = Duration::from_mins(15);

/// How often one link may be taken to the provider: enough for a person who goes back and forth,
/// too little to fill the store with.
pub const MOST_STARTS: u32 = 20;

/// How long a person's no counts.
pub const REFUSAL: Duration = Duration::from_hours(1);

/// After so many in that time a tool does not ask again by itself.
pub const MOST_REFUSALS: usize = 2;

/// Names an authorization to whoever waits for it. It opens nothing.
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
    /// Random; names the attempt to waiters and elicitations, opens nothing.
    pub id: String,
    /// The secret part of the link.
    #[serde(with = "super::secret::exposed")]
    pub ticket: SecretString,
    pub caller: Caller,
    /// Whose browser may finish it.
    #[serde(default)]
    pub opener: Opener,
    pub provider: ProviderId,
    /// Which of the person's accounts there this is for.
    #[serde(default)]
    pub account: AccountName,
    pub binding: Binding,
    /// Union of what is granted and what is needed.
    pub scopes: Scopes,
    /// What the tools that asked cannot do without.
    pub needed: Scopes,
    /// Who asked first.
    pub asked_by: AskedBy,
    /// Every program that has asked. Read by [`Self::requesters`].
    #[serde(default)]
    pub requesters: Requesters,
    /// Every tool that has asked since.
    #[serde(default)]
    pub tools: BTreeSet<ToolName>,
    /// Scheme, host and port of link and callback, e.g. `http://127.0.0.1:8971`.
    pub origin: String,
    /// The address that is listened on for `origin`, if not the loopback address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_address: Option<IpAddr>,
    pub created_at: Time,
    pub starts: u32,
    pub status: Status,
    /// Needed and not granted, once the authorization is completed.
    pub refused: Scopes,
    /// When the person said no of late, to this attempt or the ones before it.
    #[serde(default)]
    pub refusals: Vec<Time>,
    /// The provider's own words for its refusal: for the page, which escapes them, and never for a
    /// model, which might take them for instructions.
    #[serde(default)]
    pub said: Option<String>,
    /// Why the last way to the provider brought nothing, while the link can still be used. In our
    /// words, for the page.
    #[serde(default)]
    pub problem: Option<String>,
    pub trip: Trip,
    /// Fingerprint of the cookie of the browser that brought a consent; only in what an earlier version
    /// has kept as [`Unconfirmed`].
    #[serde(default, skip_serializing)]
    pub browser: Option<String>,
    /// When the first [`Unclaimed`] consent was given by this link, for which it stays open. No later
    /// one: a browser that has the link must not keep it open for ever.
    #[serde(default)]
    pub unclaimed_since: Option<Time>,
    /// What the person knows the account by that is connected now.
    #[serde(default)]
    pub connected_as: Option<String>,
    /// Asked for and not granted, once the authorization is completed; see [`Grant::ungranted`].
    #[serde(default)]
    pub ungranted: Scopes,
    /// When the access that came of it ends, as far as that is known.
    #[serde(default)]
    pub ends: Option<KnownEnd>,
    /// A grant of another account than the one before, until the person says that they mean it.
    #[serde(default)]
    pub candidate: Option<Box<Grant>>,
}

/// All that showing and finishing an authorization takes, as the process knew it that made the link:
/// the one that holds the listener may have another `tools.toml` and none of our secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trip {
    /// The provider's name, for people.
    pub title: String,
    /// Scopes in words.
    pub scope_words: BTreeMap<String, String>,
    /// Where the browser goes in the end, instead of our own page.
    pub after_connect: Option<Url>,
    /// What is kept of the consent.
    pub retention: Retention,
    /// Fixed headers of every request to the API.
    pub headers: Vec<(String, String)>,
    pub failure: FailureConvention,
    pub way: Way,
}

/// How a consent is had.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Way {
    /// At the provider, by an authorization code (RFC 6749 §4.1).
    Code(Box<CodeTrip>),
    /// On our own page, by pasting a key or a password.
    Paste(Box<Asked>),
}

/// What a trip to the provider takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CodeTrip {
    pub client: ClientRegistration,
    /// The authorization endpoint.
    pub authorize: Url,
    /// RFC 9207: the `iss` that the answer must carry, if it carries one.
    pub issuer: Option<String>,
    /// RFC 9207 §2.3: whether an answer without `iss` is refused.
    pub issuer_required: bool,
    /// RFC 7636 S256.
    pub pkce: bool,
    /// The authorization request's parameter that carries the scopes.
    pub scope_parameter: String,
    pub scope_separator: String,
    /// Extra parameters of the authorization request.
    pub params: Vec<(String, String)>,
    pub implied: Implied,
    /// The header that carries the bare access token, where it is not `Authorization: Bearer …`.
    pub token_header: Option<String>,
    /// How to ask whose account it is.
    pub identity: Option<Identity>,
    /// Blocks of private addresses that the endpoints may have where they were learnt from outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_private: Vec<String>,
    /// What is known of the tokens that will come of it.
    #[serde(default)]
    pub token_facts: TokenFacts,
    /// Whether `prompt=consent` goes with the scope `offline_access`.
    #[serde(default)]
    pub offline_prompt: bool,
}

impl CodeTrip {
    /// The extra parameters of an authorization request for these scopes.
    ///
    /// OpenID Connect Core §11: with `offline_access` a consent must be asked for, or the scope is
    /// ignored and no refresh token comes. What the operator wrote of `prompt` counts.
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

impl Trip {
    /// Names the trip with everything in it, secrets included; tells nothing of them.
    pub fn fingerprint(&self) -> String {
        let written = serde_json::to_string(self).map(Zeroizing::new);
        written.map_or_else(|_| String::new(), |written| super::secret::fingerprint(&written))
    }

    /// What requests to the API have to know, without a `tools.toml`.
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
            token_header: match &self.way {
                Way::Code(code) => code.token_header.as_deref(),
                Way::Paste(_) => None,
            },
        }
    }

    /// Whether its scopes mean what OpenID Connect says; see [`super::Provider::is_openid`].
    pub fn is_openid(&self, scopes: &Scopes) -> bool {
        let has_issuer = match &self.way {
            Way::Code(code) => code.issuer.is_some(),
            Way::Paste(_) => false,
        };
        has_issuer || scopes.is_openid()
    }

    /// How to end what comes of it.
    pub fn revocation(&self) -> Option<&Revocation> {
        match &self.way {
            Way::Code(code) => code.client.revocation.as_ref(),
            Way::Paste(_) => None,
        }
    }

    /// What is known of the tokens that will come of it.
    pub fn token_facts(&self) -> TokenFacts {
        match &self.way {
            Way::Code(code) => code.token_facts.clone(),
            Way::Paste(_) => TokenFacts::default(),
        }
    }

    pub fn implied(&self) -> &Implied {
        static NOTHING: Implied = Implied::new();
        match &self.way {
            Way::Code(code) => &code.implied,
            Way::Paste(_) => &NOTHING,
        }
    }
}

/// Who asks, for the connect page. Told by the client, so shown as its claim and trusted for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBy {
    pub client: Option<ClientName>,
    pub tool: Option<ToolName>,
}

/// Name that a client gives itself (MCP `clientInfo`), cut to what a page shows of it. A client can send
/// a name as long as its request; stored whole, it would make a record that other processes cannot read.
/// Names that differ only in what is not shown are one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct ClientName(String);

impl ClientName {
    /// Characters kept of a name.
    pub const MAX_CHARS: usize = 60;

    /// `None` for a name of which nothing is visible.
    pub fn new(name: &str) -> Option<Self> {
        let name = Self::cut(name);
        (!name.0.is_empty()).then_some(name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn cut(name: &str) -> Self {
        let visible = shown(name, usize::MAX);
        // Trimmed after the cut too: it may end in a space.
        Self(shown(visible.trim(), Self::MAX_CHARS).trim_end().to_owned())
    }
}

/// Records of an earlier version hold names uncut.
impl From<String> for ClientName {
    fn from(name: String) -> Self {
        Self::cut(&name)
    }
}

impl AskedBy {
    /// A call of `tool` by a client that calls itself `client`.
    pub fn call(client: Option<&str>, tool: ToolName) -> Self {
        Self { client: client.and_then(ClientName::new), tool: Some(tool) }
    }

    /// Whether the person began it themselves, outside any call.
    pub fn is_by_hand(&self) -> bool {
        self.client.is_none() && self.tool.is_none()
    }
}

/// Programs that one link names; of further ones it says only that there are more.
const MAX_REQUESTERS: usize = 5;

/// The programs that have asked for one consent, and whether its user has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requesters {
    /// What they call themselves, at most [`MAX_REQUESTERS`], in the order in which they asked.
    pub names: Vec<ClientName>,
    /// Whether one gave no name.
    pub has_unnamed: bool,
    /// Whether there were more names than are recorded.
    pub has_more: bool,
    /// Whether the user has begun it outside any call.
    #[serde(default)]
    pub has_user: bool,
}

impl Requesters {
    /// These and the one that asks now.
    #[must_use]
    pub fn with(mut self, asked_by: &AskedBy) -> Self {
        match &asked_by.client {
            _ if asked_by.is_by_hand() => self.has_user = true,
            None => self.has_unnamed = true,
            Some(name) if self.names.contains(name) => {}
            Some(_) if self.names.len() >= MAX_REQUESTERS => self.has_more = true,
            Some(name) => self.names.push(name.clone()),
        }
        self
    }

    /// Whether a program has asked.
    pub fn has_program(&self) -> bool {
        !self.names.is_empty() || self.has_unnamed || self.has_more
    }

    /// Whether the page says already that this one asks.
    pub fn names(&self, asked_by: &AskedBy) -> bool {
        self.clone().with(asked_by) == *self
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Pending,
    /// The consent came from another account than the one before; the person has to say whether
    /// they mean it.
    OtherAccount {
        before: String,
        now: String,
    },
    /// The grant is durable.
    Completed,
    /// The person or the provider said no. The text is for people.
    Failed(String),
    /// The person kept the account before, of this name.
    Stayed(String),
    /// The person disconnected what the link had connected; what the provider did. For people.
    Undone(String),
}

impl Authorization {
    pub fn name(&self) -> AuthorizationName {
        let Self { provider, account, id, .. } = self.clone();
        AuthorizationName { provider, account, id }
    }

    /// Who has asked. An earlier version recorded the first one alone.
    pub fn requesters(&self) -> Requesters {
        if self.requesters == Requesters::default() {
            return Requesters::default().with(&self.asked_by);
        }
        self.requesters.clone()
    }

    pub fn expires_at(&self) -> Time {
        let end = self.created_at.after(LIFETIME);
        self.unclaimed_since.map_or(end, |since| since.after(UNCLAIMED_LIFETIME).max(end))
    }

    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.created_at, LIFETIME) && !is_claimable(self.unclaimed_since, now)
    }

    /// Whether a new prompt may show this attempt's link again.
    pub fn is_open(&self, now: Time) -> bool {
        self.is_undecided(now) && self.starts < MOST_STARTS
    }

    /// Whether the person may still answer.
    pub fn is_undecided(&self, now: Time) -> bool {
        let is_undecided = matches!(self.status, Status::Pending | Status::OtherAccount { .. });
        is_undecided && !self.is_expired(now)
    }

    /// Whether a browser may take it to the provider before the application has confirmed the browser.
    /// For the first [`LIFETIME`] only: where the link stays open after that, it is for the consents
    /// that wait to be claimed, and any other browser has to be confirmed first.
    pub fn asks_unconfirmed(&self, now: Time) -> bool {
        let is_after = matches!(
            &self.opener,
            Opener::Application(Verifier { confirm: ConfirmOrder::After, .. })
        );
        // What is pasted goes to us alone, so there is no order to keep.
        let is_at_provider = matches!(self.trip.way, Way::Code(_));
        let is_new = !now.is_past(self.created_at, LIFETIME);
        is_after && is_at_provider && is_new && self.status == Status::Pending
    }

    /// How often the person has said no within the last hour.
    pub fn late_refusals(&self, now: Time) -> usize {
        self.refusals.iter().filter(|at| !now.is_past(**at, REFUSAL)).count()
    }

    /// Whether nothing needs to be remembered of it any more.
    pub fn is_over(&self, now: Time) -> bool {
        self.is_expired(now) && self.late_refusals(now) == 0
    }

    /// Whether browsers come for it in a way that nobody between can read or alter.
    pub fn is_on_https(&self) -> bool {
        self.origin.starts_with("https://")
    }

    /// Where the provider sends the browser back to.
    pub fn redirect_uri(&self) -> String {
        redirect_uri(&self.origin, &self.provider)
    }

    pub fn link(&self) -> String {
        use secrecy::ExposeSecret as _;
        format!("{}/connect/{}", self.origin, self.ticket.expose_secret())
    }
}

/// The redirect URI of a provider, which its app must know to the letter.
pub fn redirect_uri(origin: &str, provider: &ProviderId) -> String {
    format!("{origin}/oauth/callback/{provider}")
}

/// One trip to the provider. Its key in the store is the fingerprint of `state`; it carries, sealed,
/// all that the callback needs, so that any process with any `tools.toml` can finish it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Started {
    pub authorization: Authorization,
    /// Fingerprint of the cookie of the browser that clicked "Continue".
    pub browser: String,
    /// RFC 7636 §4.1; absent where the provider breaks on PKCE.
    #[serde(with = "super::secret::exposed_option")]
    pub verifier: Option<SecretString>,
    pub redirect_uri: String,
    pub started_at: Time,
}

/// What a browser has brought back, unexchanged, as an earlier version kept it until the application
/// answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unconfirmed {
    pub verifier: Verifier,
    pub brought: Brought,
    pub arrived_at: Time,
}

/// How long a browser may take on its way to the application and its application to us.
pub const CONFIRMATION: Duration = Duration::from_mins(5);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Brought {
    /// An authorization code, with the trip that it belongs to.
    Code {
        started: Box<Started>,
        #[serde(with = "super::secret::exposed")]
        code: SecretString,
    },
    /// What was pasted on our page, and has passed its test.
    Pasted { authorization: Box<Authorization>, tokens: TokenSet },
}

impl Brought {
    pub fn authorization(&self) -> &Authorization {
        match self {
            Self::Code { started, .. } => &started.authorization,
            Self::Pasted { authorization, .. } => authorization,
        }
    }
}

impl Unconfirmed {
    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.arrived_at, CONFIRMATION)
    }
}

/// How long a consent waits for the application to confirm its browser.
pub const UNCLAIMED_LIFETIME: Duration = Duration::from_hours(24);

/// A consent whose browser the application has not confirmed yet: of no use to any call. Its key in
/// the store is a keyed hash of the link's ticket and the browser, so that a consent which another
/// browser brings by the same link stands beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unclaimed {
    pub authorization: Authorization,
    pub grant: Grant,
    /// Fingerprint of the cookie of the browser that brought it.
    pub browser: String,
    pub given_at: Time,
}

impl Unclaimed {
    pub fn is_expired(&self, now: Time) -> bool {
        now.is_past(self.given_at, UNCLAIMED_LIFETIME)
    }
}

/// Whether a consent given then can still be claimed.
pub fn is_claimable(unclaimed_since: Option<Time>, now: Time) -> bool {
    unclaimed_since.is_some_and(|since| !now.is_past(since, UNCLAIMED_LIFETIME))
}

/// Our registration at the provider, resolved: what a token request needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientRegistration {
    /// Empty: we say nothing of ourselves, since an assertion speaks (RFC 7523 §3.1).
    pub client_id: String,
    #[serde(with = "super::secret::exposed_option")]
    pub client_secret: Option<SecretString>,
    pub token_endpoint: Url,
    /// Where tokens are refreshed, if not there.
    #[serde(default)]
    pub refresh_endpoint: Option<Url>,
    /// Extra parameters of every token request.
    #[serde(default)]
    pub token_params: Vec<(String, String)>,
    pub token_auth: TokenAuth,
    pub token_body: TokenBody,
    pub response: TokenResponseShape,
    pub revocation: Option<Revocation>,
    /// Whether the endpoints were written by the operator or learnt from a discovery document on
    /// another origin; decides which addresses they may resolve to.
    pub learnt: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_shown_alike_are_one_name_of_bounded_length() {
        let long = "n".repeat(1_000);
        let names = ["Editor", " Editor ", "Edi\u{200b}tor\u{7}", &long, &format!("{long}other")];
        let mut requesters = Requesters::default();
        for name in names {
            let asked_by = AskedBy::call(Some(name), ToolName::new("read"));
            requesters = requesters.with(&asked_by);
            assert!(requesters.names(&asked_by));
        }
        let names: Vec<_> = requesters.names.iter().map(ClientName::as_str).collect();
        assert_eq!(names, ["Editor", &"n".repeat(ClientName::MAX_CHARS)]);
        assert!(!requesters.has_unnamed && !requesters.has_more);

        let invisible = AskedBy::call(Some("\u{200b} \u{7}"), ToolName::new("read"));
        assert!(Requesters::default().with(&invisible).has_unnamed);
    }

    #[test]
    fn a_name_that_an_earlier_version_kept_whole_is_read_cut() {
        let kept = format!(r#"{{"client":"{}","tool":"read"}}"#, "n".repeat(1000));
        let read: AskedBy = serde_json::from_str(&kept).unwrap();
        assert_eq!(read.client.unwrap().as_str().len(), ClientName::MAX_CHARS);
    }
}
