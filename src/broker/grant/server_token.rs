//! Calls with a grant of the server itself: client credentials, or an assertion that we sign. One
//! token for all users.
//!
//! It is stored like any grant, under [`Caller::server`], so that restarts and other processes
//! share it. Getting a new one spends nothing, so two processes may do so at once without
//! coordination; within a process, [`super::refresh`] makes it one request. No user can consent
//! here: every refusal is the operator's to fix, and no call leads to a link.
//!
//! | the stored token | what happens |
//! |---|---|
//! | fresh, with the scopes that the tool needs | it is used |
//! | near its end | a new one; if none is available, it is used to its end |
//! | ended, refused by the API, or none | a new one |
//! | lacks a scope that the tool needs | a new one with both; scopes that the server then leaves out are asked for again after a minute, and until then the API decides |
//!
//! | the token endpoint | what follows |
//! |---|---|
//! | issues | stored, used |
//! | 5xx, 408, 429, `temporarily_unavailable`, unreachable, unreadable | up to three tries, as for a refresh |
//! | refuses | not asked for a minute; the operator must act |

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::Grants;
use super::access::{AccessError, Ready, ready};
use super::put::{AccountChange, Replaces};
use super::refresh::{Outcome as Refreshed, Refresh};
use crate::broker::client::assertion::assertion;
use crate::broker::client::refusal::{is_about_scopes, is_refusal};
use crate::broker::client::registration::{SetupError, oauth, unasserted};
use crate::broker::client::resend::Tries;
use crate::broker::client::token_endpoints::{CLIENT_REFUSAL_PAUSE, REST, RefusalKey};
use crate::broker::{Broker, Catalogue, Connection, MAX_WRITE_ATTEMPTS};
use crate::model::consent_plan::ClientRegistration;
use crate::model::event::{EventKind, RenewalOutcome};
use crate::model::failure::ApiRefusal;
use crate::model::oauth::{GrantType, OAuthSettings};
use crate::model::retention::Retention;
use crate::model::scope::Implied;
use crate::model::{
    AccountName, Caller, Failure, FailureKind, Grant, Outcome, Provider, Scopes, Time, Tool,
};
use crate::oauth::{Issued, TokenError};
use crate::registry::Entry;
use crate::store::StoreError;
use crate::upstream::{Answer, Credential};

/// Usability of the stored token for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    Good,
    /// Still lives, but a new one would be better: it is near its end, or the server left out a
    /// scope that the tool needs.
    Ageing,
    Ended,
    /// Was not requested with the scopes that the tool needs.
    Lacking,
    /// The API has refused it.
    Refused,
    Missing,
}

impl Broker {
    /// Runs a tool with the server's own token: one new token after a 401, and no third try.
    pub(in crate::broker) async fn run_as_server(
        &self,
        catalogue: &Arc<Catalogue>,
        caller: &Caller,
        tool: &Tool,
        provider: &Arc<Provider>,
        settings: &OAuthSettings,
        arguments: &Map<String, Value>,
    ) -> Outcome {
        let mut rejected: Option<SecretString> = None;
        loop {
            let Ready { token, granted, .. } = match self
                .0
                .grants
                .server_token(catalogue, provider, &tool.scopes, rejected.as_ref())
                .await
            {
                Ok(ready) => ready,
                Err(error) => return Outcome::Failed(error.failure()),
            };
            let credential = Credential::Bearer(token.clone());
            let upstream = &self.0.parts.upstream;
            let (api, credential) = (Some(provider.api()), Some(&credential));
            match upstream.execute_for(caller, tool, api, arguments, credential).await {
                Answer::Done(result) => return Outcome::Complete(result),
                Answer::Failed(failure) => return Outcome::Failed(failure),
                Answer::InsufficientScope { needed, failure } => {
                    let missing = needed.missing_from(&granted, &settings.implied);
                    return Outcome::Failed(insufficient(provider, tool, missing, failure));
                }
                Answer::Unauthorized(failure) if rejected.is_some() => {
                    return Outcome::Failed(unwelcome(failure));
                }
                Answer::Unauthorized(_) => rejected = Some(token),
            }
        }
    }
}

