//! Journey 1: a tool call, from the arguments to an [`Outcome`].

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::accounts::ChoiceError;
use super::connect::sentence;
use super::tokens::{Access, AccessError, Ready};
use super::{Broker, ConnectError, Connection, secret};
use crate::model::credential::{Credential as Held, Shared};
use crate::model::event::CallOutcome;
use crate::model::principal::NoOpener;
use crate::model::requester::AskedBy;
use crate::model::{
    Outcome, Principal, PromptReason, Provider, Refused, Scopes, Tool, ToolResult, UnaskedBecause,
};
use crate::registry::{Accepted, UnknownTool, accept};
use crate::store::StoreError;
use crate::upstream::{Answer, Credential};

/// An API that refuses a token this soon after the consent will refuse the next one too; asking for
/// a consent again would loop.
const TOO_SOON_TO_ASK_AGAIN: Duration = Duration::from_mins(2);

/// One request to run a tool.
pub struct Call<'a> {
    pub principal: &'a Principal,
    pub tool: &'a str,
    pub arguments: Option<Map<String, Value>>,
    /// Name that the client gives itself; shown on the connect page, not trusted.
    pub client: Option<String>,
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
    /// [`CallError::UnknownTool`]. Every other failure, bad arguments included, is an
    /// [`Outcome::Complete`] with `is_error`, in words that the model can act on.
    pub fn call<'a>(
        &'a self,
        call: Call<'a>,
    ) -> impl Future<Output = Result<Outcome, CallError>> + Send + 'a {
        self.call_with(call, Links::Make)
    }

    /// Like [`Self::call`], for a caller that shows no link: if a consent is needed, the outcome is
    /// [`Outcome::Refused`] and no link is made.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_without_link<'a>(
        &'a self,
        call: Call<'a>,
    ) -> impl Future<Output = Result<Outcome, CallError>> + Send + 'a {
        self.call_with(call, Links::Withhold)
    }

    async fn call_with(&self, call: Call<'_>, links: Links) -> Result<Outcome, CallError> {
        let mut recorded = self.events().call(&call.principal.caller);
        let entry = match self.registry().get(call.tool, call.principal) {
            Ok(entry) => entry,
            Err(unknown) => {
                recorded.ended(CallOutcome::UnknownTool);
                return Err(unknown.into());
            }
        };
        let tool = entry.tool();
        recorded.of_tool(&tool.name, tool.provider.as_ref());
        let is_local = call.principal.is_local();
        let mut outcome = self.run(tool, call, links).await;
        if let (Outcome::Complete(result), false) = (&mut outcome, is_local) {
            self.keep_from_users(tool, result);
        }
        recorded.ended(outcome.outcome());
        Ok(outcome)
    }

    /// Removes from a result what is for the operator only: names of variables and files, and hints
    /// at settings. The users of a shared server cannot act on it; the log has it.
    fn keep_from_users(&self, tool: &Tool, result: &mut ToolResult) {
        let Some(hint) = result.for_operator.take() else { return };
        let name = &tool.name;
        let is_setup = matches!(result.outcome, CallOutcome::NotSetUp | CallOutcome::NoLink);
        let provider = tool.provider.as_ref().and_then(|id| self.provider(id.as_str()));
        let (Some(provider), true) = (provider, is_setup) else {
            tracing::warn!(tool = %name, hint, "a tool failed, and its operator can mend it");
            return;
        };
        tracing::warn!(tool = %name, provider = %provider.id, error = result.text, hint, "the setup of a provider is not finished");
        result.text = format!(
            "The operator of this server has to finish the setup of {} before {name} can run. Calling again will not help; tell the user.",
            provider.title
        );
    }

    async fn run(&self, tool: &Tool, call: Call<'_>, links: Links) -> Outcome {
        let Accepted { arguments, account } = match accept(tool, call.arguments) {
            Ok(accepted) => accepted,
            Err(problem) => {
                let result = ToolResult::failure(problem).because(CallOutcome::InvalidArguments);
                return Outcome::Complete(result);
            }
        };
        let Some(provider) = &tool.provider else {
            return self.run_open(call.principal, tool, &arguments).await;
        };
        let Some(provider) = self.provider(provider.as_str()) else {
            return failure(format!("the provider `{provider}` is not configured"));
        };
        let run = Run {
            broker: self,
            tool,
            provider,
            arguments,
            principal: call.principal,
            is_again: false,
            links,
        };
        match &provider.credential {
            Held::Shared(shared) => run.with_shared(shared).await,
            Held::OAuth(settings) if !settings.grant.is_by_consent() => {
                let caller = &call.principal.caller;
                let result =
                    self.run_as_server(caller, tool, provider, settings, &run.arguments).await;
                Outcome::Complete(result)
            }
            Held::OAuth(_) | Held::Asked(_) => {
                let asked_by = AskedBy::call(call.client.as_deref(), tool.name.clone());
                run.with_grant(account, asked_by).await
            }
        }
    }

    async fn run_open(
        &self,
        principal: &Principal,
        tool: &Tool,
        arguments: &Map<String, Value>,
    ) -> Outcome {
        let upstream = &self.0.parts.upstream;
        let answer = upstream.execute_for(&principal.caller, tool, None, arguments, None).await;
        Outcome::Complete(result_of(answer))
    }
}

