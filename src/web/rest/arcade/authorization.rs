//! A consent in the shape of Arcade's contract.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Serialize, Serializer};

use crate::broker::Broker;
use crate::broker::ready::HandedOut;
use crate::broker::ready::authorize::{AuthorizationView, ViewState};
use crate::model::grant::AccountIdentity;
use crate::model::secret::fingerprint;
use crate::model::{AccountName, Caller, ConnectPrompt, Failure, Principal, ProviderId, UserId};

/// A consent, given or not.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct AuthorizationAnswer {
    /// Never empty: Arcade's clients fail without it, also after `completed`.
    id: String,
    status: AuthorizationStatus,
    /// Page that the user opens; present exactly while it is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    user_id: String,
    /// Empty if no consent is needed.
    provider_id: String,
    /// All granted scopes after `completed`, else those that are asked for.
    scopes: Vec<String>,
    context: AuthorizationContext,
}

/// State of a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum AuthorizationStatus {
    NotStarted,
    Pending,
    Completed,
    Failed,
}

/// Data that a given consent makes available.
#[derive(Default, Serialize, JsonSchema)]
pub(in crate::web) struct AuthorizationContext {
    /// Only for a key with `tokens = true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<HandedOutToken>,
    /// The account, if the provider names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_info: Option<UserInfo>,
}

/// An access token. No other secret is ever in an answer of this server.
#[derive(JsonSchema)]
#[schemars(transparent)]
pub(in crate::web) struct HandedOutToken(#[schemars(with = "String")] pub(super) SecretString);

impl Serialize for HandedOutToken {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.expose_secret())
    }
}

/// The user's account at the provider.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct UserInfo {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

/// Id of an authorization or a connection. It names the user, because a client that asks for the
/// status names none. The namespace is never part of it: it comes from the key of each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AuthorizationId {
    /// `ar_<user in base64url>.<id of the link>`
    Link { user: String, link: String },
    /// `ac_<user>.<provider>[.<account>]`, each in base64url; without a provider if none is needed,
    /// without an account for the default one.
    Connection { user: String, provider: Option<ProviderId>, account: Option<AccountName> },
}

impl AuthorizationId {
    /// Id of the authorization behind a link.
    pub(super) fn of_link(user: &UserId, link: &str) -> String {
        format!("ar_{}.{link}", encode(user.as_str()))
    }

    /// Id of the user's account at a provider.
    pub(super) fn of_connection(
        user: &UserId,
        provider: Option<&ProviderId>,
        account: &AccountName,
    ) -> String {
        let provider = provider.map(|provider| encode(provider.as_str())).unwrap_or_default();
        let id = format!("ac_{}.{provider}", encode(user.as_str()));
        if account.is_default() { id } else { format!("{id}.{}", encode(account.as_str())) }
    }

    /// Reads an id from a client.
    pub(super) fn parse(id: &str) -> Option<Self> {
        let (kind, rest) = id.split_at_checked(3)?;
        let (user, of) = rest.split_once('.')?;
        let user = decode(user).filter(|user| !user.is_empty())?;
        match kind {
            "ar_" => Some(Self::Link { user, link: of.to_owned() }),
            "ac_" if of.is_empty() => {
                Some(Self::Connection { user, provider: None, account: None })
            }
            "ac_" => {
                let (provider, account) = match of.split_once('.') {
                    None => (of, None),
                    Some((provider, name)) => {
                        (provider, Some(AccountName::parse(&decode(name)?).ok()?))
                    }
                };
                let provider = Some(ProviderId::new(decode(provider)?));
                Some(Self::Connection { user, provider, account })
            }
            _ => None,
        }
    }

