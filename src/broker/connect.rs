//! The first half of a consent: from "this needs a consent" to the browser leaving for the provider.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use super::clients::{SetupError, settings};
use super::{Broker, OriginError};
use crate::model::authorization::{AskedBy, Started, Status};
use crate::model::secret;
use crate::model::{
    Authorization, Caller, ConnectPrompt, PromptReason, Provider, ProviderId, Scopes, Time,
};
use crate::oauth::{self, AuthorizationRequest};
use crate::store::{Held, StoreError};

/// No link could be made, or it leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error("the link is not known, or its time is over")]
    Unknown,
    #[error("the link has been used too often")]
    Exhausted,
    #[error("`{0}` is not in this server's tools.toml")]
    NoProvider(String),
    #[error("the link was made under another tools.toml, where `{0}` means something else")]
    OtherConfiguration(ProviderId),
    #[error("the provider's address is not usable")]
    Address(#[from] url::ParseError),
    #[error("too much is going on for this account at once")]
    Contended,
}

impl ConnectError {
    pub fn hint(&self) -> String {
        match self {
            Self::Store(error) => error.hint(),
            Self::Setup(error) => error.hint(),
            Self::Origin(error) => error.hint(),
            Self::Unknown | Self::Exhausted | Self::OtherConfiguration(_) => {
                "go back and ask again; you will get a new link".into()
            }
            Self::NoProvider(_) => "`countersign tools list` shows what is configured".into(),
            Self::Address(_) => "check `authorize_url` in tools.toml".into(),
            Self::Contended => "try again".into(),
        }
    }
}

/// What a connect page shows. Nothing in it is secret.
#[derive(Clone, Debug)]
pub struct Invitation {
    pub provider: String,
    pub title: String,
    pub asked_by: AskedBy,
    /// The end user whose account this will be.
    pub user: String,
    /// Where the token may be sent.
    pub hosts: Vec<String>,
    /// Each scope, and what it means where the catalogue knows.
    pub scopes: Vec<(String, Option<String>)>,
    pub expires_at: Time,
    /// Minutes left, rounded up.
    pub lives_minutes: u64,
    pub status: Status,
    /// Asked for and not granted, once the authorization is completed.
    pub refused: Vec<String>,
    pub is_expired: bool,
}

/// Where to send the browser that clicked "Continue", and the cookie that will know it again.
pub struct Departure {
    pub to: url::Url,
    pub cookie: Cookie,
}

/// A cookie for one trip. Ports share cookies, so each trip has a name of its own.
pub struct Cookie {
    pub name: String,
    pub value: SecretString,
    /// Where it returns: the callback of this provider and nothing else.
    pub path: String,
}

impl Broker {
    /// A link for this person to grant `needed`: the open one if there is one, else a new one.
    ///
    /// Asked for is the union of what is granted and what is needed, so that a second tool's
    /// consent does not take the first one's away.
    pub async fn begin(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
        needed: &Scopes,
        asked_by: AskedBy,
        reason: PromptReason,
    ) -> Result<ConnectPrompt, ConnectError> {
        let settings = settings(provider)?;
        // All that the trip will need is asked for now: a person must not be sent to a page that
        // can only fail.
        self.0.clients.registration(provider).await?;
        let origin = (self.0.parts.origin)(provider, settings.loopback)?;
        let bound = self.0.clients.bound(provider).await?;
        let granted = self.grant_of(caller, provider, &bound).await?;
        let granted = granted.map(|held| held.value.scopes).unwrap_or_default();
        let scopes = granted.union(needed).union(&settings.scopes);
        let store = self.store().await?;
        let notice = store.notice().map(ToString::to_string);
        for _ in 0..16 {
            let now = self.0.parts.clock.now();
            let held = store.authorization(caller, &provider.id, &bound.identity).await?;
            let open = held.as_ref().map(|held| &held.value).filter(|open| {
                // To the letter: a link made under another tools.toml may carry more hosts than
                // this one's page would show.
                open.is_open(now) && open.origin == origin && open.binding == bound.binding
            });
            let authorization = match open {
                Some(open) if scopes.is_subset(&open.scopes) && needed.is_subset(&open.needed) => {
                    let prompt = prompt(provider, open, needed, asked_by, reason, now);
                    return Ok(ConnectPrompt { notice, ..prompt });
                }
                // The same link, for more: whoever opens it from now on sees all of it.
                Some(open) => Authorization {
                    scopes: open.scopes.union(&scopes),
                    needed: open.needed.union(needed),
                    ..open.clone()
                },
                None => Authorization {
                    id: secret::random().expose_secret().to_owned(),
                    ticket: secret::random_ticket(),
                    caller: caller.clone(),
                    provider: provider.id.clone(),
                    binding: bound.binding.clone(),
                    scopes: scopes.clone(),
                    needed: needed.clone(),
                    asked_by: asked_by.clone(),
                    origin: origin.clone(),
                    created_at: now,
                    starts: 0,
                    status: Status::Pending,
                    refused: Scopes::default(),
                },
            };
            if store.open_link(&authorization, held.as_ref()).await? {
                let prompt = prompt(provider, &authorization, needed, asked_by, reason, now);
                return Ok(ConnectPrompt { notice, ..prompt });
            }
        }
        Err(ConnectError::Contended)
    }

