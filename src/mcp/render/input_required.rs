//! `InputRequiredResult` of MCP 2026-07-28 (basic/patterns/mrtr).

use rmcp::model::{
    ElicitRequest, ElicitRequestParams, InputRequest, InputRequests, InputRequiredResult,
};

use crate::model::ConnectPrompt;
use crate::words::consent_needed;

/// Renders the first round (MCP 2026-07-28).
pub(in crate::mcp) fn input_required(prompt: &ConnectPrompt, state: String) -> InputRequiredResult {
    let request = ElicitRequest::new(ElicitRequestParams::UrlElicitationParams {
        meta: None,
        message: consent_needed(prompt),
        url: prompt.url.clone(),
        elicitation_id: prompt.authorization.id.clone(),
    });
    let requests = InputRequests::from([(input_key(prompt), InputRequest::Elicitation(request))]);
    InputRequiredResult::new(Some(requests), Some(state))
}

/// Key of our question in `inputRequests`.
fn input_key(prompt: &ConnectPrompt) -> String {
    format!("{}_authorization", prompt.provider)
}
