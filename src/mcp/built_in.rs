//! The server's own tools.

use rmcp::ErrorData;
use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock};
use rmcp::service::{RequestContext, RoleServer};

use super::handler::{Handler, cancelled, client_name};
use super::render;
use crate::broker::ready::Asking;
use crate::model::tool::CONNECTIONS;
use crate::model::{FailureKind, Principal};
use crate::registry::accept_connections;
use crate::words::{connections_data, connections_text};

/// Tells the model how to get links.
const HOW_TO_CONNECT: &str = "To get a link for each, call this tool with the names of the tools that you will call in `tools`.";

impl Handler {
    /// Whether this is the name of a tool of the server's own that the user sees.
    pub(super) fn is_built_in(&self, name: &str, principal: &Principal) -> bool {
        name == CONNECTIONS && self.broker().has_consent_tools(principal)
    }

    /// Runs [`CONNECTIONS`]. A missing consent is no error here: it is what the call asks about.
    pub(super) async fn connections(
        &self,
        principal: &Principal,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let tools = match accept_connections(request.arguments.clone()) {
            Ok(tools) => tools,
            Err(problem) => {
                return Ok(render::failed(&FailureKind::InvalidArguments(problem).into()));
            }
        };
        let client = client_name(context);
        let asking = match tools {
            None => Asking::Look,
            Some(_) => Asking::Link { client: client.as_deref(), next: None, later: None },
        };
        let looked = self.broker().connections(principal, tools.as_deref(), asking);
        let connections = tokio::select! {
            looked = looked => looked,
            () = context.ct.cancelled() => return Err(cancelled()),
        };
        Ok(match connections {
            Ok(connections) => {
                let text = connections_text(&connections, HOW_TO_CONNECT);
                let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
                result.structured_content = Some(connections_data(&connections));
                result
            }
            Err(failure) => render::failed(&failure),
        })
    }
}
