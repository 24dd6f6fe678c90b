//! One consent, as an application asks for it and follows it until it ends.

use std::sync::Arc;
use std::time::Duration;

use super::{Asking, ConsentState, ProviderConsent, ProviderNeed};
use crate::broker::accounts::by_name::ChoiceError;
use crate::broker::client::registration::settings;
use crate::broker::consent::wait::{NotConnected, Waited};
use crate::broker::grant::access::AccessError;
use crate::broker::{Broker, caller_failures};
use crate::model::grant::AccountIdentity;
use crate::model::retention::Retention;
use crate::model::scope::Implied;
use crate::model::{
    AccountName, Authorization, Caller, Failure, Grant, Principal, Provider, ProviderId, Scopes,
    Standing, ToolName,
};
use crate::store::{Held, StoreError};

/// A consent, as its application sees it.
#[derive(Debug)]
pub struct AuthorizationView {
    pub caller: Caller,
    /// `None` if no user consents there: the tools need no account, or the server's own.
    pub provider: Option<ProviderId>,
    pub account: AccountName,
    /// Once it is completed, all scopes of the grant; before that, the scopes that it is asked for.
    pub scopes: Scopes,
    pub state: ViewState,
}

/// State of a consent.
#[derive(Debug)]
pub enum ViewState {
    /// Needed, and no link was asked for.
    NotStarted,
    Completed {
        /// The account, if the provider names it.
        connected: Option<AccountIdentity>,
    },
    Pending {
        /// [`ConnectLink::id`](crate::model::authorization::ConnectLink::id), for
        /// [`Broker::authorization_status`].
        id: String,
        /// Our own page.
        url: String,
    },
    Failed(NotConnected),
    /// The user has refused it too often of late to be asked again.
    RefusedOften,
    /// Unknown, or not to be asked for now.
    Unavailable(Failure),
}

impl Broker {
    /// Asks for a consent at one provider, outside any call. Without `scopes`, it asks for those
    /// that the provider's table always asks for.
    pub async fn authorize(
        &self,
        principal: &Principal,
        provider: &Arc<Provider>,
        scopes: &Scopes,
        asking: Asking<'_>,
    ) -> AuthorizationView {
        self.authorize_account(principal, provider, &AccountName::default(), scopes, asking).await
    }

    /// Like [`Self::authorize`], for the user's account of this name.
    pub async fn authorize_account(
        &self,
        principal: &Principal,
        provider: &Arc<Provider>,
        account: &AccountName,
        scopes: &Scopes,
        asking: Asking<'_>,
    ) -> AuthorizationView {
        if !provider.is_by_consent() {
            return AuthorizationView::unneeded(principal.caller.clone());
        }
        let own = || settings(provider).map(|settings| settings.scopes.clone()).unwrap_or_default();
        let scopes = if scopes.is_empty() { own() } else { scopes.clone() };
        let (provider, account) = (Arc::clone(provider), account.clone());
        let need = ProviderNeed { provider, account, scopes, tools: Vec::new() };
        let consent = self.consent(principal, need, asking).await;
        AuthorizationView::of(principal.caller.clone(), consent)
    }

    /// Asks for what these tools need: one consent for each provider, none for tools that need
    /// none.
    pub async fn authorize_tools(
        &self,
        principal: &Principal,
        tools: &[ToolName],
        asking: Asking<'_>,
    ) -> Vec<AuthorizationView> {
        let needs = self.needs(principal, tools);
        let consents = self.readiness_of(principal, needs, asking).await;
        let view = |consent| AuthorizationView::of(principal.caller.clone(), consent);
        consents.into_iter().map(view).collect()
    }

