//! Translates MCP requests to broker calls, and their outcomes back.

use std::sync::Arc;
use std::time::Duration;

use rmcp::ErrorData;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestMethod, CallToolRequestParams, CallToolResponse, ConstString as _,
    CustomRequest, CustomResult, DiscoverRequestMethod, ErrorCode, Implementation,
    InitializeResult, InitializeResultMethod, ListToolsRequestMethod, ListToolsResult,
    PaginatedRequestParams, PingRequestMethod, ProtocolVersion, ServerCapabilities, ServerResult,
};
use rmcp::service::{RequestContext, RoleServer};

use super::completion_notice::{CompletionNotices, Delivered};
use super::http::keep_alive::{self, KeepsAlive};
use super::internal_error::{Mistake, internal_error};
use super::non_object_arguments::{self, NonObjectCall};
use super::progress::ProgressChannel;
use super::render::{self, ConsentForm};
use crate::broker::code::ProgressSink;
use crate::broker::{Broker, Call, CallError};
use crate::model::text::shown;
use crate::model::tool::CONNECTIONS;
use crate::model::{ConsentMode, FailureKind, Outcome, Principal, ToolName};
use crate::registry::{self, CONNECTIONS_TOOL};

/// How long clients may keep the list of tools, which comes from a file that is read once.
const LIST_TTL: Duration = Duration::from_mins(5);

/// Methods that the server answers.
const OFFERED: [&str; 5] = [
    InitializeResultMethod::VALUE,
    PingRequestMethod::VALUE,
    ListToolsRequestMethod::VALUE,
    CallToolRequestMethod::VALUE,
    DiscoverRequestMethod::VALUE,
];
/// Most characters of a method's name that an answer quotes.
const MAX_METHOD_CHARS: usize = 80;

/// Name and instructions that the server reports to its clients.
#[derive(Clone, Debug)]
pub struct ServerText {
    pub name: String,
    pub instructions: Option<String>,
}

/// Handler of one client connection.
#[derive(Clone)]
pub struct Handler {
    broker: Broker,
    who: Who,
    text: ServerText,
    consent: Option<ConsentMode>,
    completion_notices: CompletionNotices,
    delivered: Delivered,
}

/// Principal of the requests on a connection.
#[derive(Clone)]
pub enum Who {
    /// One principal for every request.
    One(Arc<Principal>),
    /// The authenticated principal in the extensions of each HTTP request: a session proves no
    /// identity (basic/security_best_practices).
    OfTheRequest,
}

/// A request that is being answered, and who takes the progress of its tool.
#[derive(Clone, Copy)]
pub(super) struct LiveRequest<'a> {
    pub(super) context: &'a RequestContext<RoleServer>,
    pub(super) progress: Option<&'a ProgressSink>,
}

impl Handler {
    /// Creates a handler for the requests of `who`. Consents are asked for as each client's URL
    /// says; see [`Self::asking`].
    pub fn new(broker: Broker, who: Who, text: ServerText) -> Self {
        let completion_notices = CompletionNotices::new(broker.clone());
        let delivered = Delivered::default();
        Self { broker, who, text, consent: None, completion_notices, delivered }
    }

    /// Sets the operator's consent mode, which overrides that of a client's URL. `None` leaves the
    /// choice to the client.
    #[must_use]
    pub fn asking(self, consent: Option<ConsentMode>) -> Self {
        Self { consent, ..self }
    }