    /// What is behind a link. Changes nothing: link scanners and prefetching browsers come here too.
    pub async fn invitation(&self, ticket: &str) -> Result<Invitation, ConnectError> {
        let held = self.behind(ticket).await?;
        let now = self.0.parts.clock.now();
        let authorization = &held.value;
        let provider = self.provider(authorization.provider.as_str());
        let word = |scope: &str| provider.and_then(|found| found.scope_words.get(scope).cloned());
        Ok(Invitation {
            provider: authorization.provider.to_string(),
            title: provider
                .map_or_else(|| authorization.provider.to_string(), |found| found.title.clone()),
            asked_by: authorization.asked_by.clone(),
            user: authorization.caller.user.to_string(),
            hosts: authorization.binding.hosts.iter().map(str::to_owned).collect(),
            scopes: authorization
                .scopes
                .iter()
                .map(|scope| (scope.to_owned(), word(scope)))
                .collect(),
            expires_at: authorization.expires_at(),
            lives_minutes: minutes_left(authorization, now),
            status: authorization.status.clone(),
            refused: authorization.refused.iter().map(str::to_owned).collect(),
            is_expired: authorization.is_expired(now),
        })
    }

    /// The person clicked "Continue": binds this browser and sends it to the provider.
    pub async fn depart(&self, ticket: &str) -> Result<Departure, ConnectError> {
        let held = self.behind(ticket).await?;
        let now = self.0.parts.clock.now();
        let authorization = &held.value;
        if authorization.status != Status::Pending || authorization.is_expired(now) {
            return Err(ConnectError::Unknown);
        }
        if !authorization.is_open(now) {
            return Err(ConnectError::Exhausted);
        }
        let id = authorization.provider.as_str();
        let provider = self.provider(id).ok_or_else(|| ConnectError::NoProvider(id.to_owned()))?;
        let settings = settings(provider)?;
        // The link may come from a process with another tools.toml, in which this provider means
        // something else than its page could show here.
        if self.0.clients.bound(provider).await?.binding != authorization.binding {
            return Err(ConnectError::OtherConfiguration(provider.id.clone()));
        }
        let registration = self.0.clients.registration(provider).await?;
        let path = format!("/oauth/callback/{id}");
        let redirect_uri = format!("{}{path}", authorization.origin);
        let state = secret::random();
        let cookie =
            Cookie { name: cookie_name(state.expose_secret()), value: secret::random(), path };
        let verifier = settings.pkce.then(secret::random);
        let to = oauth::authorization_url(&AuthorizationRequest {
            endpoint: &registration.authorize,
            client_id: &registration.client.client_id,
            redirect_uri: &redirect_uri,
            state: &state,
            verifier: verifier.as_ref(),
            scope: (
                &settings.scope_parameter,
                authorization.scopes.join(&settings.scope_separator),
            ),
            params: &settings.params,
        })?;
        let started = Authorization { starts: authorization.starts + 1, ..authorization.clone() };
        let store = self.store().await?;
        // Counted first: without the count a link could fill the store with states.
        if !store.update(&started, &held).await? {
            return Err(ConnectError::Contended);
        }
        let started = Started {
            authorization: started,
            browser: secret::fingerprint(cookie.value.expose_secret()),
            verifier,
            redirect_uri,
            client: registration.client,
            issuer: registration.issuer,
            issuer_required: registration.issuer_required,
            started_at: now,
        };
        store.start(&state, &started).await?;
        tracing::info!(provider = id, "a browser left for the provider");
        Ok(Departure { to, cookie })
    }

