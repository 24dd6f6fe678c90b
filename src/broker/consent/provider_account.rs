//! Which provider account a token belongs to, as the provider reports it.

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::Consents;
use super::keep::Consent;
use crate::model::consent_plan::{ConsentMethod, ConsentPlan};
use crate::model::failure::Retry;
use crate::model::grant::{AccountIdentity, Binding};
use crate::model::hosts::Hosts;
use crate::model::{ProviderId, text};
use crate::net::host_of;
use crate::upstream::{Answer, Credential};

/// Characters kept of an account's label; the rest is cut off.
const MAX_LABEL_CHARS: usize = 200;

/// A provider's answer to the question whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) enum TokenOwner {
    Account(AccountIdentity),
    /// The provider has no way to tell, or does not tell this client.
    Untold,
    /// The provider did not answer for the moment.
    NoAnswer,
    /// The provider does not honour the token (401).
    Refused,
}

impl Consents {
    /// Asks the provider which account this token belongs to. `None` if it has no way to tell, or
    /// did not: a consent is not lost for that.
    pub(super) async fn whose(
        &self,
        Consent { provider, binding, plan, .. }: Consent<'_>,
        token: &SecretString,
    ) -> Option<AccountIdentity> {
        match self.owner_of(provider, binding, plan, token).await {
            TokenOwner::Account(account) => Some(account),
            TokenOwner::Untold | TokenOwner::NoAnswer | TokenOwner::Refused => None,
        }
    }

    /// Asks the provider which account this token belongs to.
    pub(in crate::broker) async fn owner_of(
        &self,
        provider: &ProviderId,
        binding: &Binding,
        plan: &ConsentPlan,
        token: &SecretString,
    ) -> TokenOwner {
        let ConsentMethod::Code(code) = &plan.method else { return TokenOwner::Untold };
        let Some(identity) = &code.identity else { return TokenOwner::Untold };
        // The configuration allows only an endpoint on an origin that the grant is bound to.
        // Checked again, since the record may be another process's.
        let bound = [&code.authorize, &code.client.token_endpoint];
        let is_beside = bound.iter().any(|bound| bound.origin() == identity.url.origin());
        let own = is_beside.then(|| host_of(&identity.url));
        let hosts = Hosts::new(binding.hosts.iter().chain(own.as_deref()));
        let api = plan.api(provider, &hosts);
        let credential = Credential::Bearer(token.clone());
        let tool = identity.tool(provider);
        let upstream = &self.0.parts.upstream;
        let answer = match upstream.execute(&tool, Some(api), &Map::new(), Some(&credential)).await
        {
            Answer::Done(result) => result.into_text(),
            Answer::Unauthorized(_) => return TokenOwner::Refused,
            Answer::Failed(failure) => {
                tracing::info!(%provider, "the provider does not tell whose account it is");
                return match failure.kind.retry() {
                    Retry::Soon | Retry::InMinutes | Retry::After(_) => TokenOwner::NoAnswer,
                    _ => TokenOwner::Untold,
                };
            }
            Answer::InsufficientScope { .. } => {
                tracing::info!(%provider, "the provider does not tell whose account it is");
                return TokenOwner::Untold;
            }
        };
        let read = || {
            let answer: Value = serde_json::from_str(&answer?).ok()?;
            Some(AccountIdentity {
                id: identity.id_in(&answer)?,
                label: identity.label_in(&answer).map(|label| text::shown(&label, MAX_LABEL_CHARS)),
            })
        };
        read().map_or(TokenOwner::Untold, TokenOwner::Account)
    }
}
