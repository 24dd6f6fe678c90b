//! Calls with a grant of the server itself.

use std::sync::Arc;

use secrecy::SecretString;

use super::Run;
use crate::broker::Catalogue;
use crate::broker::grant::access::Ready;
use crate::model::failure::ApiRefusal;
use crate::model::oauth::OAuthSettings;
use crate::model::{Failure, FailureKind, Outcome, Provider, Scopes, Tool};
use crate::upstream::{Answer, Credential};

impl Run<'_> {
    /// Executes with the server's own token: one new token after a 401, and no third try.
    pub(super) async fn with_server_token(
        &self,
        catalogue: &Arc<Catalogue>,
        settings: &OAuthSettings,
    ) -> Outcome {
        let Self { provider, tool, .. } = *self;
        let grants = &self.broker.0.grants;
        if let Err(unsent) = self.sending.settle(Some(provider), None).await {
            return *unsent;
        }
        let mut rejected: Option<SecretString> = None;
        loop {
            let token = grants.server_token(catalogue, provider, &tool.scopes, rejected.as_ref());
            let Ready { token, granted, .. } = match token.await {
                Ok(ready) => ready,
                Err(error) => return Outcome::Failed(error.failure()),
            };
            match self.execute(None, &Credential::Bearer(token.clone())).await {
                Ok(Answer::Done(result)) => return Outcome::Complete(result),
                Ok(Answer::Failed(failure)) => return Outcome::Failed(failure),
                Ok(Answer::InsufficientScope { needed, failure }) => {
                    let missing = needed.missing_from(&granted, &settings.implied);
                    return Outcome::Failed(insufficient(provider, tool, missing, failure));
                }
                Ok(Answer::Unauthorized(failure)) if rejected.is_some() => {
                    return Outcome::Failed(unwelcome(failure));
                }
                Ok(Answer::Unauthorized(failure)) if !self.sending.may_repeat() => {
                    return Outcome::Failed(failure);
                }
                Ok(Answer::Unauthorized(_)) => rejected = Some(token),
                Err(unsent) => return *unsent,
            }
        }
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
