//! Readiness: what several tools together still need of their user, with one link for each provider.
//!
//! - [`authorize`]: one consent, as an application asks for it and follows it
//! - [`run`]: the tools of a plan run, with what its calls have shown
//! - [`token`]: the token behind it, for an application that may have it
//! - [`connections`]: a user's accounts, and what their tools still need
//! - [`memo`]: repeats an answer while nothing has changed
//!
//! Reads what is stored. No token is renewed, and nothing is sent but the discovery that a new link
//! needs. Trouble with one provider leaves the others usable.

pub mod authorize;
pub mod connections;
mod memo;
pub mod run;
mod token;

pub(super) use memo::Answers;
pub use token::HandedOut;
pub(super) use token::{LoggedWithheld, gets_token};

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use url::Url;

use self::memo::{Looked, Question};
use super::accounts::by_name::ChoiceError;
use super::consent::LinkOrder;
use super::grant::access::{AccessError, Needed, Outlook};
use super::{Broker, ConnectError, Connection, caller_failures};
use crate::model::authorization::LaterCall;
use crate::model::failure::LinkProblem;
use crate::model::grant::AccountIdentity;
use crate::model::requester::AskedBy;
use crate::model::{
    AccountName, ConnectPrompt, Failure, FailureKind, Principal, PromptReason, Provider, Scopes,
    Time, ToolName,
};
use crate::store::{Seen, StoreError};

/// How long one provider may take; then it is [`ConsentState::Failed`].
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(5);

/// Name of a program that gives none and asks for no tool: a request with neither counts as the
/// user's own, which a program must not be able to make.
const UNNAMED_CLIENT: &str = "A program without a name";

/// A provider's account with the scopes that some tools together need.
#[derive(Clone, Debug)]
pub struct ProviderNeed {
    pub provider: Arc<Provider>,
    /// The default account stands for the one that a call without an account means.
    pub account: AccountName,
    pub scopes: Scopes,
    /// The tools, in the order in which they were named. Empty if no tool needs it.
    pub tools: Vec<ToolName>,
}

/// How far a needed consent is given.
#[derive(Clone, Debug)]
pub enum ConsentState {
    /// Nothing is needed. A grant that a call has to renew first counts as ready.
    Ready {
        /// The account that a call uses.
        account: AccountName,
        /// All scopes of the grant.
        scopes: Scopes,
        connected_at: Time,
        /// The account, if the provider names it.
        identity: Option<AccountIdentity>,
    },
    Needed {
        /// Scopes that are not granted yet.
        needed: Scopes,
        reason: PromptReason,
        /// Asks for all scopes of the need; `None` if no link was asked for.
        prompt: Option<ConnectPrompt>,
    },
    /// The user has refused it too often of late to be asked again.
    RefusedOften,
    /// Unknown, or not to be asked for now. Says nothing about other providers.
    Failed(Failure),
}

/// A need, and how far it is met.
#[derive(Debug)]
pub struct ProviderConsent {
    pub need: ProviderNeed,
    pub state: ConsentState,
}

/// Whether a missing consent gets a link.
#[derive(Clone, Copy, Debug)]
pub enum Asking<'a> {
    /// No: nothing is written.
    Look,
    Link {
        /// Name that the client gives itself; shown on the connect page, not trusted.
        client: Option<&'a str>,
        /// Page that the browser goes to after a consent that lacks nothing. The face has checked
        /// that the client may name it.
        next: Option<&'a Url>,
        /// When the call is to run, if the user is away then: the consent must also cover that.
        later: Option<Time>,
    },
    /// A link, and the consent must also cover that the application gets the token itself, if its
    /// key has that right.
    LinkForToken { client: Option<&'a str>, next: Option<&'a Url> },
}

/// A link that is asked for.
#[derive(Clone, Copy, Debug)]
struct AskedLink<'a> {
    client: Option<&'a str>,
    next: Option<&'a Url>,
    later: Option<Time>,
    for_token: bool,
}

impl<'a> Asking<'a> {
    fn link(self) -> Option<AskedLink<'a>> {
        match self {
            Self::Look => None,
            Self::Link { client, next, later } => {
                Some(AskedLink { client, next, later, for_token: false })
            }
            Self::LinkForToken { client, next } => {
                Some(AskedLink { client, next, later: None, for_token: true })
            }
        }
    }
}