    /// The person clicked "No, thanks".
    pub async fn decline(&self, ticket: &str) -> Result<(), ConnectError> {
        let held = self.behind(ticket).await?;
        if held.value.status == Status::Pending {
            self.conclude(&held.value, Status::Failed("You said no.".into()), Scopes::default())
                .await?;
        }
        Ok(())
    }

    /// Clears away what has expired; returns where the links lead that are still open.
    pub async fn open_origins(&self) -> Result<std::collections::BTreeSet<String>, StoreError> {
        let store = self.store().await?;
        let now = self.0.parts.clock.now();
        store.sweep(now).await?;
        let open = store.open_authorizations().await?;
        Ok(open
            .into_iter()
            .filter(|held| held.value.status == Status::Pending)
            .map(|held| held.value.origin)
            .collect())
    }

    async fn behind(&self, ticket: &str) -> Result<Held<Authorization>, ConnectError> {
        self.store().await?.by_ticket(ticket).await?.ok_or(ConnectError::Unknown)
    }

    /// Writes an authorization's end and, once that is durable, tells whoever waits.
    pub(super) async fn conclude(
        &self,
        authorization: &Authorization,
        status: Status,
        refused: Scopes,
    ) -> Result<(), StoreError> {
        let store = self.store().await?;
        for _ in 0..16 {
            let Some(held) = store.reread(authorization).await? else { break };
            // A consent outweighs a refusal that comes after it, e.g. from a second tab.
            if held.value.status == Status::Completed {
                break;
            }
            let end = Authorization {
                status: status.clone(),
                refused: refused.clone(),
                ..held.value.clone()
            };
            if store.update(&end, &held).await? {
                break;
            }
        }
        self.0.completion.announce(&authorization.id);
        Ok(())
    }
}

/// The name of a trip's cookie. It tells nothing of the state, and the callback can reckon it.
pub(super) fn cookie_name(state: &str) -> String {
    let fingerprint = secret::fingerprint(state);
    let short: String = fingerprint.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    format!("countersign_{short}")
}

fn prompt(
    provider: &Provider,
    authorization: &Authorization,
    needed: &Scopes,
    asked_by: AskedBy,
    reason: PromptReason,
    now: Time,
) -> ConnectPrompt {
    ConnectPrompt {
        provider: provider.id.clone(),
        title: provider.title.clone(),
        tool: asked_by.tool,
        scopes: needed.clone(),
        scope_words: needed
            .iter()
            .filter_map(|scope| provider.scope_words.get(scope).cloned())
            .collect(),
        reason,
        url: authorization.link(),
        authorization: authorization.id.clone(),
        expires_at: authorization.expires_at(),
        lives_minutes: minutes_left(authorization, now),
        notice: None,
    }
}

fn minutes_left(authorization: &Authorization, now: Time) -> u64 {
    authorization.expires_at().since(now).as_secs().div_ceil(60)
}

/// A hint as a sentence of its own.
pub(super) fn sentence(hint: &str) -> String {
    let mut letters = hint.chars();
    let Some(first) = letters.next() else { return String::new() };
    let rest = letters.as_str();
    let end = if rest.ends_with(['.', '`']) { "" } else { "." };
    // A command or a name keeps its case.
    if rest.starts_with(|c: char| c.is_uppercase() || c == '_') {
        return format!("{hint}{end}");
    }
    format!("{}{rest}{end}", first.to_uppercase())
}
