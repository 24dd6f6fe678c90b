//! MCP requests to broker calls and back.

use std::sync::Arc;
use std::time::Duration;

use rmcp::ErrorData;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestMethod, CallToolRequestParams, CallToolResponse,
    CompleteRequestMethod, CompleteRequestParams, CompleteResult, ConstString as _, CustomRequest,
    CustomResult, DiscoverRequestMethod, ErrorCode, Implementation, InitializeResult,
    InitializeResultMethod, InputRequiredResult, ListPromptsRequestMethod, ListPromptsResult,
    ListResourceTemplatesRequestMethod, ListResourceTemplatesResult, ListResourcesRequestMethod,
    ListResourcesResult, ListToolsRequestMethod, ListToolsResult, PaginatedRequestParams,
    PingRequestMethod, ProtocolVersion, RequestStateCodec, ServerCapabilities, ServerResult,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;

use super::announce::Announcements;
use super::fault::{Mistake, fault};
use super::loose::{self, LooseCall};
use super::render::{self, Way};
use super::request_state::{self, Context, Waiting};
use crate::broker::completion::Waited;
use crate::broker::{Broker, Call, CallError};
use crate::model::text::shown;
use crate::model::{ConnectPrompt, Outcome, Principal, PromptReason, ToolResult};
use crate::registry;

/// How long a retry is held while the person is at it: below the 60 s after which clients give up.
const HOLD: Duration = Duration::from_secs(25);
/// Clients drive at most ten rounds; the last ones are for saying so in words.
const MOST_ROUNDS: u32 = 8;
/// The list comes from a file that is read once, so clients may keep it for a while.
const LIST_TTL: Duration = Duration::from_mins(5);

/// The methods that are answered.
const OFFERED: [&str; 5] = [
    InitializeResultMethod::VALUE,
    PingRequestMethod::VALUE,
    ListToolsRequestMethod::VALUE,
    CallToolRequestMethod::VALUE,
    DiscoverRequestMethod::VALUE,
];
/// Of a method's name in an answer.
const LONGEST_METHOD: usize = 80;

/// What the server says of itself.
#[derive(Clone, Debug)]
pub struct ServerText {
    pub name: String,
    pub instructions: Option<String>,
}

/// One client connection of one caller.
#[derive(Clone)]
pub struct Handler {
    broker: Broker,
    who: Who,
    text: ServerText,
    announcements: Announcements,
}

/// Whose calls come over a connection.
#[derive(Clone)]
pub enum Who {
    /// One person's.
    One(Arc<Principal>),
    /// That of whoever authenticated the HTTP request, found in its extensions: a session proves nobody
    /// (basic/security_best_practices).
    OfTheRequest,
}

impl Handler {
    pub fn new(broker: Broker, who: Who, text: ServerText) -> Self {
        let announcements = Announcements::new(broker.clone());
        Self { broker, who, text, announcements }
    }

    /// What its clients are still to be told; one for all clones, whichever way they are reached.
    pub(super) fn announcements(&self) -> &Announcements {
        &self.announcements
    }

    fn principal(&self, context: &RequestContext<RoleServer>) -> Result<Arc<Principal>, ErrorData> {
        let principal = match &self.who {
            Who::One(principal) => Some(principal),
            Who::OfTheRequest => context
                .extensions
                .get::<http::request::Parts>()
                .and_then(|parts| parts.extensions.get::<Arc<Principal>>()),
        };
        principal
            .cloned()
            .ok_or_else(|| fault(Mistake("the routes let a request of nobody through")))
    }

    /// A call from its beginning.
    async fn first_round(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
        way: Way,
    ) -> Result<CallToolResponse, ErrorData> {
        match self.call(principal, request, context).await? {
            Outcome::Complete(result) => Ok(render::result(result).into()),
            Outcome::Refused(refused) => Ok(render::refused(&refused).into()),
            Outcome::AuthorizationRequired(prompt) => match way {
                Way::Text => Ok(render::text(&prompt).into()),
                Way::Error => {
                    let elicitation = self.announcements.expect(
                        context.peer.clone(),
                        &principal.caller,
                        &prompt.authorization,
                    );
                    Err(render::error(&prompt, &elicitation))
                }
                Way::InputRequired => {
                    let state = self.state(principal, request, &prompt, 1).await?;
                    Ok(render::input_required(&prompt, state).into())
                }
            },
        }
    }