impl Broker {
    /// Returns a need for each provider of these tools whose accounts people connect, in the order of
    /// the tools. Leaves out tools that `principal` may not use.
    pub fn needs(&self, principal: &Principal, tools: &[ToolName]) -> Vec<ProviderNeed> {
        let catalogue = self.catalogue();
        let mut needs: Vec<ProviderNeed> = Vec::new();
        for name in tools {
            let Ok(entry) = catalogue.registry().get(name.as_str(), principal) else { continue };
            let tool = entry.tool();
            let provider = tool.provider.as_ref().and_then(|id| catalogue.provider(id.as_str()));
            let Some(provider) = provider.filter(|it| it.is_by_consent()) else { continue };
            match needs.iter_mut().find(|need| need.provider.id == provider.id) {
                Some(need) => {
                    need.scopes = need.scopes.union(&tool.scopes);
                    if !need.tools.contains(name) {
                        need.tools.push(name.clone());
                    }
                }
                None => needs.push(ProviderNeed {
                    provider: Arc::clone(provider),
                    account: AccountName::default(),
                    scopes: tool.scopes.clone(),
                    tools: vec![name.clone()],
                }),
            }
        }
        needs
    }

    /// Returns how far each need is met, in the same order. Each gets at most one link, which asks
    /// for all of its scopes; an open link of this user there is widened and keeps its address.
    pub async fn readiness_of(
        &self,
        principal: &Principal,
        needs: Vec<ProviderNeed>,
        asking: Asking<'_>,
    ) -> Vec<ProviderConsent> {
        join_all(needs.into_iter().map(|need| self.consent(principal, need, asking))).await
    }

    async fn consent(
        &self,
        principal: &Principal,
        need: ProviderNeed,
        asking: Asking<'_>,
    ) -> ProviderConsent {
        let question = Question::of(principal, &need, asking);
        let answered = self.consent_state(principal, &need, asking, question.as_ref());
        let answered = tokio::time::timeout(PROVIDER_TIMEOUT, answered).await;
        let state = answered.unwrap_or_else(|_| {
            let looked = Looked::failed(late(principal, &need), principal, &need);
            self.remember(question.as_ref(), principal, &need, &looked);
            looked.state
        });
        ProviderConsent { need, state }
    }