    pub(super) fn user(&self) -> &str {
        match self {
            Self::Link { user, .. } | Self::Connection { user, .. } => user,
        }
    }
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn decode(text: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

impl AuthorizationAnswer {
    /// The consent that a link asks for.
    pub(super) fn pending(caller: &Caller, prompt: &ConnectPrompt) -> Self {
        Self {
            id: AuthorizationId::of_link(&caller.user, &prompt.authorization.id),
            status: AuthorizationStatus::Pending,
            url: Some(prompt.url.clone()),
            user_id: caller.user.to_string(),
            provider_id: prompt.provider.public_name().to_owned(),
            scopes: prompt.scopes.iter().map(str::to_owned).collect(),
            context: AuthorizationContext::default(),
        }
    }

    /// A consent that is not needed.
    pub(super) fn unneeded(caller: &Caller) -> Self {
        Self::of(AuthorizationView::unneeded(caller.clone()), None)
    }

    /// A consent, with the token if there is one to hand out.
    pub(super) fn of(view: AuthorizationView, token: Option<HandedOut>) -> Self {
        let AuthorizationView { caller, provider, account, scopes, state } = view;
        let connection =
            || AuthorizationId::of_connection(&caller.user, provider.as_ref(), &account);
        let (id, status, url, connected) = match state {
            ViewState::Completed { connected } => {
                (connection(), AuthorizationStatus::Completed, None, connected)
            }
            ViewState::Pending { id, url } => {
                let id = AuthorizationId::of_link(&caller.user, &id);
                (id, AuthorizationStatus::Pending, Some(url), None)
            }
            ViewState::NotStarted => (connection(), AuthorizationStatus::NotStarted, None, None),
            ViewState::Failed(_) | ViewState::RefusedOften | ViewState::Unavailable(_) => {
                (connection(), AuthorizationStatus::Failed, None, None)
            }
        };
        let user_info = connected.map(|AccountIdentity { id, label }| UserInfo { id, label });
        let context =
            AuthorizationContext { token: token.map(|it| HandedOutToken(it.token)), user_info };
        Self {
            id,
            status,
            url,
            user_id: caller.user.to_string(),
            provider_id: provider.map(|it| it.public_name().to_owned()).unwrap_or_default(),
            scopes: scopes.iter().map(str::to_owned).collect(),
            context,
        }
    }

    /// Keeps the id that the client has asked for.
    pub(super) fn under(self, id: String) -> Self {
        Self { id, ..self }
    }

    /// Page that the user must open.
    pub(super) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

/// Returns the token behind a completed consent, if the application may have it.
///
/// # Errors
/// As [`Broker::hand_out_token`].
pub(super) async fn token_for(
    broker: &Broker,
    principal: &Principal,
    view: &AuthorizationView,
) -> Result<Option<HandedOut>, Failure> {
    match (&view.state, &view.provider) {
        (ViewState::Completed { .. }, Some(provider)) => {
            broker.hand_out_token(principal, provider, &view.account).await
        }
        _ => Ok(None),
    }
}

/// Failed consents whose end a client has been told once. In memory: a second telling after a
/// restart does no harm.
#[derive(Default)]
pub(in crate::web) struct ToldFailures(Mutex<HashSet<String>>);

/// Above this number, all are forgotten: clients are then told once more.
const MAX_TOLD: usize = 4096;

impl ToldFailures {
    /// Whether this user's client has not been told of this end yet; from now on, it has.
    pub(super) fn is_new(&self, caller: &Caller, id: &str) -> bool {
        let mut told = self.0.lock();
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        told.insert(fingerprint(&format!("{}\0{id}", caller.namespace)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_user_and_link_or_provider() {
        let ana = UserId::new("ana.b@example.com");
        let user = || "ana.b@example.com".to_owned();
        let link = AuthorizationId::of_link(&ana, "abc_-1");
        let read = AuthorizationId::parse(&link).unwrap();
        assert_eq!(read, AuthorizationId::Link { user: user(), link: "abc_-1".into() });
        let acme = || Some(ProviderId::new("acme"));
        let work = AccountName::parse("work, 2nd").unwrap();
        for (provider, account) in [(acme(), None), (None, None), (acme(), Some(work))] {
            let name = account.clone().unwrap_or_default();
            let id = AuthorizationId::of_connection(&ana, provider.as_ref(), &name);
            let read = AuthorizationId::parse(&id).unwrap();
            assert_eq!(read, AuthorizationId::Connection { user: user(), provider, account });
        }
        for bad in [
            "",
            "ar",
            "ar_",
            "ar_.x",
            "xx_YW5h.x",
            "ar_YW5h",
            "ar_!.x",
            "ac_YW5h.!",
            "ac_YW5h.YQ.!",
            "äää",
        ] {
            assert_eq!(AuthorizationId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_failure_is_new_once_for_each_key() {
        let told = ToldFailures::default();
        let of = |namespace: &str| Caller { namespace: namespace.into(), user: UserId::new("ana") };
        assert!(told.is_new(&of("key:a"), "ar_1"));
        assert!(!told.is_new(&of("key:a"), "ar_1"));
        assert!(told.is_new(&of("key:b"), "ar_1"));
        assert!(told.is_new(&of("key:a"), "ar_2"));
    }
}
