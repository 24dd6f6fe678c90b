//! Checks of a scheduled call: its consent and its tool, when it is scheduled and when it runs.

use std::sync::Arc;

use super::CallForLater;
use crate::broker::call::unfit;
use crate::broker::grant::access::AccessError;
use crate::broker::once::OwnedCall;
use crate::broker::ready::{Asking, ConsentState, ProviderConsent};
use crate::broker::{Broker, Catalogue};
use crate::model::credential::Credential;
use crate::model::scheduled::{NotRun, ScheduledCall, ScheduledConsent, fingerprint};
use crate::model::unasked_place::UnaskedPlace;
use crate::model::{AccountName, Caller, Outcome, Refused, Tool, UnaskedBecause};
use crate::registry::{Accepted, accept};

impl Broker {
    /// Returns the consent that lets the call run while its user is away, if its tool needs one; else
    /// how the call would end now.
    pub(super) async fn consent_for_later(
        &self,
        tool: &Tool,
        later: &CallForLater,
    ) -> Result<Option<ScheduledConsent>, Box<Outcome>> {
        let OwnedCall { principal, arguments, client, .. } = &later.call;
        let account = match accept(tool, Some(arguments.clone())) {
            Ok(Accepted { account, .. }) => account,
            Err(problem) => return Err(Box::new(unfit(tool, problem))),
        };
        let Some(mut need) = self.needs(principal, std::slice::from_ref(&tool.name)).pop() else {
            return Ok(None);
        };
        need.account = account.map(AccountName::new).unwrap_or_default();
        let asking = Asking::Link { client: Some(client), next: None, later: Some(later.run_at) };
        let found = self.readiness_of(principal, vec![need], asking).await.pop();
        let Some(ProviderConsent { need, state }) = found else { return Ok(None) };
        let because = match state {
            ConsentState::Ready { account, identity, .. } => {
                let (provider, identity) = (need.provider.id.clone(), identity.map(|it| it.id));
                return Ok(Some(ScheduledConsent { provider, account, identity }));
            }
            ConsentState::Needed { prompt: Some(prompt), .. } => {
                return Err(Box::new(Outcome::AuthorizationRequired(prompt)));
            }
            ConsentState::Failed(failure) => return Err(Box::new(Outcome::Failed(failure))),
            ConsentState::RefusedOften => UnaskedBecause::RefusedOften,
            ConsentState::Needed { prompt: None, .. } => UnaskedBecause::LinkWithheld,
        };
        Err(Box::new(Outcome::Refused(Refused {
            provider: need.provider.id.clone(),
            title: need.provider.title.clone(),
            account: need.account,
            tool: tool.name.clone(),
            scopes: need.scopes,
            because,
            unasked_place: UnaskedPlace::of(&principal.caller),
        })))
    }

    /// Returns why a call must not use the consent to the account that it was scheduled for; `None`
    /// if it may, or needs none. Another account that is connected later is no substitute.
    pub(super) async fn consent_problem(
        &self,
        call: &ScheduledCall,
    ) -> Result<Option<NotRun>, AccessError> {
        let Some(ScheduledConsent { provider, account, identity }) = &call.consent else {
            return Ok(None);
        };
        let Some(provider) = self.provider_of(&call.caller, provider).await? else {
            return Ok(Some(NotRun::NoConsent));
        };
        let connection = self.0.accounts.exactly(&call.caller, &provider, account).await?;
        // A consent that is held in memory counts like a stored one.
        self.0.consents.retry_save(&connection.name()).await?;
        let grant = self.0.grants.grant_of(&connection).await?.map(|held| held.value);
        let Some(grant) = grant.filter(|grant| grant.ended.is_none()) else {
            return Ok(Some(NotRun::NoConsent));
        };
        let now = grant.identity.map(|it| it.id);
        let is_same = identity.is_none() || *identity == now;
        Ok((!is_same).then_some(NotRun::OtherAccount))
    }

    /// Returns the [`fingerprint`] of a tool and of the credential that it uses.
    pub(super) async fn tool_fingerprint(
        &self,
        catalogue: &Arc<Catalogue>,
        caller: &Caller,
        tool: &Tool,
    ) -> Result<String, AccessError> {
        let provider = tool.provider.as_ref().and_then(|id| catalogue.provider(id.as_str()));
        let Some(provider) = provider else { return Ok(fingerprint(tool, "")) };
        let credential = match &provider.credential {
            Credential::Shared(shared) => format!("{shared:?}"),
            Credential::OAuth(_) | Credential::Asked(_) => {
                let account = AccountName::default();
                let connection = self.0.accounts.exactly(caller, provider, &account).await?;
                connection.bound.fingerprint.clone()
            }
        };
        Ok(fingerprint(tool, &format!("{credential} {:?}", provider.headers)))
    }
}
