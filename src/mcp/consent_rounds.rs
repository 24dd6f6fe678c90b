//! Asks a client for a consent, and handles its answer.
//!
//! | answer of a 2026-07-28 client to the question | result |
//! |---|---|
//! | `accept`, or none | the server holds the retry until the consent is given |
//! | `cancel` | the text with the link: dismissed without a choice, so ask later (client/elicitation) |
//! | `decline` within [`MIN_USER_RESPONSE_TIME`] | the same text: hosts without a user to ask decline automatically |
//! | a later `decline` | the user's refusal, which counts like the one on the page |

use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, InputRequiredResult, RequestStateCodec,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;
use tokio::time::Instant;

use super::handler::{Handler, LiveRequest, cancelled};
use super::internal_error::internal_error;
use super::render::{self, ConsentForm};
use super::request_state::{self, Context, Waiting};
use super::unanswered::Unanswered;
use crate::broker::code::ProgressSink;
use crate::broker::consent::wait::Waited;
use crate::model::{ConnectPrompt, Outcome, Principal, PromptReason, Time};
use crate::words::not_connected;

/// How long a retry is held while the user works on the consent; then the client gets another
/// round. Below the 60 s after which clients give up.
const MAX_WAIT_PER_ROUND: Duration = Duration::from_secs(25);
/// Rounds after which the client gets a text with the link instead of another round. Clients follow
/// at most ten.
const MAX_ROUNDS: u32 = 8;
/// A `decline` that arrives sooner after the question is the client's own, not its user's.
const MIN_USER_RESPONSE_TIME: Duration = Duration::from_secs(1);

/// A client's answer to the question other than `accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotAccepted {
    ByMachine(Unanswered),
    ByUser,
}

/// Result of running a call once.
enum Called {
    Complete(CallToolResult),
    /// The user has refused the consent too often to be asked again.
    Refused(CallToolResult),
    NeedsConsent(ConnectPrompt),
}

impl Handler {
    /// Runs a call, from its beginning or from where its `requestState` left off.
    pub(super) async fn round(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
        form: ConsentForm,
        progress: Option<&ProgressSink>,
    ) -> Result<CallToolResponse, ErrorData> {
        let live = LiveRequest { context, progress };
        match &request.request_state {
            Some(state) if form == ConsentForm::InputRequired => {
                self.next_round(principal, request, live, state).await
            }
            _ => self.first_round(principal, request, live, form).await,
        }
    }

    /// Runs a call from its beginning.
    async fn first_round(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        live: LiveRequest<'_>,
        form: ConsentForm,
    ) -> Result<CallToolResponse, ErrorData> {
        let began_at = Instant::now();
        let prompt = match self.called(principal, request, live).await? {
            Called::NeedsConsent(prompt) => prompt,
            Called::Complete(result) => return Ok(result.into()),
            Called::Refused(refused) => {
                return Ok(self.set_is_error(form, principal, request, refused).into());
            }
        };
        match form {
            ConsentForm::Text | ConsentForm::Result => {
                Ok(self.set_is_error(form, principal, request, render::text(&prompt)).into())
            }
            ConsentForm::UrlElicitationRequired
                if self.was_not_shown(principal, &prompt, began_at).await =>
            {
                Ok(render::text(&prompt).into())
            }
            ConsentForm::UrlElicitationRequired => {
                let elicitation = self.completion_notices().expect(
                    live.context.peer.clone(),
                    &principal.caller,
                    &prompt.authorization,
                    self.delivered(),
                );
                Err(render::url_elicitation_required(&prompt, &elicitation))
            }
            ConsentForm::InputRequired => {
                let state = self.state(principal, request, &prompt, 1, self.broker().now()).await?;
                Ok(render::input_required(&prompt, state).into())
            }
        }
    }

    /// Continues a call that the client retries with a `requestState`: waits for the user, then
    /// runs it.
    async fn next_round(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        live: LiveRequest<'_>,
        state: &str,
    ) -> Result<CallToolResponse, ErrorData> {
        let waiting = self.waiting(principal, request, state).await?;
        let (caller, id) = (&principal.caller, &waiting.authorization.id);
        let title = self.title(&waiting);
        match not_accepted(request, &waiting, self.broker().now()) {
            Some(NotAccepted::ByMachine(unanswered)) => {
                return self.retry_as_text(principal, request, live, unanswered).await;
            }
            Some(NotAccepted::ByUser) => {
                let counted = self.broker().consents().declined_in_client(caller, id);
                // The user has declined all the same; only the limit on prompts misses one.
                if let Err(error) = counted.await {
                    tracing::warn!(%error, "a refusal in the client was not recorded");
                }
                return Ok(render::declined(&title, "the user declined.").into());
            }
            None => {}
        }
        let waited = tokio::select! {
            waited = self.broker().consents().wait(caller, id, MAX_WAIT_PER_ROUND) => waited,
            () = live.context.ct.cancelled() => return Err(cancelled()),
        };
        match &waited {
            Ok(Waited::Failed(why)) => {
                return Ok(render::declined(&title, &not_connected(&title, why)).into());
            }
            // The call reads the store again, and its outcome names the store's trouble.
            Err(error) => tracing::warn!(%error, "cannot wait for a consent"),
            Ok(Waited::Completed(_) | Waited::Pending | Waited::Over) => {}
        }
        match self.called(principal, request, live).await? {
            Called::NeedsConsent(prompt) => {
                self.ask_again(principal, request, &waiting, &prompt).await
            }
            Called::Complete(result) | Called::Refused(result) => Ok(result.into()),
        }
    }