/// A running call.
struct Run<'a> {
    broker: &'a Broker,
    tool: &'a Tool,
    provider: &'a Arc<Provider>,
    arguments: Map<String, Value>,
    principal: &'a Principal,
    /// Whether this is the second try, because the consent was given during the call.
    is_again: bool,
    links: Links,
}

/// Whether a link is made for a consent that a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    Make,
    Withhold,
}

impl Run<'_> {
    /// Executes with the operator's own secret. There is no token to refresh and no consent to ask
    /// for.
    async fn with_shared(&self, shared: &Shared) -> Outcome {
        match secret::shared(shared).await {
            Ok(credential) => Outcome::Complete(result_of(self.execute(&credential).await)),
            Err(error) => {
                let title = &self.provider.title;
                let text = format!("{title} needs a key or password of this server: {error}.");
                let result = ToolResult::failure(text).because(CallOutcome::NotSetUp);
                Outcome::Complete(result.for_operator(error.hint()))
            }
        }
    }

    /// Executes with the caller's grant: one refresh after a 401, a step-up after
    /// `insufficient_scope`, and no third try.
    async fn with_grant(&self, account: Option<String>, asked_by: AskedBy) -> Outcome {
        let connection = match account {
            None => self.broker.unnamed(&self.principal.caller, self.provider).await,
            Some(name) => self.broker.named(&self.principal.caller, self.provider, &name).await,
        };
        match connection {
            Ok(connection) => self.with_connection(&connection, asked_by).await,
            Err(ChoiceError::Access(error)) => self.no_access(&error),
            Err(error) => Outcome::Complete(error.result()),
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
            Err(error) => return self.no_access(&error),
        };
        let refused = match self.execute_with(&first).await {
            Answer::Done(result) => return Outcome::Complete(result),
            Answer::InsufficientScope { needed, result } => {
                return self.step_up(connection, &needed, &first.granted, asked_by, result).await;
            }
            Answer::Unauthorized { result } => result,
        };
        // The token may have ended early; a refresh shows that.
        let second = match self.access(connection, Some(&first.token)).await {
            Ok(Access::Ready(ready)) => ready,
            Ok(Access::Missing { needed, reason }) => {
                return self.ask(connection, &needed, asked_by, reason).await;
            }
            Ok(Access::Refused) => return self.refused(connection, first, asked_by, refused).await,
            Err(error) => return self.no_access(&error),
        };
        match self.execute_with(&second).await {
            Answer::InsufficientScope { needed, result } => {
                self.step_up(connection, &needed, &second.granted, asked_by, result).await
            }
            // Unauthorized with a token that was issued a moment ago: the authorization server
            // stands by the grant. One API's refusal is no reason to take the grant from all tools,
            // and a new consent would not change it.
            Answer::Done(result) | Answer::Unauthorized { result } => Outcome::Complete(result),
        }
    }

    /// Outcome if the caller's access cannot be determined right now.
    fn no_access(&self, error: &AccessError) -> Outcome {
        Outcome::Complete(match error {
            AccessError::Store(_) if !self.principal.is_local() => store_unavailable(),
            error => error.result(),
        })
    }

    async fn access(
        &self,
        connection: &Connection,
        rejected: Option<&SecretString>,
    ) -> Result<Access, AccessError> {
        self.broker.access(connection, &self.tool.scopes, rejected).await
    }

    async fn execute_with(&self, ready: &Ready) -> Answer {
        match secret::kept(self.provider, ready.user.as_deref(), &ready.token).await {
            Ok(credential) => self.execute(&credential).await,
            // Stored for another kind of credential, or with a user that is no longer configured.
            Err(error) => {
                let text = format!("{} cannot be called: {error}.", self.provider.title);
                let result = ToolResult::failure(text).because(CallOutcome::NotSetUp);
                Answer::Done(result.for_operator(error.hint()))
            }
        }
    }

    async fn execute(&self, credential: &Credential) -> Answer {
        let (caller, api) = (&self.principal.caller, Some(self.provider.api()));
        let upstream = &self.broker.0.parts.upstream;
        upstream.execute_for(caller, self.tool, api, &self.arguments, Some(credential)).await
    }

    /// Asks for the scopes that the API requires and the token lacks.
    async fn step_up(
        &self,
        connection: &Connection,
        needed: &Scopes,
        granted: &Scopes,
        asked_by: AskedBy,
        result: ToolResult,
    ) -> Outcome {
        let missing = needed.missing_from(granted, self.provider.implied());
        if missing.is_empty() {
            // Asking for what is granted already would loop.
            return Outcome::Complete(result);
        }
        self.ask(connection, &missing, asked_by, PromptReason::MoreScopes).await
    }

    /// Handles an API that refuses a token which should be good and cannot be refreshed.
    async fn refused(
        &self,
        connection: &Connection,
        token: Ready,
        asked_by: AskedBy,
        result: ToolResult,
    ) -> Outcome {
        let age = self.broker.0.parts.clock.now().since(token.connected_at);
        if age < TOO_SOON_TO_ASK_AGAIN {
            return Outcome::Complete(result);
        }
        if let Err(error) = self.broker.give_up(connection, &token.token).await {
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
            })
        };
        if self.links == Links::Withhold {
            return unasked(UnaskedBecause::LinkWithheld);
        }
        let repeat = asked_by.clone();
        // Boxed: most calls need no link, and their future should not be as large as if they did.
        match Box::pin(self.broker.prompt(
            connection,
            &self.principal.opener,
            needed,
            asked_by,
            reason,
        ))
        .await
        {
            Ok(prompt) => Outcome::AuthorizationRequired(prompt),
            Err(ConnectError::GrantedMeanwhile) if !self.is_again => {
                let again = Run { arguments: self.arguments.clone(), is_again: true, ..*self };
                Box::pin(again.with_connection(connection, repeat)).await
            }
            Err(ConnectError::RefusedOften) => unasked(UnaskedBecause::RefusedOften),
            Err(ConnectError::Store(error))
                if !self.principal.is_local() && !matches!(error, StoreError::Contended) =>
            {
                Outcome::Complete(store_unavailable())
            }
            Err(error) => {
                let tool = &self.tool.name;
                let title = &self.provider.title;
                let hint = error.hint();
                tracing::warn!(%tool, %error, hint, "no link could be made");
                let text = format!(
                    "{title} access is needed before {tool} can run, but no link could be made: {error}."
                );
                let result = match error {
                    // The calling application must act: its key's table lacks the page.
                    ConnectError::Opener(NoOpener::NoVerifier { .. })
                        if !self.principal.is_local() =>
                    {
                        ToolResult::failure(format!(
                            "{text} Tell the user; calling again will not help."
                        ))
                    }
                    ConnectError::Setup(error)
                        if error.is_passing() && !self.principal.is_local() =>
                    {
                        ToolResult::failure(format!(
                            "{title} access is needed before {tool} can run, and {title} does not say at the moment where its users sign in. Call this tool again in a few minutes."
                        ))
                    }
                    ConnectError::Setup(error) if error.is_passing() => ToolResult::failure(
                        format!("{text} Call this tool again in a few minutes."),
                    )
                    .for_operator(hint),
                    // From here on the operator must act: on the store, the app, the port or the
                    // file.
                    ConnectError::Store(StoreError::Contended) => {
                        ToolResult::failure(format!("{text} Call this tool again."))
                    }
                    ConnectError::Store(_)
                    | ConnectError::Setup(_)
                    | ConnectError::Origin(_)
                    | ConnectError::Opener(_)
                    | ConnectError::Address(_) => ToolResult::failure(text).for_operator(hint),
                    ConnectError::Unknown
                    | ConnectError::Exhausted
                    | ConnectError::TooManyLinks
                    | ConnectError::Stranger(_)
                    | ConnectError::GrantedMeanwhile
                    | ConnectError::Changed
                    | ConnectError::RefusedOften
                    | ConnectError::Ending => {
                        ToolResult::failure(format!("{text} {}", sentence(&hint)))
                    }
                };
                Outcome::Complete(result.because(CallOutcome::NoLink))
            }
        }
    }
}

fn result_of(answer: Answer) -> ToolResult {
    match answer {
        Answer::Done(result)
        | Answer::Unauthorized { result }
        | Answer::InsufficientScope { result, .. } => result,
    }
}

/// Result for the users of a shared server while its store fails. The store's paths and errors are
/// for the operator, and in the log.
fn store_unavailable() -> ToolResult {
    let text = "This server cannot read or write what it keeps for you at the moment. Nothing is lost; call this tool again in a few minutes.";
    ToolResult::failure(text).because(CallOutcome::StoreUnavailable)
}

fn failure(text: String) -> Outcome {
    Outcome::Complete(ToolResult::failure(text))
}
