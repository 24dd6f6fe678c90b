//! Journey 1: a tool call, from the arguments to an [`Outcome`].

mod as_server;
mod for_code;
mod send;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::accounts::by_name::ChoiceError;
use super::client::credential::{self, CredentialError};
use super::code::ProgressSink;
use super::consent::LinkOrder;
use super::grant::access::{Access, AccessError, Needed, Outlook, Ready};
use super::ready::gets_token;
use super::{Broker, Catalogue, ConnectError, Connection, caller_failures};
use crate::model::credential::{Credential as Held, Shared};
use crate::model::event::CallOutcome;
use crate::model::requester::AskedBy;
use crate::model::unasked_place::UnaskedPlace;
use crate::model::{
    AccountName, Failure, FailureKind, InputRequired, InvalidArguments, Outcome, Principal,
    PromptReason, Provider, Question, Refused, Scopes, Tool, UnaskedBecause,
};
use crate::registry::{Accepted, UnknownTool, accept};
use crate::upstream::{Answer, Credential};
use send::Sending;

/// An API that refuses a token this soon after the consent will refuse the next one too; asking for
/// a consent again would loop.
const RECENT_CONSENT_AGE: Duration = Duration::from_mins(2);

/// One request to run a tool.
pub struct Call<'a> {
    pub principal: &'a Principal,
    pub tool: &'a str,
    pub arguments: Option<Map<String, Value>>,
    /// Name that the client gives itself; shown on the connect page, not trusted.
    pub client: Option<String>,
    /// Account that the call means, instead of the one that its arguments mean now.
    pub account: Option<&'a AccountName>,
    /// Plan run that the call is a step of, as its client names it. What the user confirms and
    /// consents to for one run does not count for another.
    pub run: Option<&'a str>,
    /// Takes the progress of tools that are code, if the client wants it.
    pub progress: Option<ProgressSink>,
}

impl<'a> Call<'a> {
    /// Creates a call without arguments, client and plan run.
    pub fn new(principal: &'a Principal, tool: &'a str) -> Self {
        Self {
            principal,
            tool,
            arguments: None,
            client: None,
            account: None,
            run: None,
            progress: None,
        }
    }
}

/// The call could not be turned into an outcome.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    UnknownTool(#[from] UnknownTool),
}

impl Broker {
    /// Runs a tool, or returns the consent that it needs.
    ///
    /// # Errors
    /// [`CallError::UnknownTool`]. Every other failure is an [`Outcome::Failed`]. Arguments that the
    /// user can supply, and a call that the user has to confirm, are an
    /// [`Outcome::InputRequired`].
    pub fn call<'a>(
        &'a self,
        call: Call<'a>,
    ) -> impl Future<Output = Result<Outcome, CallError>> + Send + 'a {
        self.call_with(call, Links::Make)
    }

    /// Like [`Self::call`], for a caller that shows no link: if a consent is needed, the outcome is
    /// [`Outcome::Refused`] and no link is made; a call that the user has to confirm fails.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_without_link<'a>(
        &'a self,
        call: Call<'a>,
    ) -> impl Future<Output = Result<Outcome, CallError>> + Send + 'a {
        self.call_with(call, Links::Withhold)
    }

    /// Like [`Self::call_without_link`], for a user who is away: a consent that does not cover that
    /// counts as missing.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(super) fn call_while_away<'a>(
        &'a self,
        call: Call<'a>,
    ) -> impl Future<Output = Result<Outcome, CallError>> + Send + 'a {
        self.call_with(call, Links::WithholdWhileAway)
    }

    async fn call_with(&self, call: Call<'_>, links: Links) -> Result<Outcome, CallError> {
        let mut running = self.events().begin_call(&call.principal.caller);
        let catalogue = self.catalogue();
        let entry = match catalogue.registry().get(call.tool, call.principal) {
            Ok(entry) => entry,
            Err(unknown) => {
                running.finish(CallOutcome::UnknownTool);
                return Err(unknown.into());
            }
        };
        let tool = entry.tool();
        running.set_tool(&tool.name, tool.provider.as_ref());
        let is_local = call.principal.is_local();
        let outcome = self.run(&catalogue, tool, call, links).await;
        running.finish(outcome.outcome());
        Ok(if is_local { outcome } else { for_user(&catalogue, tool, outcome) })
    }

    async fn run(
        &self,
        catalogue: &Arc<Catalogue>,
        tool: &Tool,
        call: Call<'_>,
        links: Links,
    ) -> Outcome {
        let Accepted { arguments, account } = match accept(tool, call.arguments) {
            Ok(accepted) => accepted,
            Err(problem) => return unfit(tool, problem),
        };
        let account = match (call.account, account) {
            (Some(account), _) => Meant::Exactly(account),
            (None, Some(name)) => Meant::Named(name),
            (None, None) => Meant::Unnamed,
        };
        let sending = Sending {
            broker: self,
            catalogue,
            tool,
            principal: call.principal,
            run: call.run,
            client: call.client.as_deref(),
            progress: call.progress.as_ref(),
            arguments,
            links,
            is_confirmed: AtomicBool::new(false),
            may_repeat: AtomicBool::new(true),
        };
        let Some(provider) = &tool.provider else {
            return outcome_of(sending.send(None, None, None).await);
        };
        let Some(provider) = catalogue.provider(provider.as_str()) else {
            return failed(FailureKind::UnknownProvider(provider.clone()));
        };
        let run = Run {
            broker: self,
            tool,
            provider,
            principal: call.principal,
            sending: &sending,
            is_again: false,
            links,
        };
        match &provider.credential {
            Held::Shared(shared) => run.with_shared(shared).await,
            Held::OAuth(settings) if !settings.grant.is_by_consent() => {
                run.with_server_token(catalogue, settings).await
            }
            Held::OAuth(_) | Held::Asked(_) => {
                let asked_by = AskedBy::call(call.client.as_deref(), tool.name.clone());
                run.with_grant(account, asked_by).await
            }
        }
    }
}

