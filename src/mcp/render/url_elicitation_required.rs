//! Error -32042, `URLElicitationRequiredError` of MCP 2025-11-25 (client/elicitation). Later
//! revisions do not have it.

use rmcp::model::{ErrorCode, ErrorData};
use serde_json::json;

use crate::model::ConnectPrompt;
use crate::words::{consent_needed, how_to_connect};

/// Code of the error.
pub(in crate::mcp) const URL_ELICITATION_REQUIRED: ErrorCode = ErrorCode(-32042);

/// Renders the error. Clients that do not know the code show only its message,
/// so the message ends with the link and what to do with it.
pub(in crate::mcp) fn url_elicitation_required(
    prompt: &ConnectPrompt,
    elicitation: &str,
) -> ErrorData {
    let data = json!({
        "elicitations": [{
            "mode": "url",
            "elicitationId": elicitation,
            "url": prompt.url,
            "message": consent_needed(prompt),
        }]
    });
    let text = format!(
        "{}\nAsk the user to open this link in a browser and {}, then call this tool again with the same arguments: {}",
        consent_needed(prompt),
        how_to_connect(prompt),
        prompt.url
    );
    ErrorData::new(URL_ELICITATION_REQUIRED, text, Some(data))
}