impl Grants {
    /// Returns a token of the server that is good for `needed`, or the best that is issued.
    /// `rejected` is a token that the API has just refused.
    async fn server_token(
        &self,
        catalogue: &Arc<Catalogue>,
        provider: &Arc<Provider>,
        needed: &Scopes,
        rejected: Option<&SecretString>,
    ) -> Result<Ready, AccessError> {
        let implied = &oauth(provider)?.implied;
        let mut is_obtained = false;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            // Resolved each time: a request may have found another account's key.
            let connection = self
                .0
                .clients
                .connection(&Caller::server(), provider, &AccountName::default())
                .await?;
            let held = self.grant_of(&connection).await?.map(|held| held.value);
            let now = self.0.clock.now();
            let worth = worth(held.as_ref(), needed, implied, rejected, now);
            match (worth, held.clone()) {
                (Worth::Good, Some(grant)) => return Ok(ready(grant)),
                // Its lifetime is too short, or the server hands out the same token again; it is
                // tried as it is.
                (Worth::Ageing | Worth::Ended | Worth::Refused, Some(grant)) if is_obtained => {
                    return Ok(ready(grant));
                }
                _ => {}
            }
            let is_usable = worth == Worth::Ageing;
            let (lacking, refused) = (needed.clone(), rejected.cloned());
            let refresh = {
                let (catalogue, connection) = (Arc::clone(catalogue), connection.clone());
                |grants: Grants| async move {
                    grants.obtain(&catalogue, connection, lacking, refused, is_usable).await
                }
            };
            match (self.join_or_start(&connection, is_usable, refresh).await, held) {
                (Ok(()), _) => is_obtained = true,
                (Err(AccessError::NotIssued { .. } | AccessError::Setup(_)), Some(grant))
                    if is_usable =>
                {
                    return Ok(ready(grant));
                }
                (Err(error), _) => return Err(error),
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Obtains and stores a token, unless another process has done so.
    async fn obtain(
        self,
        catalogue: &Catalogue,
        connection: Connection,
        needed: Scopes,
        rejected: Option<SecretString>,
        is_usable: bool,
    ) -> Refreshed {
        match self.obtained(catalogue, &connection, &needed, rejected.as_ref(), is_usable).await {
            Ok(()) => (Ok(()), None),
            Err(error) => {
                let until = self.0.clock.now().after(REST);
                (Err(error), Some(Refresh::CoolingDown(until)))
            }
        }
    }

    async fn obtained(
        &self,
        catalogue: &Catalogue,
        connection: &Connection,
        needed: &Scopes,
        rejected: Option<&SecretString>,
        is_usable: bool,
    ) -> Result<(), AccessError> {
        let Connection { caller, provider, bound, account } = connection;
        let settings = oauth(provider)?;
        let held = self.grant_of(connection).await?.map(|held| held.value);
        let now = self.0.clock.now();
        if worth(held.as_ref(), needed, &settings.implied, rejected, now) == Worth::Good {
            return Ok(());
        }
        // The key is read anew. If it is another account's by now, its token is not for this
        // binding.
        if self.0.clients.bound_anew(provider).await?.fingerprint != bound.fingerprint {
            return Ok(());
        }
        let granted = held.map(|grant| grant.scopes).unwrap_or_default();
        let asked = scopes_to_ask(catalogue, provider, settings, needed, &granted);
        let client = self.0.clients.registration(provider).await?;
        let issued = self.issued(provider, settings, &client, &asked, is_usable).await?;
        let scopes = issued.scopes.unwrap_or_else(|| asked.clone());
        let grant = Grant {
            provider: provider.id.clone(),
            account: account.clone(),
            binding: bound.binding.clone(),
            tokens: issued.tokens,
            refused: asked.missing_from(&scopes, &settings.implied),
            scopes,
            ungranted: Scopes::default(),
            connected_at: self.0.clock.now(),
            refreshed_at: None,
            revocation: client.revocation,
            ended: None,
            ended_at: None,
            unclear_refusals: 0,
            attempt: None,
            identity: None,
            retention: Retention::Refresh,
        };
        let put = self.put(caller, &grant, AccountChange::Confirmed, Replaces::Any);
        Ok(put.await.map(drop)?)
    }

    /// Asks the token endpoint, more than once if its answer allows it.
    async fn issued(
        &self,
        provider: &Provider,
        settings: &OAuthSettings,
        client: &ClientRegistration,
        scopes: &Scopes,
        is_usable: bool,
    ) -> Result<Issued, AccessError> {
        let provider_id = &provider.id;
        let not_issued = |source| AccessError::NotIssued { provider: provider_id.clone(), source };
        let endpoints = &self.0.endpoints;
        let now = || self.0.clock.now();
        let about_scopes = || RefusalKey::Scopes(provider_id.clone(), scopes.clone());
        let about_client = || RefusalKey::Client(provider_id.clone());
        if let Some(source) = endpoints.refusal(&[about_client(), about_scopes()], now()) {
            return Err(not_issued(source));
        }
        let mut tries = Tries::new();
        let is_trouble_known = endpoints.trouble(provider_id).is_some();
        loop {
            let admission = endpoints.admitted(provider_id).await.map_err(not_issued)?;
            let error = match self.ask(provider, settings, client, scopes).await? {
                Ok(issued) => {
                    endpoints.answered(provider_id);
                    self.record(
                        &Caller::server(),
                        provider_id,
                        EventKind::Renewal(RenewalOutcome::Renewed),
                    );
                    return Ok(issued);
                }
                Err(error) => Arc::new(error),
            };
            endpoints.failed(provider_id, &error, now(), "no access token for the server");
            let is_refusal = is_refusal(&error);
            let outcome =
                if is_refusal { RenewalOutcome::ClientRefused } else { RenewalOutcome::Failed };
            self.record(&Caller::server(), provider_id, EventKind::Renewal(outcome));
            drop(admission);
            let is_last = is_refusal || is_usable || is_trouble_known;
            let wait = if is_last { None } else { tries.again(&error) };
            if let Some(wait) = wait {
                tokio::time::sleep(wait).await;
                continue;
            }
            if is_refusal {
                // Another tool may need fewer scopes.
                let is_about_scopes = is_about_scopes(&error);
                let about = if is_about_scopes { about_scopes() } else { about_client() };
                endpoints.leave_alone(about, Arc::clone(&error), now());
            }
            return Err(not_issued(error));
        }
    }

    /// Makes one token request. Each one gets a newly signed assertion, which is good only once.
    async fn ask(
        &self,
        provider: &Provider,
        settings: &OAuthSettings,
        client: &ClientRegistration,
        scopes: &Scopes,
    ) -> Result<Result<Issued, TokenError>, AccessError> {
        let server = &self.0.oauth;
        Ok(match &settings.grant {
            GrantType::ClientCredentials => server.client_credentials(client, scopes).await,
            GrantType::JwtBearer { assertion: written } => {
                let assertion = assertion(settings, written, &client.token_endpoint)
                    .await
                    .map_err(|source| unasserted(provider, source))?;
                server.jwt_bearer(client, &assertion, scopes).await
            }
            GrantType::Code => return Err(SetupError::ByConsent(provider.id.clone()).into()),
        })
    }
}

/// The scopes to ask for: the provider's, the tool's, and those that other tools have been
/// granted, so that two tools do not take each other's token away in turns.
fn scopes_to_ask(
    catalogue: &Catalogue,
    provider: &Provider,
    settings: &OAuthSettings,
    needed: &Scopes,
    granted: &Scopes,
) -> Scopes {
    let tools = catalogue.registry().entries().iter().map(Entry::tool);
    let others = tools
        .filter(|tool| tool.provider.as_ref() == Some(&provider.id))
        .flat_map(|tool| tool.scopes.iter())
        .filter(|scope| granted.contains(scope));
    settings.scopes.union(needed).union(&Scopes::new(others))
}

fn worth(
    grant: Option<&Grant>,
    needed: &Scopes,
    implied: &Implied,
    rejected: Option<&SecretString>,
    now: Time,
) -> Worth {
    let Some(Grant { tokens, scopes, refused, .. }) = grant else { return Worth::Missing };
    if rejected.is_some_and(|token| token.expose_secret() == tokens.access.expose_secret()) {
        return Worth::Refused;
    }
    let missing = needed.missing_from(scopes, implied);
    if !missing.is_subset(refused) {
        return Worth::Lacking;
    }
    let is_whole = missing.is_empty() || now.since(tokens.received_at) < CLIENT_REFUSAL_PAUSE;
    if is_whole && tokens.is_fresh(now) {
        Worth::Good
    } else if tokens.is_live(now) {
        Worth::Ageing
    } else {
        Worth::Ended
    }
}

/// Failure if the API refuses a token that has just been issued.
fn unwelcome(failure: Failure) -> Failure {
    means(failure, ApiRefusal::NewTokenRefused).for_operator(
        "check what the provider's client may do there, and an `audience` or `resource` in its `token_params`",
    )
}

/// Failure if the API wants scopes that the token lacks, regardless of what was asked for.
fn insufficient(provider: &Provider, tool: &Tool, missing: Scopes, failure: Failure) -> Failure {
    let hint = if missing.is_empty() {
        String::new()
    } else {
        let scopes = missing.join("`, `");
        format!(", and name `{scopes}` in `scopes` of [tools.{}]", tool.name)
    };
    let title = &provider.title;
    means(failure, ApiRefusal::MissingServerScopes(missing))
        .for_operator(format!("allow it to the server's client at {title}{hint}"))
}

/// Replaces what a refusal of the API means.
fn means(failure: Failure, refusal: ApiRefusal) -> Failure {
    match failure {
        Failure { kind: FailureKind::Refused { answered, .. }, .. } => {
            Failure { kind: FailureKind::Refused { answered, refusal }, ..failure }
        }
        other => other,
    }
}