    /// Waits until this user's consent with this id ends, for at most `wait`, and returns its
    /// state. `None`: there is none, its link has expired, or a newer link has replaced it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn authorization_status(
        &self,
        caller: &Caller,
        id: &str,
        wait: Duration,
    ) -> Result<Option<AuthorizationView>, StoreError> {
        let followed = self.consents().follow(caller, id, wait).await?;
        let Some((authorization, waited)) = followed else { return Ok(None) };
        let (link, request) = (authorization.link(), authorization.request());
        let (scopes, state) = match waited {
            Waited::Over => return Ok(None),
            Waited::Pending => {
                let (id, url) = (link.id.clone(), link.url());
                (request.needed.clone(), ViewState::Pending { id, url })
            }
            Waited::Failed(why) => (request.needed.clone(), ViewState::Failed(why)),
            Waited::Completed(_) => {
                let grant = self.grant_behind(&authorization).await?.map(|held| held.value);
                let grant = grant.filter(|grant| grant.ended.is_none());
                // A consent for one call may have been used since; any other has been ended, and
                // the client must ask again.
                if grant.is_none() && link.plan.retention != Retention::UseOnce {
                    return Ok(None);
                }
                let scopes = grant.as_ref().map_or(&request.needed, |grant| &grant.scopes).clone();
                let connected = grant.and_then(|grant| grant.identity);
                (scopes, ViewState::Completed { connected })
            }
        };
        let provider = Some(link.provider.clone());
        let account = link.account.clone();
        Ok(Some(AuthorizationView { caller: caller.clone(), provider, account, scopes, state }))
    }

    /// Returns the account of this name that the user has connected at a provider; without a name,
    /// the one that a call without an account means. `None` if there is none that works, or if it is
    /// unclear which one is meant.
    ///
    /// # Errors
    /// The failure that a call would have now.
    pub async fn connection_status(
        &self,
        principal: &Principal,
        provider: &ProviderId,
        account: Option<&AccountName>,
    ) -> Result<Option<AuthorizationView>, Failure> {
        let caller = &principal.caller;
        let found = self.provider_of(caller, provider).await;
        let found = found
            .map_err(|error| caller_failures::no_access(&AccessError::from(error), principal))?;
        let Some(provider) = found else { return Ok(None) };
        let look = async {
            let connection = match account {
                None => self.0.accounts.unnamed(caller, &provider).await?,
                Some(account) => self.0.accounts.exactly(caller, &provider, account).await?,
            };
            let held = self.0.grants.grant_of(&connection).await?;
            Ok(held.map(|held| (connection.account, held.value)))
        };
        let (account, grant) = match look.await {
            Ok(Some(found)) => found,
            Ok(None) | Err(ChoiceError::Account(_)) => return Ok(None),
            Err(ChoiceError::Access(error)) => {
                return Err(caller_failures::no_access(&error, principal));
            }
        };
        let now = self.now();
        let standing = grant.standing(&Scopes::none(), &Implied::new(), now);
        let is_usable = matches!(standing, Standing::Usable | Standing::Stale)
            && (!grant.is_refused() || grant.tokens.is_live(now));
        Ok(is_usable.then(|| AuthorizationView {
            caller: caller.clone(),
            provider: Some(grant.provider),
            account,
            scopes: grant.scopes,
            state: ViewState::Completed { connected: grant.identity },
        }))
    }

    async fn grant_behind(&self, of: &Authorization) -> Result<Option<Held<Grant>>, StoreError> {
        let link = of.link();
        let binding = link.binding.fingerprint();
        self.store().await?.grant(&link.caller, &link.provider, &binding, &link.account).await
    }
}

impl AuthorizationView {
    /// A consent that is not needed.
    pub fn unneeded(caller: Caller) -> Self {
        let state = ViewState::Completed { connected: None };
        let account = AccountName::default();
        Self { caller, provider: None, account, scopes: Scopes::none(), state }
    }

    fn of(caller: Caller, ProviderConsent { need, state }: ProviderConsent) -> Self {
        let mut account = need.account;
        let (scopes, state) = match state {
            ConsentState::Ready { account: connected_account, scopes, identity, .. } => {
                account = connected_account;
                (scopes, ViewState::Completed { connected: identity })
            }
            ConsentState::Needed { prompt: None, .. } => (need.scopes, ViewState::NotStarted),
            ConsentState::Needed { prompt: Some(prompt), .. } => {
                let (id, url) = (prompt.authorization.id, prompt.url);
                (prompt.scopes, ViewState::Pending { id, url })
            }
            ConsentState::RefusedOften => (need.scopes, ViewState::RefusedOften),
            ConsentState::Failed(failure) => (need.scopes, ViewState::Unavailable(failure)),
        };
        let provider = Some(need.provider.id.clone());
        Self { caller, provider, account, scopes, state }
    }
}