    /// The client comes back with a `requestState`: waits for the person, then runs the call.
    async fn next_round(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
        state: &str,
    ) -> Result<CallToolResponse, ErrorData> {
        let codec = self.codec().await?;
        let waiting = request_state::open(&codec, state, &context_of(principal, request)).map_err(|_| {
            // Altered, expired, of another caller or for other arguments: all the same to whoever
            // tries, and MUST be rejected (basic/patterns/mrtr).
            ErrorData::invalid_params(
                "`requestState` does not belong to this request, or its time is over; call the tool again without it",
                None,
            )
        })?;
        let provider = waiting.authorization.provider.as_str();
        let title = self
            .broker
            .provider(provider)
            .map_or_else(|| provider.to_owned(), |provider| provider.title.clone());
        if let Some(action) = refusal(request) {
            return Ok(render::declined(&title, action).into());
        }
        let waited = tokio::select! {
            waited = self.broker.wait(&principal.caller, &waiting.authorization, HOLD) => waited,
            () = context.ct.cancelled() => return Err(cancelled()),
        };
        if let Ok(Waited::Failed(why)) = &waited {
            return Ok(render::declined(&title, why).into());
        }
        let prompt = match self.call(principal, request, context).await? {
            Outcome::Complete(result) => return Ok(render::result(result).into()),
            Outcome::Refused(refused) => return Ok(render::refused(&refused).into()),
            Outcome::AuthorizationRequired(prompt) => prompt,
        };
        // Completed and still not enough: the person left something unticked. Asking at once again
        // would send them in circles.
        if prompt.reason == PromptReason::NotGranted {
            return Ok(render::text(&prompt).into());
        }
        if waiting.round >= MOST_ROUNDS {
            return Ok(render::still_waiting(&prompt).into());
        }
        let state = self.state(principal, request, &prompt, waiting.round + 1).await?;
        if prompt.authorization == waiting.authorization {
            return Ok(InputRequiredResult::from_request_state(state).into());
        }
        Ok(render::input_required(&prompt, state).into())
    }

    /// A `tools/call` whose arguments are no JSON object. A protocol error would not reach the model,
    /// which alone can correct them.
    async fn loose_call(
        &self,
        call: LooseCall,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let principal = self.principal(&context)?;
        let LooseCall { mut params, arguments } = call;
        if let Err(unknown) = self.broker.registry().get(&params.name, &principal) {
            return Err(ErrorData::invalid_params(unknown.to_string(), None));
        }
        let is_legacy = !is_stateless(context.protocol_version());
        let response = match registry::envelope(&params.name, arguments) {
            Ok(arguments) => {
                params.arguments = arguments;
                Box::pin(self.call_tool(params, context)).await?
            }
            Err(problem) => render::result(ToolResult::failure(problem)).into(),
        };
        let mut result = ServerResult::from(response);
        if is_legacy {
            // As rmcp does for a call that it could read.
            result.strip_result_type_for_legacy_peer();
        }
        serde_json::to_value(&result).map(CustomResult::new).map_err(fault)
    }