    /// Opens the `requestState` of a retry.
    async fn waiting(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        state: &str,
    ) -> Result<Waiting, ErrorData> {
        let codec = self.codec().await?;
        request_state::open(&codec, state, &context_of(principal, request)).map_err(|_| {
            // Altered, expired, or made for another caller or other arguments: the client is not
            // told which, and the state MUST be rejected (basic/patterns/mrtr).
            ErrorData::invalid_params(
                "`requestState` does not belong to this request, or has expired; call the tool again without it",
                None,
            )
        })
    }

    /// Returns the title of the provider whose consent the call waits for.
    fn title(&self, waiting: &Waiting) -> String {
        let provider = waiting.authorization.provider.as_str();
        let known = self.broker().provider(provider);
        known.map_or_else(|| provider.to_owned(), |provider| provider.title.clone())
    }

    /// Returns the next round for a call that still needs a consent, or a text if another round
    /// would not help.
    async fn ask_again(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        waiting: &Waiting,
        prompt: &ConnectPrompt,
    ) -> Result<CallToolResponse, ErrorData> {
        // Completed and still not enough: the user left a scope unticked. To ask again at once
        // would only repeat this.
        if prompt.reason == PromptReason::NotGranted {
            return Ok(render::text(prompt).into());
        }
        if waiting.round >= MAX_ROUNDS {
            return Ok(render::still_waiting(prompt).into());
        }
        let is_same = prompt.authorization == waiting.authorization;
        let asked_at = waiting.asked_at.filter(|_| is_same).unwrap_or(self.broker().now());
        let state = self.state(principal, request, prompt, waiting.round + 1, asked_at).await?;
        if is_same {
            return Ok(InputRequiredResult::from_request_state(state).into());
        }
        Ok(render::input_required(prompt, state).into())
    }

    /// Runs the call again; if the consent is still missing, returns the link as text for the model
    /// to show.
    async fn retry_as_text(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        live: LiveRequest<'_>,
        unanswered: Unanswered,
    ) -> Result<CallToolResponse, ErrorData> {
        Ok(match self.called(principal, request, live).await? {
            Called::NeedsConsent(prompt) => render::text_after(&prompt, Some(unanswered)),
            Called::Complete(result) | Called::Refused(result) => result,
        }
        .into())
    }

    async fn called(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        live: LiveRequest<'_>,
    ) -> Result<Called, ErrorData> {
        Ok(match self.call(principal, request, live).await? {
            Outcome::Complete(result) => Called::Complete(render::result(result)),
            Outcome::Failed(failure) => Called::Complete(render::failed(&failure)),
            Outcome::Refused(refused) => Called::Refused(render::refused(&refused)),
            Outcome::AuthorizationRequired(prompt) => Called::NeedsConsent(prompt),
            Outcome::InputRequired(required) => Called::Complete(render::input_needed(&required)),
        })
    }

    /// Clears `isError` in [`ConsentForm::Result`]. A tool with an output schema keeps it, since it
    /// owes `structuredContent` with every result that is no error (server/tools).
    fn set_is_error(
        &self,
        form: ConsentForm,
        principal: &Principal,
        request: &CallToolRequestParams,
        mut told: CallToolResult,
    ) -> CallToolResult {
        let catalogue = self.broker().catalogue();
        let entry = catalogue.registry().get(&request.name, principal);
        if form == ConsentForm::Result && entry.is_ok_and(|entry| entry.tool().output.is_none()) {
            told.is_error = Some(false);
        }
        told
    }

    /// Whether this connection got a -32042 for the same authorization before the call began, and
    /// its page was never opened: then the client does not show such errors.
    async fn was_not_shown(
        &self,
        principal: &Principal,
        prompt: &ConnectPrompt,
        began_at: Instant,
    ) -> bool {
        self.delivered().before(&prompt.authorization.id, began_at)
            && matches!(
                self.broker()
                    .consents()
                    .was_opened(&principal.caller, &prompt.authorization.id)
                    .await,
                Ok(false)
            )
    }

    async fn state(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        prompt: &ConnectPrompt,
        round: u32,
        asked_at: Time,
    ) -> Result<String, ErrorData> {
        let authorization = prompt.authorization.clone();
        let waiting = Waiting { authorization, round, asked_at: Some(asked_at) };
        let codec = self.codec().await?;
        request_state::seal(&codec, &waiting, &context_of(principal, request))
            .map_err(internal_error)
    }

    async fn codec(&self) -> Result<RequestStateCodec, ErrorData> {
        let store = self.broker().store().await.map_err(internal_error)?;
        RequestStateCodec::try_new(store.request_state_key().to_vec()).map_err(internal_error)
    }
}

/// Returns the call that a `requestState` is bound to.
fn context_of<'a>(principal: &'a Principal, request: &'a CallToolRequestParams) -> Context<'a> {
    let caller = &principal.caller;
    Context { caller, tool: &request.name, arguments: request.arguments.as_ref() }
}

/// Returns how the client refused, if it did.
fn not_accepted(
    request: &CallToolRequestParams,
    waiting: &Waiting,
    now: Time,
) -> Option<NotAccepted> {
    let responses = request.input_responses.as_ref()?;
    responses.values().find_map(|response| match response.get("action").and_then(Value::as_str) {
        Some("cancel") => Some(NotAccepted::ByMachine(Unanswered::Cancelled)),
        Some("decline") => Some(match waiting.asked_at {
            Some(asked_at) if now.since(asked_at) < MIN_USER_RESPONSE_TIME => {
                NotAccepted::ByMachine(Unanswered::DeclinedAtOnce)
            }
            _ => NotAccepted::ByUser,
        }),
        _ => None,
    })
}