    /// Returns a handler for another connection.
    pub(super) fn for_connection(&self) -> Self {
        Self { delivered: Delivered::default(), ..self.clone() }
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The -32042 errors that were sent over this connection.
    pub(super) fn delivered(&self) -> &Delivered {
        &self.delivered
    }

    /// Pending completion notifications, shared by all clones and transports.
    pub(super) fn completion_notices(&self) -> &CompletionNotices {
        &self.completion_notices
    }

    fn principal(&self, context: &RequestContext<RoleServer>) -> Result<Arc<Principal>, ErrorData> {
        let principal = match &self.who {
            Who::One(principal) => Some(principal),
            Who::OfTheRequest => context
                .extensions
                .get::<http::request::Parts>()
                .and_then(|parts| parts.extensions.get::<Arc<Principal>>()),
        };
        principal.cloned().ok_or_else(|| {
            internal_error(Mistake("a route let an unauthenticated request through"))
        })
    }

    /// Handles a `tools/call` whose arguments are no JSON object. A protocol error would not reach
    /// the model, which alone can correct them.
    async fn non_object_call(
        &self,
        call: NonObjectCall,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let principal = self.principal(&context)?;
        let NonObjectCall { mut params, arguments } = call;
        let catalogue = self.broker.catalogue();
        if !self.is_built_in(&params.name, &principal) {
            catalogue
                .registry()
                .get(&params.name, &principal)
                .map_err(|unknown| ErrorData::invalid_params(unknown.to_string(), None))?;
        }
        let is_legacy = !is_stateless(context.protocol_version());
        let response = match registry::envelope(&ToolName::new(&*params.name), arguments) {
            Ok(arguments) => {
                params.arguments = arguments;
                Box::pin(self.call_tool(params, context)).await?
            }
            Err(problem) => render::failed(&FailureKind::InvalidArguments(problem).into()).into(),
        };
        let mut result = ServerResult::from(response);
        if is_legacy {
            // As rmcp does for a call that it can parse.
            result.strip_result_type_for_legacy_peer();
        }
        serde_json::to_value(&result).map(CustomResult::new).map_err(internal_error)
    }

    pub(super) async fn call(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        LiveRequest { context, progress }: LiveRequest<'_>,
    ) -> Result<Outcome, ErrorData> {
        let (client, progress) = (client_name(context), progress.cloned());
        let arguments = request.arguments.clone();
        let call = Call { arguments, client, progress, ..Call::new(principal, &request.name) };
        let call = self.broker.call(call);
        tokio::select! {
            outcome = call => outcome.map_err(|error| match error {
                CallError::UnknownTool(unknown) => {
                    ErrorData::invalid_params(unknown.to_string(), None)
                }
            }),
            () = context.ct.cancelled() => Err(cancelled()),
        }
    }
}

/// Returns the name that the client of a request gives itself.
pub(super) fn client_name(context: &RequestContext<RoleServer>) -> Option<String> {
    let client = if is_stateless(context.protocol_version()) {
        // Without a handshake, rmcp would report itself as the client.
        context.meta.client_info()
    } else {
        context.client_info()
    };
    client.map(|info| info.title.unwrap_or(info.name))
}

pub(super) fn cancelled() -> ErrorData {
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
        // All tools on one page; a client's cursor is ignored.
        let principal = self.principal(&context)?;
        let catalogue = self.broker.catalogue();
        let registry = catalogue.registry();
        let mut tools: Vec<_> = registry.entries_for(&principal).map(render::tool).collect();
        if self.is_built_in(CONNECTIONS, &principal) {
            tools.push(render::built_in(&CONNECTIONS_TOOL));
        }
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
        if self.is_built_in(&request.name, &principal) {
            let told = Box::pin(self.connections(&principal, &request, &context)).await?;
            return Ok(told.into());
        }
        // Per request, not per session: a 2026-07-28 client declares its capabilities each time.
        let revision = context.protocol_version();
        let declares_url = context
            .client_capabilities()
            .and_then(|capabilities| capabilities.elicitation)
            .is_some_and(|elicitation| elicitation.url.is_some());
        let mode = self.consent.or_else(|| asked_in_query(&context)).unwrap_or_default();
        let form =
            ConsentForm::of(revision.as_ref().map(ProtocolVersion::as_str), declares_url, mode);
        let Some(token) = context.meta.get_progress_token() else {
            return self.round(&principal, &request, &context, form, None).await;
        };
        if let Some(KeepsAlive(progress)) = shown_by_transport(&context) {
            let sink = progress.sink();
            return self.round(&principal, &request, &context, form, Some(&sink)).await;
        }
        let progress = ProgressChannel::new();
        let (sink, reports) = (progress.sink(), progress.reports());
        let round = Box::pin(self.round(&principal, &request, &context, form, Some(&sink)));
        tokio::select! {
            biased;
            answer = round => answer,
            never = keep_alive::report(context.peer.clone(), token, reports) => match never {},
        }
    }

    /// Handles requests of unknown methods, and those of known ones whose parameters do not parse.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let request = match non_object_arguments::read(request) {
            Ok(call) => return Box::pin(self.non_object_call(call, context)).await,
            Err(request) => request,
        };
        let method = request.method.as_str();
        // 2026-07-28 has no handshake (its changelog), so `initialize` is unknown there.
        let is_removed =
            method == InitializeResultMethod::VALUE && is_stateless(context.protocol_version());
        if OFFERED.contains(&method) && !is_removed {
            let message = format!("the parameters of `{method}` are not those of MCP");
            return Err(ErrorData::invalid_params(message, None));
        }
        Err(not_offered(method))
    }
}

/// Returns the channel of a request whose progress the transport sends.
fn shown_by_transport(context: &RequestContext<RoleServer>) -> Option<KeepsAlive> {
    let parts = context.extensions.get::<http::request::Parts>()?;
    let shown = parts.extensions.get::<KeepsAlive>().cloned();
    shown.filter(|_| is_stateless(context.protocol_version()))
}

/// Returns the consent mode in the URL of the HTTP request.
fn asked_in_query(context: &RequestContext<RoleServer>) -> Option<ConsentMode> {
    context.extensions.get::<http::request::Parts>()?.extensions.get().copied()
}

fn is_stateless(revision: Option<ProtocolVersion>) -> bool {
    revision.is_some_and(|revision| revision.as_str() >= "2026-07-28")
}

fn not_offered(method: &str) -> ErrorData {
    let message = format!("this server has no method `{}`", shown(method, MAX_METHOD_CHARS));
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None)
}
