//! Token requests that no browser waits for: a refresh, and a token for the server itself.

use std::sync::Arc;

use secrecy::SecretString;

use super::Clients;
use super::assertion::assertion;
use super::refusal::{is_about_scopes, is_refusal};
use super::registration::{SetupError, unasserted};
use super::resend::Tries;
use super::token_endpoints::RefusalKey;
use crate::broker::Connection;
use crate::model::consent_plan::ClientRegistration;
use crate::model::event::{EventKind, RenewalOutcome};
use crate::model::oauth::{GrantType, OAuthSettings};
use crate::model::{Caller, Provider, ProviderId, Scopes};
use crate::oauth::{Issued, TokenError};

/// No token was issued to the server itself.
pub(in crate::broker) enum NotIssued {
    Setup(SetupError),
    /// The token endpoint issued none, or is known to issue none at the moment.
    ByEndpoint(Arc<TokenError>),
}

impl From<SetupError> for NotIssued {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl Clients {
    /// Sends a refresh token once, and notes how the token endpoint answers.
    pub(in crate::broker) async fn refresh(
        &self,
        provider: &ProviderId,
        client: &ClientRegistration,
        refresh: &SecretString,
    ) -> Result<Issued, Arc<TokenError>> {
        let answer = self.oauth.refresh(client, refresh).await.map_err(Arc::new);
        match &answer {
            Ok(_) => self.endpoints.answered(provider),
            Err(error) => {
                let now = self.clock.now();
                self.endpoints.failed(provider, error, now, "access token not renewed");
            }
        }
        answer
    }

    /// Asks the token endpoint for a token of the server itself, more than once if its answer
    /// allows it. `is_usable`: the present token is good enough, so one request is.
    pub(in crate::broker) async fn issue_to_server(
        &self,
        Connection { provider, bound, .. }: &Connection,
        settings: &OAuthSettings,
        client: &ClientRegistration,
        scopes: &Scopes,
        is_usable: bool,
    ) -> Result<Issued, NotIssued> {
        let (provider_id, endpoints) = (&provider.id, &self.endpoints);
        let now = || self.clock.now();
        let about_scopes =
            || RefusalKey::Scopes(provider_id.clone(), bound.fingerprint.clone(), scopes.clone());
        let about_client = || RefusalKey::Client(provider_id.clone(), bound.fingerprint.clone());
        let record = |outcome| {
            let kind = EventKind::Renewal(outcome);
            self.events.record_access(&Caller::server(), provider_id, kind);
        };
        if let Some(source) = endpoints.refusal(&[about_client(), about_scopes()], now()) {
            return Err(NotIssued::ByEndpoint(source));
        }
        let mut tries = Tries::new();
        let is_trouble_known = endpoints.trouble(provider_id).is_some();
        loop {
            let admission = endpoints.admitted(provider_id).await.map_err(NotIssued::ByEndpoint)?;
            let error = match self.ask(provider, settings, client, scopes).await? {
                Ok(issued) => {
                    endpoints.answered(provider_id);
                    record(RenewalOutcome::Renewed);
                    return Ok(issued);
                }
                Err(error) => Arc::new(error),
            };
            endpoints.failed(provider_id, &error, now(), "no access token for the server");
            let is_refusal = is_refusal(&error);
            let outcome =
                if is_refusal { RenewalOutcome::ClientRefused } else { RenewalOutcome::Failed };
            record(outcome);
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
            return Err(NotIssued::ByEndpoint(error));
        }
    }

    /// Makes one token request. Each one gets a newly signed assertion, which is good only once.
    async fn ask(
        &self,
        provider: &Provider,
        settings: &OAuthSettings,
        client: &ClientRegistration,
        scopes: &Scopes,
    ) -> Result<Result<Issued, TokenError>, SetupError> {
        Ok(match &settings.grant {
            GrantType::ClientCredentials => self.oauth.client_credentials(client, scopes).await,
            GrantType::JwtBearer { assertion: written } => {
                let assertion = assertion(settings, written, &client.token_endpoint)
                    .await
                    .map_err(|source| unasserted(provider, source))?;
                self.oauth.jwt_bearer(client, &assertion, scopes).await
            }
            GrantType::Code => return Err(SetupError::ByConsent(provider.id.clone())),
        })
    }
}
