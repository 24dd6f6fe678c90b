//! Which provider account a token belongs to, as the provider reports it.

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::Consents;
use super::keep::Consent;
use crate::model::consent_plan::ConsentMethod;
use crate::model::grant::AccountIdentity;
use crate::model::hosts::Hosts;
use crate::model::text;
use crate::net::host_of;
use crate::upstream::{Answer, Credential};

/// Characters kept of an account's label; the rest is cut off.
const MAX_LABEL_CHARS: usize = 200;

impl Consents {
    /// Asks the provider which account this token belongs to. `None` if it has no way to tell, or
    /// did not: a consent is not lost for that.
    pub(super) async fn whose(
        &self,
        Consent { provider, binding, plan, .. }: Consent<'_>,
        token: &SecretString,
    ) -> Option<AccountIdentity> {
        let ConsentMethod::Code(code) = &plan.method else { return None };
        let identity = code.identity.as_ref()?;
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
            Answer::Done(result) => result.into_text()?,
            Answer::Failed(_) | Answer::Unauthorized(_) | Answer::InsufficientScope { .. } => {
                tracing::info!(%provider, "the provider does not tell whose account it is");
                return None;
            }
        };
        let answer: Value = serde_json::from_str(&answer).ok()?;
        Some(AccountIdentity {
            id: identity.id_in(&answer)?,
            label: identity.label_in(&answer).map(|label| text::shown(&label, MAX_LABEL_CHARS)),
        })
    }
}