    async fn call(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<Outcome, ErrorData> {
        let client = if is_stateless(context.protocol_version()) {
            // Without a handshake rmcp would know itself instead.
            context.meta.client_info()
        } else {
            context.client_info()
        };
        let client = client.map(|info| info.title.unwrap_or(info.name));
        let call = self.broker.call(Call {
            principal,
            tool: &request.name,
            arguments: request.arguments.clone(),
            client,
        });
        tokio::select! {
            outcome = call => outcome.map_err(|error| match error {
                CallError::UnknownTool(unknown) => {
                    ErrorData::invalid_params(unknown.to_string(), None)
                }
            }),
            () = context.ct.cancelled() => Err(cancelled()),
        }
    }

    async fn state(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        prompt: &ConnectPrompt,
        round: u32,
    ) -> Result<String, ErrorData> {
        let waiting = Waiting { authorization: prompt.authorization.clone(), round };
        let codec = self.codec().await?;
        request_state::seal(&codec, &waiting, &context_of(principal, request)).map_err(fault)
    }

    async fn codec(&self) -> Result<RequestStateCodec, ErrorData> {
        let store = self.broker.store().await.map_err(fault)?;
        RequestStateCodec::try_new(store.request_state_key().to_vec()).map_err(fault)
    }
}

/// What a `requestState` is bound to.
fn context_of<'a>(principal: &'a Principal, request: &'a CallToolRequestParams) -> Context<'a> {
    let caller = &principal.caller;
    Context { caller, tool: &request.name, arguments: request.arguments.as_ref() }
}

/// How the client's person answered, where that was not "accept".
fn refusal(request: &CallToolRequestParams) -> Option<&'static str> {
    let responses = request.input_responses.as_ref()?;
    responses.values().find_map(|response| match response.get("action").and_then(Value::as_str) {
        Some("decline") => Some("the user declined."),
        Some("cancel") => Some("the user closed the question."),
        _ => None,
    })
}

fn cancelled() -> ErrorData {
    ErrorData::internal_error("the call was cancelled", None)
}

impl ServerHandler for Handler {
    fn get_info(&self) -> InitializeResult {
        let mut info = InitializeResult::new(ServerCapabilities::builder().enable_tools().build());
        info.server_info =
            Implementation::new(self.text.name.clone(), env!("CARGO_PKG_VERSION").to_owned());
        info.instructions.clone_from(&self.text.instructions);
        info
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        // Everything in one page, whatever cursor a client brings.
        let principal = self.principal(&context)?;
        let registry = self.broker.registry();
        let tools = registry.entries_for(&principal).map(render::tool).collect();
        let mut list = ListToolsResult::with_all_items(tools);
        if is_stateless(context.protocol_version()) {
            list.ttl_ms = u64::try_from(LIST_TTL.as_millis()).ok();
            let is_public = registry.is_for_everybody();
            list.cache_scope =
                Some(if is_public { CacheScope::Public } else { CacheScope::Private });
        }
        Ok(list)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let principal = self.principal(&context)?;
        // Per request, not per session: a 2026-07-28 client declares what it can do each time.
        let revision = context.protocol_version();
        let declares_url = context
            .client_capabilities()
            .and_then(|capabilities| capabilities.elicitation)
            .is_some_and(|elicitation| elicitation.url.is_some());
        let way = Way::of(revision.as_ref().map(ProtocolVersion::as_str), declares_url);
        match &request.request_state {
            Some(state) if way == Way::InputRequired => {
                self.next_round(&principal, &request, &context, state).await
            }
            _ => self.first_round(&principal, &request, &context, way).await,
        }
    }

    // Undeclared, so not to be answered: the defaults would answer with empty lists.

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(not_offered(CompleteRequestMethod::VALUE))
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(not_offered(ListPromptsRequestMethod::VALUE))
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Err(not_offered(ListResourcesRequestMethod::VALUE))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Err(not_offered(ListResourceTemplatesRequestMethod::VALUE))
    }

    /// Also what has the name of a method of MCP, but not its parameters.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let request = match loose::read(request) {
            Ok(call) => return Box::pin(self.loose_call(call, context)).await,
            Err(request) => request,
        };
        let method = request.method.as_str();
        // 2026-07-28 has no handshake (its changelog); what asks for one under that name is unknown to it.
        let is_removed =
            method == InitializeResultMethod::VALUE && is_stateless(context.protocol_version());
        if OFFERED.contains(&method) && !is_removed {
            let message = format!("the parameters of `{method}` are not those of MCP");
            return Err(ErrorData::invalid_params(message, None));
        }
        Err(not_offered(method))
    }
}

fn is_stateless(revision: Option<ProtocolVersion>) -> bool {
    revision.is_some_and(|revision| revision.as_str() >= "2026-07-28")
}

fn not_offered(method: &str) -> ErrorData {
    let message = format!("this server has no method `{}`", shown(method, LONGEST_METHOD));
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None)
}
