//! `tools/call` whose `arguments` are not a JSON object: `[]`, a text, a number.
//!
//! rmcp reads no such request as `tools/call`; it arrives as a custom request. The rest of it must be
//! as MCP says.

use rmcp::model::{CallToolRequestMethod, CallToolRequestParams, ConstString as _, CustomRequest};
use serde_json::Value;

/// A call with its arguments as they came.
pub(super) struct LooseCall {
    /// Without arguments.
    pub(super) params: CallToolRequestParams,
    pub(super) arguments: Value,
}

/// Reads such a call; gives back any other request.
pub(super) fn read(request: CustomRequest) -> Result<LooseCall, CustomRequest> {
    if request.method != CallToolRequestMethod::VALUE {
        return Err(request);
    }
    let Some(Value::Object(mut members)) = request.params.clone() else { return Err(request) };
    let Some(arguments) = members.remove("arguments").filter(|value| !value.is_object()) else {
        return Err(request);
    };
    match serde_json::from_value(Value::Object(members)) {
        Ok(params) => Ok(LooseCall { params, arguments }),
        Err(_) => Err(request),
    }
}