/// A running call.
struct Run<'a> {
    broker: &'a Broker,
    tool: &'a Tool,
    provider: &'a Arc<Provider>,
    principal: &'a Principal,
    sending: &'a Sending<'a>,
    /// Whether this is the second try, because the consent was given during the call.
    is_again: bool,
    links: Links,
}

/// Account that a call means.
enum Meant<'a> {
    /// The only one, or the default.
    Unnamed,
    /// The one of this name or label.
    Named(String),
    /// The one of exactly this name.
    Exactly(&'a AccountName),
}

/// Whether a link is made for a consent that a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    Make,
    Withhold,
    /// The user is away: also, only a consent that covers that is used.
    WithholdWhileAway,
}

impl Run<'_> {
    /// Executes with the operator's own secret. There is no token to refresh and no consent to ask
    /// for.
    async fn with_shared(&self, shared: &Shared) -> Outcome {
        if let Err(unsent) = self.sending.settle(Some(self.provider), None).await {
            return *unsent;
        }
        match credential::shared(shared).await {
            Ok(credential) => outcome_of(self.execute(None, &credential).await),
            Err(error) => *shared_secret_failed(self.provider, &error),
        }
    }

    /// Executes with the caller's grant: one refresh after a 401, a step-up after
    /// `insufficient_scope`, and no third try.
    async fn with_grant(&self, account: Meant<'_>, asked_by: AskedBy) -> Outcome {
        let (accounts, caller) = (&self.broker.0.accounts, &self.principal.caller);
        let connection = match account {
            Meant::Unnamed => accounts.unnamed(caller, self.provider).await,
            Meant::Named(name) => accounts.named(caller, self.provider, &name).await,
            Meant::Exactly(account) => {
                accounts.exactly(caller, self.provider, account).await.map_err(ChoiceError::Access)
            }
        };
        match connection {
            Ok(connection) => self.with_connection(&connection, asked_by).await,
            Err(ChoiceError::Access(error)) => self.no_access(&error),
            Err(ChoiceError::Account(problem)) => failed(FailureKind::Account(problem)),
        }
    }

    async fn with_connection(&self, connection: &Connection, asked_by: AskedBy) -> Outcome {
        let first = match self.access(connection, None).await {
            Ok(Access::Ready(ready)) => ready,
            Ok(Access::Missing { needed, reason }) => {
                return self.ask(connection, &needed, asked_by, reason).await;
            }
            Ok(Access::Refused) => {
                return self
                    .ask(connection, &self.tool.scopes, asked_by, PromptReason::Ended)
                    .await;
            }
            Err(outcome) => return *outcome,
        };
        let refused = match self.execute_with(connection, &first).await {
            Ok(Answer::Done(result)) => return Outcome::Complete(result),
            Ok(Answer::Failed(failure)) => return Outcome::Failed(failure),
            Ok(Answer::InsufficientScope { needed, failure }) => {
                return self.step_up(connection, &needed, &first.granted, asked_by, failure).await;
            }
            Ok(Answer::Unauthorized(failure)) => failure,
            Err(unsent) => return *unsent,
        };
        if !self.sending.may_repeat() {
            return self.refused_in_code(connection, first, asked_by, refused).await;
        }
        // The token may have ended early; a refresh shows that.
        let second = match self.access(connection, Some(&first.token)).await {
            Ok(Access::Ready(ready)) => ready,
            Ok(Access::Missing { needed, reason }) => {
                return self.ask(connection, &needed, asked_by, reason).await;
            }
            Ok(Access::Refused) => return self.refused(connection, first, asked_by, refused).await,
            Err(outcome) => return *outcome,
        };
        match self.execute_with(connection, &second).await {
            Ok(Answer::InsufficientScope { needed, failure }) => {
                self.step_up(connection, &needed, &second.granted, asked_by, failure).await
            }
            // Unauthorized with a token that was issued a moment ago: the authorization server
            // stands by the grant. One API's refusal is no reason to take the grant from all tools,
            // and a new consent would not change it.
            Ok(Answer::Failed(failure) | Answer::Unauthorized(failure)) => Outcome::Failed(failure),
            Ok(Answer::Done(result)) => Outcome::Complete(result),
            Err(unsent) => *unsent,
        }
    }

    /// Outcome if the caller's access cannot be determined right now.
    fn no_access(&self, error: &AccessError) -> Outcome {
        Outcome::Failed(caller_failures::no_access(error, self.principal))
    }

    /// Returns a token for the call, or what it lacks. A call that its user has to confirm gets one
    /// only after that: handing out a token for one use deletes the consent.
    async fn access(
        &self,
        connection: &Connection,
        rejected: Option<&SecretString>,
    ) -> Result<Access, Box<Outcome>> {
        let no_access = |error: AccessError| Box::new(self.no_access(&error));
        // A consent that is held in memory counts like a stored one.
        let saved = self.broker.0.consents.retry_save(&connection.name()).await;
        saved.map_err(|error| no_access(error.into()))?;
        let grants = &self.broker.0.grants;
        let away = self.links == Links::WithholdWhileAway;
        let needed = Needed { scopes: &self.tool.scopes, away };
        if self.sending.is_unconfirmed() {
            let outlook = grants.outlook(connection, needed).await;
            match outlook.map_err(|error| no_access(error.into()))? {
                // Not renewed so far: a call tries it again.
                Outlook::Good(_) | Outlook::Missing { reason: PromptReason::NotRenewed, .. } => {
                    let account = Some(&connection.account);
                    self.sending.settle(Some(self.provider), account).await?;
                }
                // Nothing is asked about a call that cannot run.
                Outlook::Missing { needed, reason } => {
                    return Ok(Access::Missing { needed, reason });
                }
            }
        }
        grants.access(connection, needed, rejected).await.map_err(no_access)
    }

    async fn execute_with(
        &self,
        connection: &Connection,
        ready: &Ready,
    ) -> Result<Answer, Box<Outcome>> {
        match credential::kept(self.provider, ready.user.as_deref(), &ready.token).await {
            Ok(credential) => {
                let answer = self.execute(Some(&connection.account), &credential).await;
                if ready.is_unproven
                    && answer.as_ref().is_ok_and(|answer| self.proves(answer))
                    && let Err(error) = self.broker.0.grants.note_proof(connection).await
                {
                    tracing::warn!(provider = %self.provider.id, %error, "the first use of a deposited token was not noted");
                }
                answer
            }
            Err(error) => Err(Box::new(self.stored_secret_failed(&error))),
        }
    }

    /// Whether an answer shows that the API accepts the token. Code may have asked no API.
    fn proves(&self, answer: &Answer) -> bool {
        let Answer::Done(result) = answer else { return false };
        self.tool.action.request().is_some() || result.host.is_some()
    }

    /// Outcome of a secret that was stored for another kind of credential, or with a user that is
    /// no longer configured.
    fn stored_secret_failed(&self, error: &CredentialError) -> Outcome {
        let (title, cause) = (self.provider.title.clone(), error.to_string());
        let failure = Failure::from(FailureKind::StoredSecret { title, cause });
        Outcome::Failed(failure.for_operator(error.hint()))
    }

    /// Sends the request with this credential. `account` is the user's own, if the call has one.
    async fn execute(
        &self,
        account: Option<&AccountName>,
        credential: &Credential,
    ) -> Result<Answer, Box<Outcome>> {
        self.sending.send(Some(self.provider), account, Some(credential)).await
    }

    /// Asks for the scopes that the API requires and the token lacks.
    async fn step_up(
        &self,
        connection: &Connection,
        needed: &Scopes,
        granted: &Scopes,
        asked_by: AskedBy,
        failure: Failure,
    ) -> Outcome {
        let missing = needed.missing_from(granted, self.provider.implied());
        if missing.is_empty() {
            // Asking for what is granted already would loop.
            return Outcome::Failed(failure);
        }
        self.ask(connection, &missing, asked_by, PromptReason::MoreScopes).await
    }

    /// Handles an API that refuses the token of a run which must not be repeated. The run has tried
    /// to renew the token.
    async fn refused_in_code(
        &self,
        connection: &Connection,
        token: Ready,
        asked_by: AskedBy,
        failure: Failure,
    ) -> Outcome {
        match self.access(connection, Some(&token.token)).await {
            Ok(Access::Ready(_)) => Outcome::Failed(failure),
            Ok(Access::Missing { needed, reason }) => {
                self.ask(connection, &needed, asked_by, reason).await
            }
            Ok(Access::Refused) => self.refused(connection, token, asked_by, failure).await,
            Err(outcome) => *outcome,
        }
    }

    /// Handles an API that refuses a token which should be good and cannot be refreshed.
    async fn refused(
        &self,
        connection: &Connection,
        token: Ready,
        asked_by: AskedBy,
        failure: Failure,
    ) -> Outcome {
        let age = self.broker.0.parts.clock.now().since(token.connected_at);
        // A deposited token that its first use shows to be dead has not been issued just now.
        if age < RECENT_CONSENT_AGE && !token.is_unproven {
            return Outcome::Failed(failure);
        }
        if let Err(error) = self.broker.0.grants.give_up(connection, &token.token).await {
            return self.no_access(&error);
        }
        self.ask(connection, &self.tool.scopes, asked_by, PromptReason::Ended).await
    }

    async fn ask(
        &self,
        connection: &Connection,
        needed: &Scopes,
        asked_by: AskedBy,
        reason: PromptReason,
    ) -> Outcome {
        let unasked = |because| {
            Outcome::Refused(Refused {
                provider: self.provider.id.clone(),
                title: self.provider.title.clone(),
                account: connection.account.clone(),
                tool: self.tool.name.clone(),
                scopes: needed.clone(),
                because,
                unasked_place: UnaskedPlace::of(&self.principal.caller),
            })
        };
        if self.links != Links::Make {
            return unasked(UnaskedBecause::LinkWithheld);
        }
        let repeat = asked_by.clone();
        // Boxed: most calls need no link, and their future should not be as large as if they did.
        let hands_out = gets_token(self.principal, &connection.provider);
        let order = LinkOrder { hands_out, ..LinkOrder::new(needed, asked_by, reason) };
        let browser_proof = &self.principal.browser_proof;
        match Box::pin(self.broker.0.consents.prompt(connection, browser_proof, order)).await {
            Ok(prompt) => Outcome::AuthorizationRequired(prompt),
            Err(ConnectError::GrantedMeanwhile) if !self.is_again && self.sending.may_repeat() => {
                let again = Run { is_again: true, ..*self };
                Box::pin(again.with_connection(connection, repeat)).await
            }
            Err(ConnectError::RefusedOften) => unasked(UnaskedBecause::RefusedOften),
            Err(error) => {
                let tool = &self.tool.name;
                tracing::warn!(%tool, %error, hint = error.hint(), "no link could be made");
                let (principal, provider) = (self.principal, self.provider);
                Outcome::Failed(caller_failures::no_link(&error, principal, provider, Some(tool)))
            }
        }
    }
}

