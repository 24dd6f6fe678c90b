//! The first half of a consent: from "this needs a consent" to the browser leaving for the provider.

use std::collections::BTreeSet;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use super::clients::{SetupError, settings};
use super::{Broker, Contended, MOST_TRIES, OriginError};
use crate::model::authorization::{AskedBy, LIFETIME, Started, Status};
use crate::model::secret;
pub(super) use crate::model::text::sentence;
use crate::model::{
    Authorization, Caller, ConnectPrompt, Grant, PromptReason, Provider, ProviderId, Scopes,
    Standing, Time, ToolName,
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
    #[error("the consent has just been given")]
    GrantedMeanwhile,
    #[error("`{0}` is not in this server's tools.toml")]
    NoProvider(String),
    #[error("the link was made under another tools.toml, where `{0}` means something else")]
    OtherConfiguration(ProviderId),
    #[error("the provider's address is not usable")]
    Address(#[from] url::ParseError),
    /// The page that the person saw says less, or something else, than what would be sent.
    #[error("what is asked for has changed since this page was opened")]
    Changed,
    #[error(transparent)]
    Contended(#[from] Contended),
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
            Self::Changed => "read the page again before you go on".into(),
            Self::Contended(_) | Self::GrantedMeanwhile => "try again".into(),
        }
    }
}

/// What a connect page shows. Nothing in it is secret.
#[derive(Clone, Debug)]
pub struct Invitation {
    pub provider: String,
    pub title: String,
    pub client: Option<String>,
    pub tools: Vec<ToolName>,
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
    /// Needed and not granted, once the authorization is completed.
    pub refused: Vec<String>,
    /// The provider's own words for its refusal.
    pub said: Option<String>,
    pub is_expired: bool,
    /// Names what the page says; [`Broker::depart`] wants it back.
    pub digest: String,
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
        let origin = (self.0.parts.origin)(provider, settings.loopback)?;
        let bound = self.0.clients.bound(provider).await?;
        let store = self.store().await?;
        let notice = store.notice().map(ToString::to_string);
        self.sweep_in_time();
        for _ in 0..MOST_TRIES {
            let now = self.0.parts.clock.now();
            let held = store.authorization(caller, &provider.id, &bound.identity).await?;
            // After the authorization: one that is seen to be completed has its grant in the store.
            let grant = self.grant_of(caller, provider, &bound).await?.map(|held| held.value);
            let is_enough = |grant: &Grant| {
                let standing = grant.standing(needed, &settings.implied, now);
                matches!(standing, Standing::Usable | Standing::Stale)
            };
            // A call that found nothing while the consent was being kept: a new link would replace
            // the one that has just done its work, and wait for a click that never comes.
            if asked_by.tool.is_some() && grant.as_ref().is_some_and(is_enough) {
                return Err(ConnectError::GrantedMeanwhile);
            }
            let granted = grant.map(|grant| grant.scopes).unwrap_or_default();
            let scopes = granted.union(needed).union(&settings.scopes);
            let open = held.as_ref().map(|held| &held.value).filter(|open| {
                // To the letter: a link made under another tools.toml may carry more hosts than
                // this one's page would show.
                open.is_open(now) && open.origin == origin && open.binding == bound.binding
            });
            let authorization = match open {
                Some(open) if shows(open, &scopes, needed, &asked_by) => {
                    let prompt = prompt(provider, open, needed, asked_by, reason, now);
                    return Ok(ConnectPrompt { notice, ..prompt });
                }
                // The same link, for more: whoever opens it from now on sees all of it.
                Some(open) => Authorization {
                    scopes: open.scopes.union(&scopes),
                    needed: open.needed.union(needed),
                    tools: open.tools.iter().chain(&asked_by.tool).cloned().collect(),
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
                    tools: asked_by.tool.iter().cloned().collect(),
                    asked_by: asked_by.clone(),
                    origin: origin.clone(),
                    created_at: now,
                    starts: 0,
                    status: Status::Pending,
                    refused: Scopes::default(),
                    said: None,
                },
            };
            // All that the trip will need is asked for now: a person must not be sent to a page
            // that can only fail.
            self.0.clients.registration(provider).await?;
            if store.open_link(&authorization, held.as_ref()).await? {
                let prompt = prompt(provider, &authorization, needed, asked_by, reason, now);
                return Ok(ConnectPrompt { notice, ..prompt });
            }
        }
        Err(Contended.into())
    }

    /// What is behind a link. Changes nothing: link scanners and prefetching browsers come here too.
    pub async fn invitation(&self, ticket: &str) -> Result<Invitation, ConnectError> {
        let held = self.behind(ticket).await?;
        let now = self.0.parts.clock.now();
        let authorization = &held.value;
        if authorization.status != Status::Pending {
            // Nobody may be waiting to hear of it.
            let _ = self.0.shown.send(authorization.id.clone());
        }
        let provider = self.provider(authorization.provider.as_str());
        let word = |scope: &str| provider.and_then(|found| found.scope_words.get(scope).cloned());
        Ok(Invitation {
            provider: authorization.provider.to_string(),
            title: provider
                .map_or_else(|| authorization.provider.to_string(), |found| found.title.clone()),
            client: authorization.asked_by.client.clone(),
            tools: authorization.tools.iter().cloned().collect(),
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
            said: authorization.said.clone(),
            is_expired: authorization.is_expired(now),
            digest: digest(authorization),
        })
    }

    /// The person clicked "Continue" on the page of this `digest`: binds this browser and sends it to
    /// the provider.
    pub async fn depart(&self, ticket: &str, digest: &str) -> Result<Departure, ConnectError> {
        let held = self.behind(ticket).await?;
        let now = self.0.parts.clock.now();
        let authorization = &held.value;
        if authorization.status != Status::Pending || authorization.is_expired(now) {
            return Err(ConnectError::Unknown);
        }
        if !authorization.is_open(now) {
            return Err(ConnectError::Exhausted);
        }
        // A link may be widened while its page is on a screen; a click there approves what that page
        // said and nothing more.
        if !secret::same(digest, &self::digest(authorization)) {
            return Err(ConnectError::Changed);
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
        let redirect_uri = authorization.redirect_uri();
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
            return Err(Contended.into());
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
            let end = End::Failed { why: "You said no.".into(), said: None };
            return self.conclude(&held.value, end).await;
        }
        Ok(())
    }

    /// Clears away what has expired; returns where the links lead that are still open.
    pub async fn open_origins(&self) -> Result<BTreeSet<String>, StoreError> {
        let store = self.store().await?;
        let now = self.0.parts.clock.now();
        *self.0.swept.lock() = Some(now);
        store.sweep(now).await?;
        let open = store.open_authorizations().await?;
        Ok(open
            .into_iter()
            .filter(|held| held.value.status == Status::Pending)
            .map(|held| held.value.origin)
            .collect())
    }

    /// Clears away what has expired, beside the call that comes here and once per life of a link: a
    /// server that runs for months must not keep every link that was never opened.
    fn sweep_in_time(&self) {
        let now = self.0.parts.clock.now();
        {
            let mut swept = self.0.swept.lock();
            if swept.is_some_and(|last| now.since(last) < LIFETIME) {
                return;
            }
            *swept = Some(now);
        }
        let broker = self.clone();
        self.0.tasks.spawn(async move {
            let swept = async { broker.store().await?.sweep(now).await };
            if let Err(error) = swept.await {
                tracing::warn!(%error, "what has expired was not cleared away");
            }
        });
    }

    async fn behind(&self, ticket: &str) -> Result<Held<Authorization>, ConnectError> {
        self.store().await?.by_ticket(ticket).await?.ok_or(ConnectError::Unknown)
    }

    /// Writes an authorization's end and, once that is durable, tells whoever waits.
    pub(super) async fn conclude<E: From<StoreError> + From<Contended>>(
        &self,
        authorization: &Authorization,
        end: End,
    ) -> Result<(), E> {
        let store = self.store().await?;
        let (status, refused, said) = match end {
            End::Completed { refused } => (Status::Completed, refused, None),
            End::Failed { why, said } => (Status::Failed(why), Scopes::default(), said),
        };
        for _ in 0..MOST_TRIES {
            let Some(held) = store.reread(authorization).await? else { return Ok(()) };
            // A consent outweighs a refusal that comes after it, e.g. from a second tab.
            if held.value.status == Status::Completed {
                return Ok(());
            }
            let ended = Authorization {
                status: status.clone(),
                refused: refused.clone(),
                said: said.clone(),
                ..held.value.clone()
            };
            if store.update(&ended, &held).await? {
                // Nobody listening is no fault: most authorizations are not waited for.
                let _ = self.0.ended.send(ended.id);
                return Ok(());
            }
        }
        Err(Contended.into())
    }
}

