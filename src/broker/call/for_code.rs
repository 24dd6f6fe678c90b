//! Tokens that the code of a tool asks for while it runs: the same grants, and the same consents, as
//! for a tool that declares them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use serde_json::Map;

use super::send::Sending;
use super::{Links, Run, shared_secret_failed};
use crate::broker::accounts::by_name::ChoiceError;
use crate::broker::client::credential;
use crate::broker::code::{CodeCall, HeldGrant, Resources, Stop};
use crate::broker::grant::access::{Access, Needed};
use crate::broker::{Broker, Catalogue};
use crate::model::credential::Credential as Held;
use crate::model::requester::AskedBy;
use crate::model::text::nearest;
use crate::model::{AccountName, FailureKind, Outcome, PromptReason, Provider, Scopes, Tool};
use crate::upstream::{Credential, Upstream};

/// The server's side of a run.
struct CodeResources {
    broker: Broker,
    catalogue: Arc<Catalogue>,
    call: Arc<CodeCall>,
    links: Links,
}

impl Sending<'_> {
    /// Returns what the code of this call may know and use.
    pub(super) fn for_code(&self) -> (Arc<CodeCall>, Arc<dyn Resources>) {
        let call = Arc::new(CodeCall {
            tool: self.tool.clone(),
            principal: self.principal.clone(),
            plan_run: self.run.map(str::to_owned),
            client: self.client.map(str::to_owned),
        });
        let (broker, catalogue) = (self.broker.clone(), Arc::clone(self.catalogue));
        let resources =
            CodeResources { broker, catalogue, call: Arc::clone(&call), links: self.links };
        (call, Arc::new(resources))
    }
}

impl Resources for CodeResources {
    fn upstream(&self) -> &Upstream {
        &self.broker.0.parts.upstream
    }

    fn grant<'a>(
        &'a self,
        provider: &'a str,
        scopes: &'a Scopes,
        declared: Option<&'a HeldGrant>,
    ) -> BoxFuture<'a, Result<HeldGrant, Stop>> {
        async move {
            let Some(found) = self.catalogue.provider(provider) else {
                return Err(Stop::Error(self.unknown(provider)));
            };
            let same = declared.filter(|held| held.provider.id == found.id);
            let account = same.and_then(|held| held.account.as_ref());
            let granted = self.granted(found, scopes, account).await;
            let (account, credential) = granted.map_err(Stop::Outcome)?;
            Ok(HeldGrant::new(Arc::clone(found), account, scopes.clone(), credential))
        }
        .boxed()
    }

    fn renewed<'a>(
        &'a self,
        held: &'a HeldGrant,
        rejected: &'a SecretString,
    ) -> BoxFuture<'a, Option<Credential>> {
        async move {
            let (accounts, grants) = (&self.broker.0.accounts, &self.broker.0.grants);
            let (caller, account) = (&self.call.principal.caller, held.account.as_ref()?);
            let connection = accounts.exactly(caller, &held.provider, account).await.ok()?;
            let away = self.links == Links::WithholdWhileAway;
            let needed = Needed { scopes: &held.scopes, away };
            match grants.access(&connection, needed, Some(rejected)).await {
                Ok(Access::Ready(ready)) => {
                    let user = ready.user.as_deref();
                    credential::kept(&held.provider, user, &ready.token).await.ok()
                }
                Ok(Access::Missing { .. } | Access::Refused) | Err(_) => None,
            }
        }
        .boxed()
    }
}

impl CodeResources {
    fn unknown(&self, provider: &str) -> String {
        let known = self.catalogue.providers().map(|known| known.id.as_str());
        let near = nearest(provider, known).map(|near| format!("; did you mean `{near}`?"));
        format!("`{provider}` is no provider of tools.toml{}", near.unwrap_or_default())
    }

    /// Returns a credential, and the user's account that it belongs to.
    async fn granted(
        &self,
        provider: &Arc<Provider>,
        scopes: &Scopes,
        account: Option<&AccountName>,
    ) -> Result<(Option<AccountName>, Credential), Box<Outcome>> {
        let Self { broker, catalogue, call, links } = self;
        // The need of this token alone. The call's own need is met, and the call is confirmed.
        let tool = Tool {
            provider: Some(provider.id.clone()),
            scopes: scopes.clone(),
            confirm: None,
            ..call.tool.clone()
        };
        let sending = Sending {
            broker,
            catalogue,
            tool: &tool,
            principal: &call.principal,
            run: call.plan_run.as_deref(),
            client: call.client.as_deref(),
            progress: None,
            arguments: Map::new(),
            links: *links,
            is_confirmed: AtomicBool::new(true),
            may_repeat: AtomicBool::new(false),
        };
        // `is_again`: a consent that was given meanwhile is found by the next call. This one must
        // not run the tool within itself.
        let run = Run {
            broker,
            tool: &tool,
            provider,
            principal: &call.principal,
            sending: &sending,
            is_again: true,
            links: *links,
        };
        match &provider.credential {
            Held::Shared(shared) => match credential::shared(shared).await {
                Ok(credential) => Ok((None, credential)),
                Err(error) => Err(shared_secret_failed(provider, &error)),
            },
            Held::OAuth(settings) if !settings.grant.is_by_consent() => {
                let token = broker.0.grants.server_token(catalogue, provider, &tool.scopes, None);
                match token.await {
                    Ok(ready) => Ok((None, Credential::Bearer(ready.token))),
                    Err(error) => Err(Box::new(Outcome::Failed(error.failure()))),
                }
            }
            Held::OAuth(_) | Held::Asked(_) => {
                let asked_by = AskedBy::call(call.client.as_deref(), tool.name.clone());
                run.only_token(account, asked_by).await
            }
        }
    }
}

impl Run<'_> {
    /// Returns the user's token without running anything with it.
    async fn only_token(
        &self,
        account: Option<&AccountName>,
        asked_by: AskedBy,
    ) -> Result<(Option<AccountName>, Credential), Box<Outcome>> {
        let (accounts, caller) = (&self.broker.0.accounts, &self.principal.caller);
        let connection = match account {
            Some(account) => {
                accounts.exactly(caller, self.provider, account).await.map_err(Into::into)
            }
            None => accounts.unnamed(caller, self.provider).await,
        };
        let connection = connection.map_err(|error| {
            Box::new(match error {
                ChoiceError::Access(error) => self.no_access(&error),
                ChoiceError::Account(problem) => super::failed(FailureKind::Account(problem)),
            })
        })?;
        let (needed, reason) = match self.access(&connection, None).await? {
            Access::Ready(ready) => {
                let kept = credential::kept(self.provider, ready.user.as_deref(), &ready.token);
                let kept = kept.await.map_err(|error| Box::new(self.stored_secret_failed(&error)));
                return kept.map(|credential| (Some(connection.account), credential));
            }
            Access::Missing { needed, reason } => (needed, reason),
            Access::Refused => (self.tool.scopes.clone(), PromptReason::Ended),
        };
        Err(Box::new(self.ask(&connection, &needed, asked_by, reason).await))
    }
}