/// Removes what is for the operator only. The users of a shared server cannot act on it.
fn for_user(catalogue: &Catalogue, tool: &Tool, outcome: Outcome) -> Outcome {
    let name = Some(&tool.name);
    match outcome {
        Outcome::Failed(failure) => {
            let provider = tool.provider.as_ref().and_then(|id| catalogue.provider(id.as_str()));
            let provider = provider.map(AsRef::as_ref);
            Outcome::Failed(caller_failures::for_user(failure, provider, name))
        }
        Outcome::Complete(mut result) => {
            let unfit = result.unfit.as_mut();
            if let Some(hint) = unfit.and_then(|unfit| unfit.for_operator.take()) {
                caller_failures::log_for_operator(name, &hint);
            }
            Outcome::Complete(result)
        }
        other => other,
    }
}

fn outcome_of(sent: Result<Answer, Box<Outcome>>) -> Outcome {
    match sent {
        Ok(Answer::Done(result)) => Outcome::Complete(result),
        Ok(
            Answer::Failed(failure)
            | Answer::Unauthorized(failure)
            | Answer::InsufficientScope { failure, .. },
        ) => Outcome::Failed(failure),
        Err(unsent) => *unsent,
    }
}

/// Outcome of arguments that do not fit: a question, if the user can answer all of it.
pub(super) fn unfit(tool: &Tool, problem: InvalidArguments) -> Outcome {
    if !problem.is_for_user() {
        return failed(FailureKind::InvalidArguments(problem));
    }
    Outcome::InputRequired(InputRequired {
        tool: tool.name.clone(),
        title: tool.title.clone(),
        question: Question::Arguments(problem),
    })
}

/// Outcome of a secret of the server's own that cannot be used.
fn shared_secret_failed(provider: &Provider, error: &CredentialError) -> Box<Outcome> {
    let (title, cause) = (provider.title.clone(), error.to_string());
    let failure = Failure::from(FailureKind::SharedSecret { title, cause });
    Box::new(Outcome::Failed(failure.for_operator(error.hint())))
}

fn failed(kind: FailureKind) -> Outcome {
    Outcome::Failed(kind.into())
}