/// How an authorization ended.
pub(super) enum End {
    Completed {
        /// Needed and not granted.
        refused: Scopes,
    },
    Failed {
        /// In our words.
        why: String,
        /// In the provider's.
        said: Option<String>,
    },
}

/// Whether the page of an open link says all that this asker wants.
fn shows(open: &Authorization, scopes: &Scopes, needed: &Scopes, asked_by: &AskedBy) -> bool {
    scopes.is_subset(&open.scopes)
        && needed.is_subset(&open.needed)
        && asked_by.tool.iter().all(|tool| open.tools.contains(tool))
}

/// Names what a connect page says of who asks for what.
fn digest(authorization: &Authorization) -> String {
    let Authorization { scopes, binding, asked_by, tools, .. } = authorization;
    // `Debug` quotes every text, so no two pages are written alike.
    secret::fingerprint(&format!("{:?}", (scopes, &binding.hosts, &asked_by.client, tools)))
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
        redirect_uri: authorization.redirect_uri(),
        authorization: authorization.id.clone(),
        expires_at: authorization.expires_at(),
        lives_minutes: minutes_left(authorization, now),
        notice: None,
    }
}

fn minutes_left(authorization: &Authorization, now: Time) -> u64 {
    authorization.expires_at().since(now).as_secs().div_ceil(60)
}