    /// Boxed: without that, the type of a call's future exceeds the compiler's depth limit.
    fn consent_state<'a>(
        &'a self,
        principal: &'a Principal,
        need: &'a ProviderNeed,
        asking: Asking<'a>,
        question: Option<&'a Question>,
    ) -> BoxFuture<'a, ConsentState> {
        Box::pin(async move {
            if let Some(state) = self.recalled(question, principal, need).await {
                return state;
            }
            let looked = match self.look(principal, need, asking).await {
                Ok(looked) => looked,
                Err(failure) => Looked::failed(failure, principal, need),
            };
            self.remember(question, principal, need, &looked);
            looked.state
        })
    }

    async fn look(
        &self,
        principal: &Principal,
        need: &ProviderNeed,
        asking: Asking<'_>,
    ) -> Result<Looked, Failure> {
        let connection = self.connection_of(principal, need).await?;
        let seen = self
            .seen(&connection)
            .await
            .map_err(|error| caller_failures::no_access(&AccessError::from(error), principal))?;
        let mut is_again = false;
        loop {
            let Unmet { needed, reason } =
                match self.unmet(principal, &connection, need, asking).await? {
                    Ok(ready) => return Ok(Looked { seen, ..ready }),
                    Err(unmet) => unmet,
                };
            let Some(AskedLink { client, next, later, .. }) = asking.link() else {
                let state = ConsentState::Needed { needed, reason, prompt: None };
                return Ok(Looked { state, seen, until: None });
            };
            let order = LinkOrder {
                more_tools: need.tools.iter().skip(1).cloned().collect(),
                next,
                away: later.is_some(),
                later: later
                    .zip(need.tools.first())
                    .map(|(run_at, tool)| LaterCall { run_at, tool: tool.clone() }),
                hands_out: gets_token(principal, &need.provider),
                ..LinkOrder::new(&need.scopes, asked_by(client, need), reason.clone())
            };
            let browser_proof = &principal.browser_proof;
            match self.0.consents.prompt(&connection, browser_proof, order).await {
                Ok(prompt) => {
                    let until = Some(prompt.expires_at);
                    let state = ConsentState::Needed { needed, reason, prompt: Some(prompt) };
                    return Ok(Looked { state, seen, until });
                }
                Err(ConnectError::GrantedMeanwhile) if !is_again => is_again = true,
                Err(ConnectError::RefusedOften) => {
                    return Ok(Looked { state: ConsentState::RefusedOften, seen, until: None });
                }
                Err(error) => return Err(no_link(&error, principal, need)),
            }
        }
    }

    /// Returns the records that the state of a connection is made from; `None` if those of other
    /// accounts matter, too.
    async fn seen(&self, connection: &Connection) -> Result<Option<Seen>, StoreError> {
        let Connection { caller, provider, bound, account } = connection;
        if provider.accounts {
            return Ok(None);
        }
        let store = self.store().await?;
        store.seen(caller, &provider.id, &bound.fingerprint, account).await.map(Some)
    }

    async fn connection_of(
        &self,
        principal: &Principal,
        need: &ProviderNeed,
    ) -> Result<Connection, Failure> {
        let ProviderNeed { provider, account, .. } = need;
        let caller = &principal.caller;
        let connection = if account.is_default() {
            self.0.accounts.unnamed(caller, provider).await
        } else {
            self.0.accounts.named(caller, provider, account.as_str()).await
        };
        connection.map_err(|error| match error {
            ChoiceError::Access(error) => caller_failures::no_access(&error, principal),
            ChoiceError::Account(problem) => FailureKind::Account(problem).into(),
        })
    }

    /// Returns the state if nothing is needed, else what is.
    async fn unmet(
        &self,
        principal: &Principal,
        connection: &Connection,
        need: &ProviderNeed,
        asking: Asking<'_>,
    ) -> Result<Result<Looked, Unmet>, Failure> {
        let look = async {
            // A consent that is held in memory counts like a stored one.
            self.0.consents.retry_save(&connection.name()).await?;
            let away = asking.link().is_some_and(|asked| asked.later.is_some());
            self.0.grants.outlook(connection, Needed { scopes: &need.scopes, away }).await
        };
        let outlook = look
            .await
            .map_err(|error| caller_failures::no_access(&AccessError::from(error), principal))?;
        let is_for_token = asking
            .link()
            .is_some_and(|asked| asked.for_token && gets_token(principal, &need.provider));
        Ok(match outlook {
            Outlook::Good(grant) if is_for_token && !grant.hands_out => {
                Err(Unmet { needed: need.scopes.clone(), reason: PromptReason::ForToken })
            }
            Outlook::Good(grant) => {
                let until = grant.tokens.expires_at.filter(|_| grant.tokens.refresh.is_none());
                let state = ConsentState::Ready {
                    account: connection.account.clone(),
                    scopes: grant.scopes,
                    connected_at: grant.connected_at,
                    identity: grant.identity,
                };
                Ok(Looked { state, seen: None, until })
            }
            Outlook::Missing { needed, reason } => Err(Unmet { needed, reason }),
        })
    }
}

/// The missing part of a need.
struct Unmet {
    needed: Scopes,
    reason: PromptReason,
}

fn asked_by(client: Option<&str>, need: &ProviderNeed) -> AskedBy {
    let asked_by = AskedBy::new(client, need.tools.first().cloned());
    if asked_by.is_by_hand() { AskedBy::new(Some(UNNAMED_CLIENT), None) } else { asked_by }
}

fn no_link(error: &ConnectError, principal: &Principal, need: &ProviderNeed) -> Failure {
    let provider = &need.provider;
    tracing::warn!(provider = %provider.id, %error, hint = error.hint(), "no link could be made");
    caller_failures::no_link(error, principal, provider, need.tools.first())
}

impl Looked {
    fn failed(failure: Failure, principal: &Principal, need: &ProviderNeed) -> Self {
        let failure = if principal.is_local() {
            failure
        } else {
            caller_failures::for_user(failure, Some(&need.provider), need.tools.first())
        };
        Self { state: ConsentState::Failed(failure), seen: None, until: None }
    }
}

/// Failure of a provider that has taken longer than [`PROVIDER_TIMEOUT`].
fn late(principal: &Principal, need: &ProviderNeed) -> Failure {
    let title = need.provider.title.clone();
    let seconds = PROVIDER_TIMEOUT.as_secs();
    let cause = principal.is_local().then(|| format!("{title} did not answer within {seconds} s"));
    let problem = LinkProblem::EndpointsUnknown { cause };
    FailureKind::NoLink { title, tool: need.tools.first().cloned(), problem }.into()
}
